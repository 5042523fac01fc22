"""One image's label: what each setting does to it."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmrca.inference import Cams
from mmrca.ops.pixel_adaptive import pixel_adaptive
from mmrca.pseudo_labels.dense_crf import DenseCRF
from mmrca.pseudo_labels.labels import Labeller
from mmrca.pseudo_labels.settings import Settings

CONSTANT = dict(type='constant', threshold=0.4)
CAMS = [[[0.0, 0.5, 0.9, 0.95, 0.1, 1.0]], [[0.2, 0.1, 1.0, 0.9, 0.3, 0.0]]]


def label(
    background=CONSTANT, margin=0.0, cams=CAMS, classes=(4, 1), **settings
):
    """Label six pixels in a row that show two classes."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 6, 3), dtype=np.uint8)
    chosen = Settings((1.0,), False, background, margin, **settings)
    # Halves, as the model's maps are: .9 < .90004 and .95 > .9497.
    maps = [torch.tensor(cams).half()]
    found = Cams(list(classes), maps, torch.zeros(5))
    return Labeller(chosen, 'image')(image, found, 'a', (1, 6)).pixels


@pytest.fixture
def saliency(tmp_path):
    def write(*values):
        row = np.array([values], np.float32) * 255
        Image.fromarray(row.astype(np.uint8)).save(tmp_path / 'a.png')
        return dict(type='saliency', dir=str(tmp_path))

    return write


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(), [0, 5, 2, 5, 0, 5]),
        (dict(margin=0.15), [0, 255, 255, 255, 255, 5]),
        (dict(conflict=0.89), [0, 5, 255, 255, 0, 5]),
        (dict(conflict=0.97), [0, 5, 2, 5, 0, 5]),
    ],
)
def test_each_rule(settings, expected):
    found = label(**settings)
    assert found.tolist() == [expected]
    assert found.dtype == np.uint8


def test_saliency_is_the_background(saliency):
    # Background is .1 where the map is salient, .9 and .8 elsewhere.
    cue = saliency(0.9, 0.1, 0.9, 0.9, 0.2, 0.9)
    assert label(cue).tolist() == [[2, 0, 2, 5, 0, 5]]


def test_labels_that_the_cue_contradicts_are_unlabelled(saliency):
    # Salient, and the CAMs too low to say so; and the other way round.
    cue = saliency(0.6, 0.45, 0.9, 0.9, 0.2, 0.9)
    cams = np.array(CAMS)
    cams[:, :, 0], cams[1, :, 1] = 0.1, 0.6
    plain = label(cue, cams=cams.tolist())
    assert plain.tolist() == [[0, 2, 2, 5, 0, 5]]
    checked = label(cue, cams=cams.tolist(), background_conflict=True)
    assert checked.tolist() == [[255, 255, 2, 5, 0, 5]]


def test_a_normal_image_is_not_refined():
    # Scores of the background alone would make the dense CRF fail.
    refinement = dict(type='dense_crf')
    found = label(cams=np.zeros((0, 1, 6)), classes=(), refinement=refinement)
    assert found.tolist() == [[0] * 6]


def larger_scene():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    maps = torch.from_numpy(rng.random((2, 9, 8))).half()
    maps[:, 0, 0] = 1
    return image, Cams([0, 1], [maps], torch.zeros(2))


def test_refinements_see_the_image_in_rgb():
    image, cams = larger_scene()
    maps = cams.maps[0].float()
    scores = torch.cat([torch.full((1, 9, 8), 0.4), maps])
    rgb = image[..., ::-1].copy()
    crf = dict(iterations=2, bilateral_sxy=4)
    adaptive = dict(iterations=2, dilations=(1, 3))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1).float()
    for kind, options, expected in (
        ('dense_crf', crf, DenseCRF(**crf)(rgb, scores, [0, 1])),
        (
            'pixel_adaptive',
            adaptive,
            pixel_adaptive(pixels, scores, **adaptive),
        ),
    ):
        refinement = dict(type=kind, **options)
        labeller = Labeller(
            Settings((1.0,), False, CONSTANT, 0.0, refinement=refinement),
            'class',
        )
        found = labeller.score(image, cams, 'a')
        torch.testing.assert_close(found.plain, scores)
        torch.testing.assert_close(found.refined, expected)
        labels = labeller(image, cams, 'a', (9, 8)).pixels
        assert labels.tolist() == expected.argmax(0).tolist()
        assert labels.tolist() != scores.argmax(0).tolist()


def test_refined_scores_have_a_background_of_their_own():
    nothing = dict(type='pixel_adaptive', iterations=0)
    both = dict(CONSTANT, refined=0.97)
    assert label(both).tolist() == label().tolist()
    assert label(both, refinement=nothing).tolist() == [[0, 0, 2, 0, 0, 5]]
