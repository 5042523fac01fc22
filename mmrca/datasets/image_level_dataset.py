"""Images whose only supervision is a list of classes."""

import hashlib
import json
import os
from collections.abc import Iterator

from mmseg.datasets import BaseSegDataset

from mmrca.registry import DATASETS


@DATASETS.register_module()
class ImageLevelDataset(BaseSegDataset):
    """A label list and a folder of images; masks only to evaluate.

    Each line of ``ann_file`` is an image's name without suffix and its
    classes, by name or by number: ``2007_000032 aeroplane person`` or
    ``2007_000032 0 14``. Numbers count the foreground classes from 0;
    ``metainfo['classes']`` starts with ``'background'``, as in
    MMSegmentation, so class c is value c + 1 in a mask.

    Every (image, class) pair has a row of the region memory. Rows are
    numbered class by class in the order of the list; with
    ``rows_per_class`` a class's images share that many rows round-robin.

    Args:
        ann_file: The label list.
        metainfo: With ``classes`` and, for pictures, ``palette``.
        data_prefix: ``img_path``, the folder of the images, and where there
            are masks ``seg_map_path``.
        data_root: Put before relative paths.
        img_suffix: Of the image files.
        seg_map_suffix: Of the masks.
        rows_per_class: Cap of a class's memory rows.
        pipeline: Transforms.
        test_mode: As in mmengine.
        lazy_init: As in mmengine.

    Attributes:
        row_class: Class of each memory row.
        fingerprint: 32 bytes that change with images, labels and rows.

    Raises:
        FileNotFoundError: The list, the folder or an image is missing.
        ValueError: The list is empty, or a line names an unknown class,
            no class, or an image for a second time.
    """

    def __init__(
        self,
        ann_file: str,
        metainfo: dict,
        data_prefix: dict,
        data_root: str | None = None,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        rows_per_class: int | None = None,
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
        return len(self.metainfo['classes']) - 1

    def load_data_list(self) -> list[dict]:
        """Read and check the label list and assign the memory rows."""
        labels = dict(self._read_labels())
        if not labels:
            raise ValueError(
                f'label list {self.ann_file} is empty: write one image a '
                'line, its name and its classes.'
            )
        self._check_images(labels)
        rows = self._assign_rows(labels)
        known = json.dumps([self.num_classes, labels, rows])
        self.fingerprint = hashlib.sha256(known.encode()).digest()
        return [
            self._data_info(name, labels[name], rows[name]) for name in labels
        ]

    def _read_labels(self) -> Iterator[tuple[str, list[int]]]:
        if not os.path.isfile(self.ann_file):
            raise FileNotFoundError(
                f'label list {self.ann_file} does not exist: check '
                'data_root and ann_file.'
            )
        seen = set()
        with open(self.ann_file, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                image, *words = line.split()
                where = f'{self.ann_file} line {number}: image {image}'
                if image in seen:
                    raise ValueError(
                        f'{where} is listed a second time; keep one line.'
                    )
                seen.add(image)
                yield image, self._parse_classes(words, where)

    def _parse_classes(self, words: list[str], where: str) -> list[int]:
        if not words:
            raise ValueError(
                f'{where} has no class; add its classes or remove the line.'
            )
        names = self.metainfo['classes'][1:]
        known = {str(c): c for c in range(len(names))}
        known |= {name: c for c, name in enumerate(names)}
        for word in words:
            if word not in known:
                raise ValueError(
                    f"{where} has the unknown class '{word}'; the classes "
                    f'are {", ".join(names)} or their numbers 0 to '
                    f'{len(names) - 1}.'
                )
        return sorted({known[word] for word in words})

    def _check_images(self, labels: dict[str, list[int]]) -> None:
        folder = self.data_prefix['img_path']
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f'image folder {folder} does not exist: check '
                'data_root and data_prefix.img_path.'
            )
        # One listing; a stat for each image takes minutes on network disks.
        present = set(os.listdir(folder))
        missing = [n for n in labels if n + self.img_suffix not in present]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(labels)} images that '
                f'{self.ann_file} names are not in {folder}, first '
                f'{missing[0]}{self.img_suffix}; add them or remove their '
                'lines.'
            )

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

    def _data_info(
        self, name: str, classes: list[int], rows: list[int]
    ) -> dict:
        info = dict(
            img_id=name,
            img_path=os.path.join(
                self.data_prefix['img_path'], name + self.img_suffix
            ),
            gt_label=classes,
            memory_row=rows,
            num_classes=self.num_classes,
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[],
        )
        masks = self.data_prefix.get('seg_map_path')
        if masks:
            info['seg_map_path'] = os.path.join(
                masks, name + self.seg_map_suffix
            )
        return info
