"""RCA: regional semantic contrast and aggregation (CVPR 2022).

Shape shorthand: N images, L classes, D channels, h x w feature cells,
H x W pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmrca.ops.cam import masked_mean, normalize_cam, valid_cells
from mmrca.ops.region import region_embeddings, region_masks
from mmrca.registry import MODELS

from .region_memory import StagedRegions


def global_mean(values: Tensor) -> Tensor:
    """Mean over the images of all processes, for DDP's averaged gradients.

    Args:
        values: [N] losses of this process's images; N may differ between
            processes.

    Returns:
        Scalar whose average over the processes is the mean over all images.
    """
    count = torch.full_like(values[:1], len(values)).detach()
    all_reduce(count)
    return (values.sum() * get_world_size() / count).squeeze(0)


def gather_images(values: Tensor, capacity: int) -> Tensor:
    """Concatenate a tensor over processes; gradients reach the own part.

    Images are interleaved as mmengine's DefaultSampler deals them out, so
    that N processes see the order that one process would see.

    Args:
        values: [n, ...] with n <= ``capacity``.
        capacity: Images a process has at most; shorter batches are filled
            up with zeros.

    Returns:
        [capacity * world size, ...].
    """
    padding = (0, 0) * (values.dim() - 1) + (0, capacity - len(values))
    padded = F.pad(values, padding)
    parts = all_gather(padded.detach().contiguous())
    parts[get_rank()] = padded
    return torch.stack(parts, dim=1).flatten(0, 1)


def pool_regions(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Pool regions in float32, whatever autocast does around it.

    Args:
        features: [N, D, h, w].
        masks: Boolean [N, L, h, w].

    Returns:
        As :func:`mmrca.ops.region.region_embeddings`.
    """
    with torch.autocast(features.device.type, enabled=False):
        return region_embeddings(features.float(), masks)


