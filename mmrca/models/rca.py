"""RCA: regional semantic contrast and aggregation (CVPR 2022).

Shape shorthand: N images, L classes, D channels, h x w feature cells,
H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmrca.checks import Count, Share, checked
from mmrca.ops.cam import masked_mean, normalize_cams, valid_cells
from mmrca.ops.region import region_embeddings, region_masks
from mmrca.registry import MODELS

from .cam_head import CAMHead
from .prototype_cam import PrototypeCAM
from .query_projection import QueryProjection
from .region_memory import RegionMemory, StagedRegions
from .region_mixup_nce_loss import RegionMixupNCELoss
from .semantic_aggregation import SemanticAggregation


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


@checked
@dataclass(frozen=True)
class MapSettings:
    """``model.test_cfg``: how the maps of an image are read.

    Validation, labelling and the prototypes' making share them.

    Attributes:
        normalization: As :func:`mmrca.ops.cam.normalize_cams`.
        threshold: The background's score, which a map has to exceed.
        score: Class score from which on an image shows a class, where nobody
            knows its classes.
        max_side: Larger images are shrunk to this many pixels on the longer
            side.
    """

    normalization: Literal['class', 'image'] = 'class'
    threshold: Share = 0.3
    score: Share = 0.5
    max_side: Count = 1024


@MODELS.register_module()
class RCA(BaseSegmentor):
    """Classifier whose CAMs are completed by a memory of regions.

    With ``cam_head`` alone it is the plain CAM baseline. ``memory`` and
    ``loss_nce`` add the contrast, ``memory``, ``aggregation`` and
    ``cls_head`` the aggregation; the last head's maps are the result, unless
    ``prototype_cam`` is there and filled: its maps are, while class scores
    stay the head's.

    ``cam_head`` says the number of classes L and of channels D; the other
    parts get both from there.

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
        prototype_cam: Maps made of the training set's most confident
            regions.
        data_preprocessor: As in MMSegmentation.
        test_cfg: As :class:`MapSettings`.
        init_cfg: As in mmengine.

    Raises:
        ValueError: Parts are given that cannot work together, or a part sets
            what it gets from ``cam_head``.
    """

    align_corners = False
    cam_head: CAMHead
    memory: RegionMemory | None
    loss_nce: RegionMixupNCELoss | None
    aggregation: SemanticAggregation | None
    cls_head: CAMHead | None
    projection: QueryProjection | None
    prototype_cam: PrototypeCAM | None

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
        test_cfg: dict | None = None,
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
        self.test_cfg = MapSettings(**test_cfg or {})
        self.backbone = MODELS.build(backbone)
        self.cam_head = MODELS.build(cam_head)
        classes, width = self.num_classes, self.cam_head.in_channels
        self.memory = _part('memory', memory, classes, channels=width)
        self.loss_nce = _part('loss_nce', loss_nce)
        self.aggregation = _part('aggregation', aggregation, channels=width)
        self.cls_head = _part(
            'cls_head', cls_head, classes, in_channels=2 * width
        )
        self.projection = _part('projection', projection, channels=width)
        self.prototype_cam = _part('prototype_cam', prototype_cam, classes)

    @property
    def num_classes(self) -> int:
        """L, the foreground classes."""
        return self.cam_head.num_classes

    @property
    def out_channels(self) -> int:
        """L + 1, the channels of ``seg_logits``."""
        return self.num_classes + 1

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Compute the feature maps of the backbone's stages, F last."""
        # Convolutions are faster so; benchmarks/channels_last.py.
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        features = self.backbone(inputs)
        if isinstance(features, (tuple, list)):
            return list(features)
        return [features]

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
            present: Boolean [N, L], the image-level labels if known. The
                prototype CAM of a class that no image has is 0.
            valid: Boolean [N, h, w], False in padding; all if ``None``.

        Returns:
            Logits [N, L, h, w].
        """
        if self.prototype_cam is None or not self.prototype_cam.filled:
            return head_logits
        if present is None:
            return self.prototype_cam(stages, None, valid)
        classes = present.any(dim=0).nonzero()[:, 0]
        if len(classes) == 0:
            return torch.zeros_like(head_logits)
        maps = self.prototype_cam(stages, present, valid, classes)
        logits = maps.new_zeros(*head_logits.shape[:2], *maps.shape[2:])
        return logits.index_copy(1, classes, maps)

    def _aggregate(self, features: Tensor) -> Tensor:
        assert self.aggregation is not None and self.memory is not None
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
                "prototype_cam=dict(type='mmrca.PrototypeCAMHook') to "
                'default_hooks or leave model.prototype_cam out.'
            )
        labels = torch.stack([s.gt_label for s in data_samples])
        features = self.extract_feat(inputs)[-1]
        sizes = [sample.img_shape[:2] for sample in data_samples]
        valid = _valid_cells(inputs, features, sizes)
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
        assert memory is not None
        regions, exists = pool_regions(features, masks)
        scores = masked_mean(cam.detach().float(), valid[:, None]).sigmoid()
        memory.stage(StagedRegions(regions.detach(), scores, exists, index))
        if self.loss_nce is None:
            return {}
        if self.projection is not None:
            regions, _ = pool_regions(self.projection(features), masks)
        loss = self.loss_nce(
            regions,
            exists,
            memory.rows,
            memory.row_class,
            memory.filled,
            memory.generator,
            memory.capacity,
        )
        # Shares of a mean are added; DDP averages the gradients.
        loss = loss * get_world_size()
        return dict(loss_nce=loss * memory.contrast_active)

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
    ) -> list[SegDataSample]:
        """Compute class scores and maps; never writes to the memory.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: Their ``gt_label``, if all have one, says which
                classes are present; otherwise the class scores do.

        Returns:
            Samples with ``pred_score`` [L] in 0..1 and, at the original
            size, ``seg_logits`` [L + 1, H, W] in 0..1, the background's score
            and the CAMs, and their best ``pred_sem_seg`` [1, H, W].
        """
        metas, present = None, None
        if data_samples is not None:
            metas = [sample.metainfo for sample in data_samples]
            if all('gt_label' in sample for sample in data_samples):
                labels = torch.stack([s.gt_label for s in data_samples])
                present = labels.to(inputs.device) > 0
        seg_logits, scores = self._decode(inputs, metas, present)
        data_samples = self.postprocess_result(seg_logits, data_samples)
        for sample, score in zip(data_samples, scores, strict=True):
            sample.pred_score = score
        return data_samples

    def encode_decode(
        self, inputs: Tensor, batch_img_metas: list[dict] | None = None
    ) -> Tensor:
        """Compute the maps at the size of the inputs.

        Args:
            inputs: [N, 3, H, W], normalised.
            batch_img_metas: Their ``img_shape`` says what is padding.

        Returns:
            [N, L + 1, H, W] in 0..1: the background's score and the CAMs.
        """
        return self._decode(inputs, batch_img_metas)[0]

    def _forward(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> Tensor:
        """Compute the maps as the network gives them: logits [N, L, h, w]."""
        stages = self.extract_feat(inputs)
        return self.map_logits(stages, self.head_logits(stages[-1]))

    def _decode(
        self,
        inputs: Tensor,
        metas: list[dict] | None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute ``seg_logits`` and class scores [N, L]."""
        size = tuple(inputs.shape[2:])
        sizes = [meta['img_shape'][:2] for meta in metas or ()]
        sizes = sizes or [size] * len(inputs)
        stages = self.extract_feat(inputs)
        valid = _valid_cells(inputs, stages[-1], sizes)
        head = self.head_logits(stages[-1])
        scores = masked_mean(head, valid[:, None]).sigmoid()
        if present is None:
            present = scores >= self.test_cfg.score
        logits = self.map_logits(stages, head, present, valid)
        maps = logits.relu() * present[..., None, None]
        maps = F.interpolate(maps, size, mode='bilinear')
        maps = maps * _valid_cells(inputs, inputs, sizes)[:, None]
        maps = normalize_cams(maps, self.test_cfg.normalization)
        background = torch.full_like(maps[:, :1], self.test_cfg.threshold)
        return torch.cat([background, maps], dim=1), scores


def _part(
    name: str, config: dict | None, classes: int | None = None, **shared: int
) -> Any:
    """Build a part with what it shares with the first head."""
    if config is None:
        return None
    if classes is not None:
        shared['num_classes'] = classes
    for key in shared:
        if key in config:
            raise ValueError(
                f'model.{name}.{key} is given by model.cam_head; remove it.'
            )
    return MODELS.build({**config, **shared})


def _valid_cells(
    inputs: Tensor, maps: Tensor, sizes: list[tuple[int, int]]
) -> Tensor:
    return valid_cells(
        torch.tensor(sizes).to(inputs.device, non_blocking=True),
        (inputs.shape[2], inputs.shape[3]),
        (maps.shape[2], maps.shape[3]),
    )
