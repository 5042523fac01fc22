"""The head of a boundary network.

Shape shorthand: N images, h x w cells, H x W pixels.
"""

from collections.abc import Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmrca.checks import Count
from mmrca.ops.random_walk import (
    affinity_loss,
    neighbour_offsets,
    path_affinity,
)
from mmrca.registry import MODELS


@MODELS.register_module()
class BoundaryHead(BaseDecodeHead):
    """Learns from partial labels where one class ends and another begins.

    A head of MMSegmentation's ``EncoderDecoder``, for the boundary branch of
    IRN (Ahn, Cho and Kwak, CVPR 2019). Each stage of a frozen backbone goes
    through a 1x1 convolution; together they give one logit a cell.

    Args:
        in_channels: Of the stages, the finest first.
        in_index: Which of the backbone's stages these are.
        channels: What is kept of each stage, a multiple of 4.
        radius: Cells that are nearer than this are compared, 2 or more.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_index: Sequence[int],
        channels: Count = 32,
        radius: Count = 5,
    ) -> None:
        super().__init__(
            in_channels=list(in_channels),
            in_index=list(in_index),
            input_transform='multiple_select',
            channels=channels * len(in_channels),
            num_classes=2,
            out_channels=1,
            threshold=0.5,
            dropout_ratio=0,
            # Not used; the loss is below. The option keeps mmseg quiet.
            loss_decode=dict(
                type='CrossEntropyLoss',
                use_sigmoid=True,
                avg_non_ignore=True,
            ),
        )
        self.offsets = neighbour_offsets(radius)
        self.reduce = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, channels, 1),
                nn.GroupNorm(4, channels),
                nn.ReLU(inplace=True),
            )
            for width in in_channels
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute the boundary's logits.

        Args:
            inputs: The backbone's stages.

        Returns:
            [N, 1, h, w] of the size of the finest stage.
        """
        stages = self._transform_inputs(inputs)
        reduced = [
            resize(reduce(stage), stages[0].shape[2:], mode='bilinear')
            for reduce, stage in zip(self.reduce, stages, strict=True)
        ]
        return self.cls_seg(torch.cat(reduced, dim=1))

    def loss_by_feat(
        self, seg_logits: Tensor, batch_data_samples: Sequence
    ) -> dict[str, Tensor]:
        """Compare the affinities with labels (IRN, Eq. 6).

        Args:
            seg_logits: [N, 1, h, w].
            batch_data_samples: With ``gt_sem_seg`` of [1, H, W].
        """
        labels = self._stack_batch_gt(batch_data_samples)
        cells = resize(labels.float(), seg_logits.shape[2:], mode='nearest')
        affinity = path_affinity(seg_logits[:, 0].sigmoid(), self.offsets)
        loss = affinity_loss(affinity, cells[:, 0].long(), self.offsets)
        return {'loss_boundary': loss}
