"""DeepLabV2's head against loops."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmrca.registry import MODELS

DILATIONS = (1, 3)


def build(**options) -> torch.nn.Module:
    init_default_scope('mmseg')
    head = dict(type='mmrca.ASPPV2Head', in_channels=2, num_classes=3)
    return MODELS.build(dict(head, dilations=DILATIONS, **options))


def slow_sum(head: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Look at the nine cells around each cell, at each distance."""
    images, _, height, width = features.shape
    logits = torch.zeros(images, 3, height, width, dtype=torch.float64)
    for conv, reach in zip(head.conv_seg, DILATIONS, strict=True):
        logits += conv.bias[:, None, None]
        for y in range(height):
            for x in range(width):
                for row in range(3):
                    for column in range(3):
                        v = y + (row - 1) * reach
                        u = x + (column - 1) * reach
                        if 0 <= v < height and 0 <= u < width:
                            part = features[:, :, v, u]
                            weight = conv.weight[:, :, row, column]
                            logits[:, :, y, x] += part @ weight.T
    return logits


def test_the_logits_are_the_sum_of_dilated_classifiers():
    head = build().double().eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    stages = [torch.randn(2, 7, 4, 4), torch.randn(2, 2, 5, 6).double()]
    torch.testing.assert_close(head(stages), slow_sum(head, stages[1]))


def test_nothing_else_is_learned():
    shapes = {tuple(p.shape) for p in build().parameters()}
    assert shapes == {(3, 2, 3, 3), (3,)}


def test_the_classifiers_start_small():
    head = build()
    head.init_weights()
    for conv in head.conv_seg:
        assert conv.weight.abs().max() < 0.1
        assert conv.weight.std() > 0.001
        assert not conv.bias.any()


def test_a_misspelt_option_is_named():
    with pytest.raises(TypeError, match='dropout_ration'):
        build(dropout_ration=0.5)
