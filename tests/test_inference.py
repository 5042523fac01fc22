import mmcv
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.nn import functional as F

import mmrca  # noqa: F401
from mmrca.inference import (
    Cams,
    enlarge_cams,
    half,
    infer_cams,
    read_cams,
    save_cams,
)
from mmrca.registry import MODELS


@pytest.fixture(scope='module')
def model():
    """Build RCA with filled prototypes, its weights drawn at random."""
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = MODELS.build(
        dict(
            type='mmrca.RCA',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                size=(32, 32),
                mean=[120.0, 110.0, 100.0],
                std=[60.0, 60.0, 60.0],
                bgr_to_rgb=True,
            ),
            backbone=dict(
                type='ResNet',
                depth=18,
                base_channels=8,
                num_stages=2,
                strides=(1, 2),
                dilations=(1, 1),
                out_indices=(1,),
                # At momentum 1 one batch settles the statistics.
                norm_cfg=dict(type='BN', momentum=1.0),
            ),
            cam_head=dict(type='mmrca.CAMHead', in_channels=16, num_classes=4),
            memory=dict(
                type='mmrca.RegionMemory',
                num_prototypes=2,
            ),
            aggregation=dict(
                type='mmrca.SemanticAggregation', temperature=1.0, cosine=True
            ),
            cls_head=dict(type='mmrca.CAMHead'),
        )
    )
    model.memory.prototypes.normal_()
    model.memory.prototype_valid.fill_(True)
    model.backbone(torch.randn(4, 3, 40, 56))
    return model


