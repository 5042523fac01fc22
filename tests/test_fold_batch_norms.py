"""A classifier that is loaded for inference has no batch norms left."""

import torch
from torch import nn
from torch.testing import assert_close

from mmrca.checkpoint import _fold_batch_norms, load_classifier
from mmrca.registry import MODELS
from tests import tiny
from tests.models.test_rca import build


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_a_loaded_classifier_gives_the_maps_of_the_trained_one(tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0], [1], [2]]))
    cfg.model.backbone.norm_cfg = dict(type='BN')
    runner = tiny.runner(cfg)
    runner.train()
    trained = runner.model.eval()
    loaded = load_classifier(cfg, str(tmp_path / 'work/epoch_2.pth'))
    assert norms(trained) and not norms(loaded)
    image = torch.randn(2, 3, 32, 40)
    with torch.no_grad():
        assert_close(loaded(image), trained(image), rtol=1e-4, atol=1e-4)


class Reversed(nn.Module):
    """Calls its layers in another order than it names them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, tiny.CHANNELS, 3, 4)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.BatchNorm2d(tiny.CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.conv(self.norm(x)))


def test_norms_that_cannot_be_folded_stay(tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0]])).model
    MODELS.register_module(module=Reversed, force=True)
    cfg.backbone = dict(type='mmrca.Reversed')
    model = build(cfg).eval()
    for norm in (model.backbone.norm, model.backbone.last):
        nn.init.uniform_(norm.running_mean, 1, 2)
        nn.init.uniform_(norm.weight, 2, 3)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = model(image)
        _fold_batch_norms(model)
        assert norms(model) == 2
        assert torch.equal(model(image), before)


class FixedSize(nn.Module):
    """Takes images of one size only, as timm's transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, tiny.CHANNELS, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2:] == (32, 32), 'another size'
        return self.conv(x)


def test_a_backbone_without_norms_is_not_tried_on_another_size(tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0]])).model
    MODELS.register_module(module=FixedSize, force=True)
    cfg.backbone = dict(type='mmrca.FixedSize')
    model = build(cfg).eval()
    backbone = model.backbone
    _fold_batch_norms(model)
    assert model.backbone is backbone