@MODELS.register_module()
class RCA(BaseSegmentor):
    """Classifier whose CAMs are completed by a memory of regions.

    With ``cam_head`` alone it is the plain CAM baseline. ``memory`` and
    ``loss_nce`` add the contrast, ``memory``, ``aggregation`` and
    ``cls_head`` the aggregation; the last head's maps are the result, unless
    ``prototype_cam`` is there and filled: its maps are, while class scores
    stay the head's.

    Args:
        backbone: Its last feature map is F; all go to ``prototype_cam``.
        cam_head: Head on F; gives P.
        memory: The region memory.
        loss_nce: Contrast of a batch's regions with the memory.
        aggregation: Appends F' to F.
        cls_head: Head on [F, F']; gives O.
        projection: Applied to F before regions are contrasted.
        softmax_regions: Draw regions on the maps' softmax over the classes
            instead of the maps.
        prototype_cam: Maps made of the training set's surest regions.
        data_preprocessor: As in MMSegmentation.
        init_cfg: As in mmengine.

    Raises:
        ValueError: Parts are given that cannot work together.
    """

    def __init__(
        self,
        backbone: dict,
        cam_head: dict,
        memory: dict | None = None,
        loss_nce: dict | None = None,
        aggregation: dict | None = None,
        cls_head: dict | None = None,
        projection: dict | None = None,
        softmax_regions: bool = False,
        prototype_cam: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if (aggregation is None) != (cls_head is None):
            raise ValueError(
                'model.aggregation and model.cls_head go together: give '
                'both or neither.'
            )
        if memory is None and (loss_nce or aggregation):
            raise ValueError(
                'model.loss_nce and model.aggregation need model.memory.'
            )
        if projection and not loss_nce:
            raise ValueError('model.projection needs model.loss_nce.')
        self.softmax_regions = softmax_regions
        self.backbone = MODELS.build(backbone)
        self.cam_head = MODELS.build(cam_head)
        self.memory = memory and MODELS.build(memory)
        self.loss_nce = loss_nce and MODELS.build(loss_nce)
        self.aggregation = aggregation and MODELS.build(aggregation)
        self.cls_head = cls_head and MODELS.build(cls_head)
        self.projection = projection and MODELS.build(projection)
        self.prototype_cam = prototype_cam and MODELS.build(prototype_cam)

    @property
    def num_classes(self) -> int:
        """L, the foreground classes."""
        return self.cam_head.num_classes

    def extract_stages(self, inputs: Tensor) -> list[Tensor]:
        """Compute the feature maps of the backbone's stages, F last."""
        # Convolutions are faster so; benchmarks/channels_last.py.
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        features = self.backbone(inputs)
        if isinstance(features, (tuple, list)):
            return list(features)
        return [features]

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Compute the backbone's last feature map F [N, D, h, w]."""
        return self.extract_stages(inputs)[-1]

    def cam_logits(self, inputs: Tensor) -> Tensor:
        """Compute the maps that the method ends with.

        Args:
            inputs: [N, 3, H, W], normalised.

        Returns:
            Logits [N, L, h, w]: O, or P for the plain CAM; those of the
            prototype CAM once it is filled.
        """
        stages = self.extract_stages(inputs)
        return self.map_logits(stages, self.head_logits(stages[-1]))

    encode_decode = cam_logits
    _forward = cam_logits

    def head_logits(self, features: Tensor) -> Tensor:
        """Compute the last head's maps, whose means are class scores.

        Args:
            features: F [N, D, h, w].

        Returns:
            Logits [N, L, h, w]: O, or P for the plain CAM.
        """
        if self.cls_head is None:
            return self.cam_head(features)
        return self.cls_head(self._aggregate(features))

    def map_logits(
        self,
        stages: Sequence[Tensor],
        head_logits: Tensor,
        present: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Compute the final maps: the prototype CAM's if it is filled.

        Args:
            stages: The backbone's feature maps.
            head_logits: [N, L, h, w] of :meth:`head_logits`.
            present: Boolean [N, L], the image-level labels if known.
            valid: Boolean [N, h, w], False in padding; all if ``None``.

        Returns:
            Logits [N, L, h, w].
        """
        if self.prototype_cam is None or not self.prototype_cam.filled:
            return head_logits
        return self.prototype_cam(stages, present, valid)

    def _aggregate(self, features: Tensor) -> Tensor:
        return self.aggregation(
            features, self.memory.prototypes, self.memory.prototype_valid
        )

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Compute the losses and stage the regions for the memory.

        Args:
            inputs: [N, 3, H, W], normalised and padded.
            data_samples: With ``gt_label`` [L] and ``memory_row`` [L].

        Returns:
            ``loss_cam`` and, as configured, ``loss_cls`` and ``loss_nce``.

        Raises:
            ValueError: There is a prototype CAM that nothing is to fill.
        """
        if self.prototype_cam is not None and not self.prototype_cam.awaited:
            raise ValueError(
                'model.prototype_cam needs its hook: add '
                "dict(type='mmrca.PrototypeCAMHook') to custom_hooks or leave "
                'model.prototype_cam out.'
            )
        labels = torch.stack([s.gt_label for s in data_samples])
        features = self.extract_feat(inputs)
        valid = self._valid_cells(inputs, features, data_samples)
        cam = self.cam_head(features)
        losses = dict(
            loss_cam=global_mean(self.cam_head.loss(cam, labels, valid))
        )
        if self.cls_head is not None:
            output = self.cls_head(self._aggregate(features))
            losses['loss_cls'] = global_mean(
                self.cls_head.loss(output, labels, valid)
            )
        if self.memory is not None:
            maps = cam.softmax(dim=1) if self.softmax_regions else cam
            masks = region_masks(maps, labels > 0, valid)
            index = torch.stack([s.memory_row for s in data_samples])
            losses |= self._contrast(features, cam, masks, valid, index)
        return losses

    def _contrast(
        self,
        features: Tensor,
        cam: Tensor,
        masks: Tensor,
        valid: Tensor,
        index: Tensor,
    ) -> dict[str, Tensor]:
        memory = self.memory
        regions, exists = pool_regions(features, masks)
        scores = masked_mean(cam.detach().float(), valid[:, None]).sigmoid()
        regions, scores, exists, index = (
            gather_images(value, memory.batch_size)
            for value in (regions, scores, exists, index)
        )
        memory.stage(StagedRegions(regions.detach(), scores, exists, index))
        if self.loss_nce is None:
            return {}
        if self.projection is not None:
            regions, _ = pool_regions(self.projection(features), masks)
            regions = gather_images(regions, memory.batch_size)
        loss = self.loss_nce(
            regions,
            exists,
            memory.rows,
            memory.row_class,
            memory.filled,
            memory.generator,
        )
        loss = loss * memory.contrast_active
        # Each process derives the loss of all regions by its own regions;
        # DDP averages what has to be summed.
        others = get_world_size() - 1
        return dict(loss_nce=loss + others * (loss - loss.detach()))

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
    ) -> list[SegDataSample]:
        """Compute class scores and CAMs; never writes to the memory.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: Their ``ori_shape`` gives the size of the maps,
                their ``gt_label``, if all have one, the present classes.

        Returns:
            Samples with ``pred_score`` [L] in 0..1 and ``cam``
            [L, H, W] in 0..1 at the original size.
        """
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            meta = dict(ori_shape=size, img_shape=size)
            data_samples = [SegDataSample(metainfo=meta) for _ in inputs]
        stages = self.extract_stages(inputs)
        valid = self._valid_cells(inputs, stages[-1], data_samples)
        head = self.head_logits(stages[-1])
        scores = masked_mean(head, valid[:, None]).sigmoid()
        present = None
        if all('gt_label' in sample for sample in data_samples):
            labels = torch.stack([s.gt_label for s in data_samples])
            present = labels.to(inputs.device) > 0
        logits = self.map_logits(stages, head, present, valid)
        maps = F.interpolate(logits.relu(), inputs.shape[2:], mode='bilinear')
        for sample, score, cam in zip(data_samples, scores, maps, strict=True):
            height, width = sample.img_shape[:2]
            cam = F.interpolate(
                cam[None, :, :height, :width],
                sample.ori_shape[:2],
                mode='bilinear',
            )
            sample.pred_score = score
            sample.cam = PixelData(data=normalize_cam(cam[0]))
        return data_samples

    @staticmethod
    def _valid_cells(
        inputs: Tensor, maps: Tensor, data_samples: list[SegDataSample]
    ) -> Tensor:
        sizes = torch.tensor([s.img_shape[:2] for s in data_samples])
        return valid_cells(
            sizes.to(inputs.device, non_blocking=True),
            tuple(inputs.shape[2:]),
            tuple(maps.shape[2:]),
        )