def random_image(height=40, width=56, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return mmcv.imresize(coarse, (width, height))


def image_cams(model, image, classes, scales, flip):
    (cams,) = infer_cams(model, [image], [classes], scales, flip)
    return enlarge_cams(cams, image.shape[:2], 'class')


def assert_as_half(found, expected):
    """Equal but for rounding the small maps to float16."""
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def plain_cams(model, image):
    """One scale, no mirror image, normalised by hand."""
    mean, std = (np.array(v) for v in ([120, 110, 100], 60))
    pixels = (image[..., ::-1] - mean) / std
    inputs = torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        maps = model(inputs, mode='tensor').relu()
    return F.interpolate(maps, image.shape[:2], mode='bilinear')[0]


def peaks_to_one(maps):
    return torch.stack([m / m.max() if m.max() > 0 else m for m in maps])


def test_one_scale_is_the_models_own_cam(model):
    image = random_image()
    cams = image_cams(model, image, [0, 1, 2, 3], [1.0], False)
    assert cams.shape == (4, 40, 56)
    assert (cams.amax((1, 2)) == 1).all()
    assert_as_half(cams, peaks_to_one(plain_cams(model, image)))


def test_classes_are_picked_in_their_order(model):
    image = random_image()
    every = image_cams(model, image, [0, 1, 2, 3], [1.0, 1.5], True)
    some = image_cams(model, image, [3, 1], [1.0, 1.5], True)
    torch.testing.assert_close(some, every[[3, 1]])


def test_scales_are_summed_before_normalising(model):
    image = random_image()
    larger = mmcv.imresize(image, (84, 60))
    total = plain_cams(model, image)
    total += F.interpolate(
        plain_raw(model, larger), (40, 56), mode='bilinear'
    )[0]
    cams = image_cams(model, image, [0, 1, 2, 3], [1.0, 1.5], False)
    assert_as_half(cams, peaks_to_one(total))


def plain_raw(model, image):
    data = model.data_preprocessor(
        dict(
            inputs=[torch.from_numpy(image.transpose(2, 0, 1).copy())],
            data_samples=None,
        )
    )
    with torch.no_grad():
        return model(data['inputs'], mode='tensor').relu()


def test_mirrored_image_gives_mirrored_cams(model):
    image = random_image()
    cams = image_cams(model, image, [0, 1, 2], [1.0], True)
    mirrored = image_cams(model, image[:, ::-1], [0, 1, 2], [1.0], True)
    assert_as_half(mirrored, cams.flip(-1))
    alone = image_cams(model, image, [0, 1, 2], [1.0], False)
    assert not torch.allclose(cams, alone, atol=1e-2)


def test_a_batch_is_its_images(model):
    images = [random_image(seed=seed) for seed in range(3)]
    classes = [[0], [1, 3], []]
    together = infer_cams(model, images, classes, [0.5, 1.0], True)
    for image, given, found in zip(images, classes, together, strict=True):
        (alone,) = infer_cams(model, [image], [given], [0.5, 1.0], True)
        assert found.classes == alone.classes == given
        for one, other in zip(found.maps, alone.maps, strict=True):
            assert one.dtype == torch.float16
            assert_as_half(one.float(), other.float())
        torch.testing.assert_close(found.scores, alone.scores)


def test_scores_are_the_mean_logits_sigmoid(model):
    image = random_image()
    data = dict(
        inputs=[torch.from_numpy(image.transpose(2, 0, 1).copy())],
        data_samples=None,
    )
    with torch.no_grad():
        inputs = model.data_preprocessor(data)['inputs']
        views = torch.cat([inputs, inputs.flip(-1)])
        expected = model(views, mode='tensor').mean((0, 2, 3)).sigmoid()
    (cams,) = infer_cams(model, [image], [[]], [1.0], True)
    torch.testing.assert_close(cams.scores, expected)


def test_unknown_classes_are_those_above_their_thresholds(model):
    image = random_image()
    (cams,) = infer_cams(model, [image], [[0]], [1.0], False)
    shift = torch.tensor([-0.01, 0.01, 0.0, 0.5])
    (found,) = infer_cams(
        model, [image], [None], [1.0], False, cams.scores + shift
    )
    assert found.classes == [0, 2]
    assert found.maps[0].shape[0] == 2


def test_saved_cams_are_read_again(tmp_path):
    cams = Cams(
        [4, 2], [torch.rand(2, 3, 4).half(), torch.rand(2, 5, 6).half()],
        torch.rand(6),
    )  # fmt: skip
    save_cams(tmp_path / 'a.npz', cams)
    found = read_cams(tmp_path / 'a.npz', [4, 2])
    assert found.classes == [4, 2]
    assert all(a.equal(b) for a, b in zip(found.maps, cams.maps, strict=True))
    assert found.scores.equal(cams.scores)
    assert read_cams(tmp_path / 'a.npz', None).classes == [4, 2]
    assert read_cams(tmp_path / 'a.npz', [2, 4]) is None
    assert read_cams(tmp_path / 'b.npz', None) is None


def test_large_logits_stay_finite():
    assert half(torch.tensor([1e6, 1.0])).tolist() == [65504, 1]


def test_model_is_left_in_eval_mode_and_unchanged(model):
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    cams = image_cams(model, random_image(), [0], [1.0], True)
    assert not model.training
    assert not cams.requires_grad
    for key, value in model.state_dict().items():
        assert value.equal(before[key]), key


@pytest.mark.parametrize('shape', [(1, 1), (1, 30), (30, 1), (3, 400)])
def test_thin_images(model, shape):
    cams = image_cams(model, random_image(*shape), [0, 1], [0.5, 1.0], True)
    assert cams.shape == (2, *shape)
    assert cams.isfinite().all()
    assert 0 <= cams.min() <= cams.max() <= 1


def test_mixed_precision_changes_little(model):
    given = [random_image()], [[0, 1]], [1.0], True
    exact, low = infer_cams(model, *given), infer_cams(model, *given, amp=True)
    for maps, others in zip(exact[0].maps, low[0].maps, strict=True):
        assert not maps.equal(others)
        # bfloat16 has 8 bits; a dozen layers add up their rounding.
        error = (maps.float() - others.float()).abs().max()
        assert error < 0.05 * maps.float().max()


def test_no_class_gives_no_map(model):
    assert image_cams(model, random_image(), [], [1.0], True).shape == (
        0, 40, 56,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'scales': []}, 'one or more numbers > 0'),
        ({'scales': [1.0, 0.0]}, 'one or more numbers > 0'),
        ({'classes': [4]}, r'classes \[4\] must lie in 0..3'),
        ({'image': np.zeros((8, 8), np.uint8)}, 'must be uint8'),
        ({'image': np.zeros((8, 8, 3))}, 'must be uint8'),
    ],
)
def test_bad_input(model, change, message):
    given = dict(image=random_image(), classes=[0], scales=[1.0], flip=True)
    with pytest.raises(ValueError, match=message):
        image_cams(model, **{**given, **change})


def test_images_of_several_sizes_are_refused(model):
    images = [random_image(), random_image(20, 20)]
    with pytest.raises(ValueError, match='of one size'):
        infer_cams(model, images, [[0], [0]], [1.0], False)


def test_a_padding_preprocessor_is_refused(model, monkeypatch):
    monkeypatch.setattr(
        model.data_preprocessor, 'test_cfg', dict(size_divisor=32)
    )
    with pytest.raises(ValueError, match='test_cfg pads'):
        image_cams(model, random_image(), [0], [1.0], False)
