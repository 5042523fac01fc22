"""Shape shorthand: N images, L classes, h x w cells, T thresholds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.cam import (
    histogram_confusion,
    masked_mean,
    normalize_cam,
    normalize_cams,
    threshold_confusion,
    threshold_histogram,
    valid_cells,
)
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
sides = st.integers(1, 6)
SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (3, 2, 7, 2)]


def random_maps(seed, shape):
    """Logits and a mask, of which about a third is outside."""
    generator = Generator().manual_seed(seed)
    maps = torch.randn(shape, generator=generator, dtype=torch.float64)
    return maps, torch.rand(shape, generator=generator) < 0.7


def random_scene(seed, num_classes=3, size=(4, 5)):
    """Normalised maps, image-level labels and a target with ignored pixels."""
    generator = Generator().manual_seed(seed)
    cam = torch.rand(
        num_classes, *size, generator=generator, dtype=torch.float64
    )
    labels = torch.randint(2, (num_classes,), generator=generator)
    target = torch.randint(num_classes + 2, size, generator=generator)
    target[target > num_classes] = 255
    return cam, labels, target


@given(
    input_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    map_size=st.tuples(sides, sides),
    seed=seeds,
)
@few
def test_valid_cells_agree_with_loops(input_size, map_size, seed):
    generator = Generator().manual_seed(seed)
    share = torch.rand(3, 2, generator=generator)
    sizes = (share * torch.tensor(input_size)).ceil().long()
    assert_close(
        valid_cells(sizes, input_size, map_size),
        ref.valid_cells(sizes, input_size, map_size),
    )


def test_valid_cells_of_a_stride_of_eight():
    # Centres lie at 4, 12 and 20 pixels; one on the edge is outside.
    sizes = torch.tensor([[24, 24], [13, 12], [4, 5]])
    cells = valid_cells(sizes, (24, 24), (3, 3))
    assert cells.sum(dim=(1, 2)).tolist() == [9, 2, 0]
    assert cells[1, :2, 0].all()


@given(size=st.tuples(st.integers(1, 32), st.integers(1, 32)))
@few
def test_valid_cells_do_not_depend_on_the_padding(size):
    sizes = torch.tensor([size])
    tight = valid_cells(sizes, (32, 32), (4, 4))
    padded = valid_cells(sizes, (48, 40), (6, 5))
    assert_close(padded[:, :4, :4], tight)
    assert padded.sum() == tight.sum()


@pytest.mark.parametrize('shape', SHAPES)
def test_masked_mean_agrees_with_loops(shape):
    maps, mask = random_maps(0, shape)
    expected = [
        ref.masked_mean(cam, inside)
        for cam, inside in zip(
            maps.flatten(0, 1), mask.flatten(0, 1), strict=True
        )
    ]
    assert_close(masked_mean(maps, mask).flatten(), maps.new_tensor(expected))


@pytest.mark.parametrize(
    'mask_shape', [(2, 1, 4, 5), (4, 5), (3, 1, 1), (4, 1), (1, 5)]
)
def test_masked_mean_takes_any_mask_that_broadcasts(mask_shape):
    maps, _ = random_maps(1, (2, 3, 4, 5))
    _, mask = random_maps(2, mask_shape)
    assert_close(
        masked_mean(maps, mask), masked_mean(maps, mask.expand_as(maps))
    )


def test_masked_mean_of_an_empty_mask_is_zero_with_zero_gradient():
    maps, mask = random_maps(0, (2, 3, 3))
    mask[0] = False
    maps.requires_grad_()
    means = masked_mean(maps, mask)
    means.sum().backward()
    assert means[0] == 0
    assert maps.grad[0].count_nonzero() == 0
    assert maps.grad[1].sum().item() == pytest.approx(1)


def test_masked_mean_gradient():
    maps, mask = random_maps(3, (2, 3, 3))
    maps.requires_grad_()
    torch.autograd.gradcheck(lambda x: masked_mean(x, mask), maps)


@given(seed=seeds, content=st.floats(-1e6, 1e6))
@few
def test_masked_mean_ignores_what_lies_outside(seed, content):
    maps, mask = random_maps(seed, (2, 4, 4))
    assert_close(
        masked_mean(maps.where(mask, maps.new_tensor(content)), mask),
        masked_mean(maps, mask),
    )


@pytest.mark.parametrize(
    ('dtype', 'relative'),
    # 16 cells: 16 roundings of 2^-24; three of 2^-9: sum, count, division.
    [(torch.float32, 16 * 2**-24), (torch.bfloat16, 3 * 2**-9)],
)
def test_masked_mean_precision(dtype, relative):
    maps, mask = random_maps(4, (5, 4, 4))
    maps = maps.to(dtype)
    error = masked_mean(maps, mask).double() - masked_mean(maps.double(), mask)
    scale = masked_mean(maps.double().abs(), mask)
    assert (error.abs() <= relative * scale).all()


@pytest.mark.parametrize('shape', SHAPES)
def test_normalize_cam_agrees_with_loops(shape):
    cam, valid = random_maps(5, shape)
    expected = [
        ref.normalize_cam(one, inside)
        for one, inside in zip(
            cam.flatten(0, 1), valid.flatten(0, 1), strict=True
        )
    ]
    assert_close(normalize_cam(cam, valid), torch.stack(expected).view_as(cam))
    everywhere = torch.ones_like(valid)
    assert_close(normalize_cam(cam), normalize_cam(cam, everywhere))


@given(seed=seeds, scale=st.floats(1e-6, 1e6))
@few
def test_normalize_cam_forgets_the_scale_and_peaks_at_one(seed, scale):
    cam, _ = random_maps(seed, (3, 4, 4))
    cam[0] = -cam[0].abs()
    out = normalize_cam(cam * scale)
    assert_close(out, normalize_cam(cam))
    positive = (cam > 0).any(dim=-1).any(dim=-1)
    assert_close(out.amax(dim=(1, 2)), positive.double())
    assert out.min() >= 0


def test_normalize_cam_of_a_map_without_positive_cell_is_zero():
    cam = torch.tensor([[[-1.0, 0.0]], [[-2.0, 3.0]]], requires_grad=True)
    out = normalize_cam(cam, torch.tensor([[True, False]]))
    out.sum().backward()
    assert out.count_nonzero() == 0
    assert cam.grad.isfinite().all()


@pytest.mark.parametrize(
    ('num_classes', 'size', 'num_thresholds'),
    [(1, (1, 1), 1), (3, (4, 5), 10), (5, (3, 7), 16)],
)
def test_threshold_confusion_agrees_with_loops(
    num_classes, size, num_thresholds
):
    for seed in range(5):
        scene = random_scene(seed, num_classes, size)
        assert_close(
            threshold_confusion(*scene, num_thresholds),
            ref.threshold_confusion(*scene, num_thresholds),
        )


def test_threshold_confusion_at_a_threshold_is_background():
    # Maps take the values of the thresholds, which are exact in binary.
    cam, labels, target = random_scene(6, size=(6, 6))
    cam = (cam * 8).floor() / 8
    # Ties between classes are decided either way, so have one class only.
    labels = torch.tensor([0, 1, 0])
    assert_close(
        threshold_confusion(cam, labels, target, 8),
        ref.threshold_confusion(cam, labels, target, 8),
    )


@given(seed=seeds)
@few
def test_threshold_confusion_ignores_the_maps_of_absent_classes(seed):
    cam, labels, target = random_scene(seed)
    loud = cam.where(labels[:, None, None] > 0, torch.ones_like(cam))
    assert_close(
        threshold_confusion(loud, labels, target, 7),
        threshold_confusion(cam, labels, target, 7),
    )


def test_threshold_confusion_of_an_image_without_label_is_background():
    cam, labels, target = random_scene(7)
    counts = threshold_confusion(cam, labels * 0, target, 5)
    assert counts[..., 1:].sum() == 0
    assert (counts.sum(dim=(1, 2)) == (target != 255).sum()).all()


@given(seed=seeds, order=st.permutations(range(3)))
@few
def test_threshold_confusion_follows_a_permutation_of_classes(seed, order):
    cam, labels, target = random_scene(seed)
    moved = target.clone()
    for new, old in enumerate(order):
        moved[target == old + 1] = new + 1
    sides = [0, *(old + 1 for old in order), 4]
    assert_close(
        threshold_confusion(cam[order], labels[order], moved, 4),
        threshold_confusion(cam, labels, target, 4)[:, sides[:-1]][
            :, :, sides
        ],
    )


@given(seed=seeds, column=st.integers(0, 5))
@few
def test_threshold_confusion_adds_up_over_pixels(seed, column):
    cam, labels, target = random_scene(seed)
    parts = [
        threshold_confusion(cam[..., part], labels, target[..., part], 6)
        for part in (slice(column), slice(column, None))
    ]
    assert_close(sum(parts), threshold_confusion(cam, labels, target, 6))


def test_threshold_confusion_of_other_number_types():
    cam, labels, target = random_scene(8)
    expected = threshold_confusion(cam, labels, target, 10)
    counts = threshold_confusion(
        cam.float(), labels.float(), target.to(torch.uint8), 10
    )
    assert_close(counts, expected)
    assert counts.dtype == torch.int64


def slow_normalized(cams, how):
    """Pixel by pixel."""
    result = torch.zeros_like(cams)
    positive = [max(v, 0) for v in cams.flatten().tolist()]
    highest = max(positive, default=0)
    for c, cam in enumerate(cams):
        values = cam.flatten().tolist()
        cut = [max(v, 0) for v in values]
        top = highest if how == 'image' else max(cut)
        scaled = [v / top if top else 0 for v in cut]
        result[c] = torch.tensor(scaled, dtype=cams.dtype).view_as(cam)
    return result


@few
@given(seeds, st.integers(0, 3), st.sampled_from(['class', 'image']))
def test_normalizations_agree_with_loops(seed, count, how):
    generator = Generator().manual_seed(seed)
    cams = torch.randn(count, 3, 4, generator=generator, dtype=torch.float64)
    assert_close(normalize_cams(cams, how), slow_normalized(cams, how))


@pytest.mark.parametrize('how', ['class', 'image'])
def test_constant_and_negative_maps_become_zero(how):
    cams = torch.tensor([-3.0, -1.0])[:, None, None].expand(2, 2, 2)
    assert normalize_cams(cams, how).eq(0).all()


@few
@given(seeds)
def test_histograms_of_images_add_up(seed):
    scenes = [random_scene(seed), random_scene(seed + 1)]
    histogram = sum(
        threshold_histogram(
            *(cam * labels[:, None, None]).max(dim=0), target, 3, 10
        )
        for cam, labels, target in scenes
    )
    expected = sum(threshold_confusion(*scene, 10) for scene in scenes)
    assert_close(histogram_confusion(histogram), expected)
