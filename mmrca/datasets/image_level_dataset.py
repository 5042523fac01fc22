"""Images whose only supervision is a list of classes."""

import hashlib
import json
import os
from collections.abc import Collection

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseSegDataset
from torch.utils.data import Dataset

from mmrca.checks import Count
from mmrca.progress import progress
from mmrca.registry import DATASETS

from .images import find_images, image_ids
from .label_list import read_labels
from .masks import check_shown, read_class_map


def unwrap_dataset(dataset: Dataset) -> BaseDataset:
    """Take a data set out of wrappers that repeat its images.

    Args:
        dataset: Such as mmengine's ClassBalancedDataset.
    """
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


@DATASETS.register_module()
class ImageLevelDataset(BaseSegDataset):
    """A label list and a folder of images; masks only to evaluate.

    ``ann_file`` is a label list in one of the notations of
    :mod:`mmrca.datasets.label_list`. ``metainfo['classes']`` starts with
    ``'background'``, as in MMSegmentation, so class number c of the list is
    value c + 1 in a mask.

    Images may lie in subfolders and be of several suffixes. Without suffix,
    an image's path is its ``img_id``, by which masks, saliency maps and
    pseudo-labels are named.

    An image that shows none of the classes is listed without one. It trains
    with targets 0 and has no row.

    Every (image, class) pair has a row of the region memory. Rows are
    numbered class by class in the order of the list; with
    ``rows_per_class`` a class's images share that many rows round-robin.

    Args:
        ann_file: The label list.
        metainfo: With ``classes`` and, for pictures, ``palette``.
        data_prefix: ``img_path``, the folder of the images, and where there
            are masks, or pseudo-labels to train a segmenter, ``seg_map_path``.
        data_root: Put before relative paths.
        img_suffix: Of the image files; without one, that of any common
            image format.
        seg_map_suffix: Of the masks.
        rows_per_class: Cap of a class's memory rows, 1 or more.
        pipeline: Transforms. Masks have to be there only if it loads them.
        test_mode: As in mmengine.
        lazy_init: As in mmengine.

    Attributes:
        row_class: Class of each memory row.
        labels_per_image: The largest number of classes of an image.
        fingerprint: 32 bytes that change with images, labels and rows, not
            with the notation of the list.

    Raises:
        FileNotFoundError: The list, the folder, an image or a mask is
            missing.
        ValueError: The list cannot be used, two images have the same
            ``img_id``, a mask holds a value that is neither a class nor 255,
            or an option is wrong.
    """

    def __init__(
        self,
        ann_file: str,
        metainfo: dict,
        data_prefix: dict,
        data_root: str | None = None,
        img_suffix: str | None = None,
        seg_map_suffix: str = '.png',
        rows_per_class: Count | None = None,
        pipeline: list | tuple = (),
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        classes = metainfo.get('classes', ())
        if len(classes) < 2 or classes[0] != 'background':
            raise ValueError(
                "metainfo.classes must start with 'background', followed by "
                f'the classes of the label list; it is {classes}.'
            )
        self.rows_per_class = rows_per_class
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_prefix=dict(data_prefix),
            data_root=data_root,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    @property
    def num_classes(self) -> int:
        """L, the foreground classes."""
        # The property metainfo copies everything it holds, which takes
        # minutes when asked for each of 82,000 images.
        return len(self._metainfo['classes']) - 1

    def load_data_list(self) -> list[dict]:
        """Read and check the label list and assign the memory rows."""
        listed = read_labels(self.ann_file, self.metainfo['classes'][1:])
        found = self._find(listed)
        ids = image_ids(found, self.img_suffix)
        labels = {ids[name]: classes for name, classes in listed.items()}
        files = {ids[name]: file for name, file in found.items()}
        masks = self._find_masks(labels)
        rows = self._assign_rows(labels)
        self.labels_per_image = max(map(len, labels.values()))
        known = json.dumps([self.num_classes, labels, rows])
        self.fingerprint = hashlib.sha256(known.encode()).digest()
        return [
            dict(
                img_id=image,
                img_path=os.path.join(
                    self.data_prefix['img_path'], files[image]
                ),
                gt_label=classes,
                memory_row=rows[image],
                num_classes=self.num_classes,
                label_map=None,
                reduce_zero_label=False,
                seg_fields=[],
                **masks.get(image, {}),
            )
            for image, classes in labels.items()
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return an image's class numbers, as ClassBalancedDataset asks."""
        return self.get_data_info(idx)['gt_label']

    def prepare_data(self, idx: int) -> dict | None:
        """Run the pipeline on an image.

        Raises:
            ValueError: It failed, for instance at a broken file.
        """
        try:
            return super().prepare_data(idx)
        # What decoders raise has no common type and does not name the file.
        except Exception as error:
            path = self.get_data_info(idx)['img_path']
            reason = ' '.join(str(error).split())
            raise ValueError(
                f'image {path} or its mask cannot be used, replace it or '
                f'remove it from {self.ann_file}: {reason}'
            ) from error

    def _find(self, names: Collection[str]) -> dict[str, str]:
        folder = self.data_prefix['img_path']
        found, missing = find_images(folder, names, self.img_suffix)
        for name, reason in missing.items():
            raise FileNotFoundError(
                f'{len(missing)} of {len(names)} images that '
                f'{self.ann_file} names are not in {folder}, first '
                f'{name}{self.img_suffix or ""} ({reason}); add them or '
                'remove their lines.'
            )
        return found

    @property
    def _loads_masks(self) -> bool:
        steps = self.pipeline.transforms
        return any(isinstance(step, LoadAnnotations) for step in steps)

    def _find_masks(self, images: dict[str, list[int]]) -> dict[str, dict]:
        """Find the masks that exist; miss them now, not after an epoch."""
        folder = self.data_prefix.get('seg_map_path')
        if not folder and self._loads_masks:
            raise ValueError(
                'the pipeline has LoadAnnotations but the data set no masks: '
                'set data_prefix.seg_map_path, or leave LoadAnnotations out.'
            )
        if not (self._loads_masks or (folder and os.path.isdir(folder))):
            return {}
        found, missing = find_images(folder, images, self.seg_map_suffix)
        for image, reason in missing.items() if self._loads_masks else ():
            raise FileNotFoundError(
                f'{len(missing)} of {len(images)} masks are not in {folder}, '
                f'first {image}{self.seg_map_suffix} ({reason}); add them, '
                'set data_prefix.seg_map_path (LABEL_DIR, in the segmenters) '
                'to their folder, or leave LoadAnnotations out.'
            )
        masks = {
            image: os.path.join(folder, file) for image, file in found.items()
        }
        values: set[int] = set()
        read = masks.values() if self._loads_masks else ()
        for path in progress(read, 'checking masks', len(read)):
            mask = read_class_map(path, 'mask', self.num_classes + 1)
            values.update(np.unique(mask).tolist())
        if self._loads_masks and any(images.values()):
            check_shown(values, f'mask in {folder}')
        return {image: dict(seg_map_path=p) for image, p in masks.items()}

    def _assign_rows(
        self, labels: dict[str, list[int]]
    ) -> dict[str, list[int]]:
        counts = [0] * self.num_classes
        for classes in labels.values():
            for c in classes:
                counts[c] += 1
        cap = self.rows_per_class or max(counts)
        sizes = [min(count, cap) for count in counts]
        first = [sum(sizes[:c]) for c in range(self.num_classes)]
        self.row_class = [c for c, n in enumerate(sizes) for _ in range(n)]
        visits = [0] * self.num_classes
        rows = {}
        for name, classes in labels.items():
            rows[name] = [first[c] + visits[c] % cap for c in classes]
            for c in classes:
                visits[c] += 1
        return rows
