"""Resized, cropped, flipped and jittered: what becomes of padding and labels.

The recipe for photographs is taken as it is; only its images are drawn.
"""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

from mmrca.registry import DATASETS, MODELS
from tests import tiny

# Width and height: some get larger than the crop both ways, some one way.
SIZES = [(500, 333), (333, 500), (640, 100), (60, 400), (300, 110), (90, 60)]


def build_dataset(repo, root, extra=()):
    init_default_scope('mmseg')
    rng = np.random.default_rng(0)
    (root / 'JPEGImages').mkdir(exist_ok=True)
    lines = []
    for number, (width, height) in enumerate(SIZES):
        noise = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(root / f'JPEGImages/{number}.png')
        lines.append(f'{number} {number % 3} {(number + 1) % 3}\n')
    (root / 'labels.txt').write_text(''.join(lines))
    file = repo / 'configs/_base_/datasets/voc20_mini_cam.py'
    dataset = Config.fromfile(file).train_dataloader.dataset
    dataset.data_root = str(root)
    dataset.ann_file = 'labels.txt'
    dataset.metainfo = dict(classes=tiny.CLASSES)
    *steps, pack = dataset.pipeline
    dataset.pipeline = [*steps, *extra, pack]
    return DATASETS.build(dataset)


@pytest.fixture(scope='module')
def dataset(repo, tmp_path_factory):
    return build_dataset(repo, tmp_path_factory.mktemp('photos'))


def build_model(root):
    config = tiny.config(root).model
    # Of a uint8 image no pixel becomes 0: zeros are padding.
    config.data_preprocessor.update(size=(224, 224))
    model = MODELS.build(config)
    model.init_weights()
    model.memory.bind([0, 1, 2] * 4, b'rows', batch_size=8)
    model.memory.rows.normal_()
    model.memory.filled.fill_(True)
    model.memory.contrast_active.fill_(True)
    model.memory.prototypes.normal_()
    model.memory.prototype_valid.fill_(True)
    return model


def seen_cells(inputs: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Which cells have image, not padding, at their centre; bool [N, h, w]."""
    rows, columns = (
        ((torch.arange(cells) + 0.5) * pixels / cells).long()
        for pixels, cells in zip(inputs.shape[2:], size, strict=True)
    )
    image = (inputs != 0).any(dim=1)
    return image[:, rows][:, :, columns]


@pytest.mark.parametrize('seed', [0, 1])
def test_padding_counts_in_nothing(dataset, tmp_path, seed):
    np.random.seed(seed)
    model = build_model(tmp_path).train()
    data = pseudo_collate([dataset[i] for i in range(len(dataset))])
    data = model.data_preprocessor(data, training=True)
    inputs, samples = data['inputs'], data['data_samples']
    features = model.extract_feat(inputs)
    seen = seen_cells(inputs, features[-1].shape[2:])
    padded = ~seen.flatten(1).all(dim=1)
    assert padded.any() and not padded.all()

    def outcome(rubbish: float) -> tuple[dict, torch.Tensor]:
        def spoil(module, args, maps):
            maps = list(maps)
            maps[-1] = maps[-1].where(seen[:, None], rubbish)
            return maps

        torch.manual_seed(0)
        model.memory.generator.manual_seed(0)
        handle = model.backbone.register_forward_hook(spoil)
        losses = model.loss(inputs, samples)
        handle.remove()
        staged = model.memory.take_staged()
        return losses, torch.stack([staged.scores, *staged.regions.unbind(2)])

    losses, staged = outcome(rubbish=0.0)
    others, other_staged = outcome(rubbish=1e3)
    assert set(losses) == {'loss_cam', 'loss_cls', 'loss_nce'}
    torch.testing.assert_close(losses, others)
    torch.testing.assert_close(staged, other_staged)


def test_a_label_stays_whatever_the_crop_shows(dataset):
    np.random.seed(0)
    samples = [dataset[0]['data_samples'] for _ in range(5)]
    assert len({sample.scale_factor for sample in samples}) == 5
    for sample in samples:
        assert sample.gt_label.tolist() == [1, 1, 0]


def test_the_shape_of_an_object_is_kept(dataset):
    """Up to the rounding of a side to whole pixels."""
    np.random.seed(0)
    for index, size in enumerate(SIZES):
        width, height = dataset[index]['data_samples'].scale_factor
        assert width == pytest.approx(height, abs=1 / min(size))


def test_a_pipeline_that_pads_is_refused(repo, tmp_path):
    pad = dict(type='Pad', size=(224, 224))
    dataset = build_dataset(repo, tmp_path, extra=[pad])
    with pytest.raises(ValueError, match='leave out Pad'):
        dataset[4]
