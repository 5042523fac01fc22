"""Images that show none of the classes, through the real Runner."""

from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch

from mmrca.engine.prototype_filling import collect_rows
from mmrca.ops.prototype_cam import concat_stages
from tests import tiny
from tests.engine.hooks.test_memory_bank_hook import (
    assert_same_training,
    last_checkpoint,
)


def config(root: Path, labels: list[list[int]], **changes):
    """Contrast without aggregation, as in the recipe."""
    cfg = tiny.config(tiny.write_images(root, labels), **changes)
    cfg.model.aggregation = cfg.model.cls_head = None
    return cfg


def with_prototypes(cfg):
    cfg.model.prototype_cam = dict(
        type='mmrca.PrototypeCAM', num_prototypes=2, num_background=3
    )
    cfg.default_hooks.prototype_cam = dict(type='mmrca.PrototypeCAMHook')
    return cfg


def losses(runner) -> torch.Tensor:
    values, _ = runner.message_hub.log_scalars['train/loss'].data
    return torch.tensor(values)


@pytest.mark.parametrize(
    'labels',
    [
        [[0], [], [0], []],  # one class
        [[0]] + [[]] * 19,  # 95 % normals, a class with one image
        [[0, 1], [0], [0, 2], [0]],  # a class in every image
        [[], [], [], [], [0], [1]],  # the first batch is all normal
    ],
)
def test_training_is_finite_and_normals_own_no_row(tmp_path, labels):
    cfg = config(tmp_path, labels)
    cfg.train_dataloader.sampler.shuffle = False
    runner = tiny.runner(cfg)
    runner.train()
    assert torch.isfinite(losses(runner)).all()
    memory = runner.model.memory
    assert len(memory.rows) == sum(map(len, labels))
    expected = sorted(c for classes in labels for c in classes)
    assert memory.row_class.tolist() == expected
    assert torch.isfinite(memory.rows).all()


def test_a_normal_image_trains_every_class_towards_zero(tmp_path):
    runner = tiny.runner(config(tmp_path, [[], [0]]))
    model = runner.model
    item = runner.build_dataloader(runner.cfg.train_dataloader).dataset[0]
    sample = item['data_samples']
    assert not sample.gt_label.any()
    cam = torch.zeros(1, 3, 4, 4, requires_grad=True)
    inside = torch.ones(1, 4, 4, dtype=torch.bool)
    model.cam_head.loss(cam, sample.gt_label[None], inside).backward()
    assert (cam.grad > 0).all()


def test_a_normal_image_gives_rows_of_the_background_only(tmp_path):
    cfg = with_prototypes(config(tmp_path, [[], [0], []]))
    runner = tiny.runner(cfg)
    dataset = runner.build_dataloader(runner.cfg.train_dataloader).dataset
    found, counts = collect_rows(runner.model, dataset, [0, 2])
    assert set(found.kinds.tolist()) == {3}
    assert counts.tolist() == [0, 0, 0, len(found.kinds)]
    model, expected = runner.model.eval(), []
    for index in (0, 2):
        pixels = mmcv.imread(dataset.get_data_info(index)['img_path'])
        pixels = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
        with torch.no_grad():
            stages = list(model.backbone((pixels[None] - 127.5) / 127.5))
            cam = model.cam_head(stages[-1])[0]
        cells = concat_stages(stages)[0].flatten(1)
        # The cells that look most like each class, then all of them.
        masks = [(m > 0) & (m > 0.9 * m.max()) for m in cam.flatten(1)]
        masks = [m for m in masks if m.any()]
        masks.append(torch.ones(cells.shape[1], dtype=torch.bool))
        expected += [cells[:, m].mean(dim=1) for m in masks]
        assert (found.images == index).sum() == len(masks)
    expected = torch.nn.functional.normalize(torch.stack(expected), dim=1)
    torch.testing.assert_close(found.rows, expected)


def test_resuming_changes_no_bit(tmp_path):
    labels = [[0], [], [1], [], [0, 1], []]

    def train(folder: str, epochs: int, **resume) -> dict:
        work = tmp_path / folder
        cfg = config(tmp_path / f'{folder}{epochs}', labels, **resume)
        cfg.work_dir, cfg.train_cfg.max_epochs = str(work), epochs
        tiny.runner(cfg).train()
        return last_checkpoint(work)

    whole = train('whole', 3)
    train('parts', 1)
    assert_same_training(whole, train('parts', 3, resume=True))


def test_classes_are_balanced_by_mmengines_wrapper(tmp_path):
    labels = [[0]] + [[]] * 9
    cfg = config(tmp_path, labels)
    cfg.train_dataloader.dataset = dict(
        type='ClassBalancedDataset',
        oversample_thr=0.4,
        dataset=cfg.train_dataloader.dataset,
    )
    runner = tiny.runner(cfg)
    runner.train()
    dataset = runner.train_dataloader.dataset
    # The class is in a tenth of the images: sqrt(.4 / .1) times as often.
    shown = [
        bool(dataset[i]['data_samples'].gt_label.any()) for i in range(11)
    ]
    assert len(dataset) == 11
    assert sum(shown) == 2
    assert len(runner.model.memory.rows) == 1
