"""A second round: a segmenter's predictions, filtered by the labels."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model

from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.registry import MODELS
from tests.place import CLASSES, LABELS, Place, read


def segmenter_config():
    return Config(
        dict(
            default_scope='mmseg',
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    size=(32, 32),
                    mean=[127.5] * 3,
                    std=[60.0] * 3,
                    bgr_to_rgb=True,
                ),
                backbone=dict(
                    type='ResNet',
                    depth=18,
                    num_stages=1,
                    base_channels=8,
                    strides=(1,),
                    dilations=(1,),
                    out_indices=(0,),
                    norm_cfg=dict(type='SyncBN', momentum=1.0),
                ),
                decode_head=dict(
                    type='FCNHead',
                    in_channels=8,
                    channels=8,
                    num_convs=1,
                    num_classes=4,
                ),
                test_cfg=dict(mode='whole'),
            ),
            test_pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=(48, 48), keep_ratio=True),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ],
        )
    )


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    config = segmenter_config()
    config.dump(tmp_path / 'segmenter.py')
    torch.manual_seed(1)
    init_default_scope('mmseg')
    network = MODELS.build(config.model)
    # So that no class wins everywhere.
    network.decode_head.conv_seg.weight.data.normal_(std=3.0)
    save(network, place)
    refine(place)
    return place


def save(network, place, classes=CLASSES):
    meta = dict(dataset_meta=dict(classes=classes))
    weights = dict(state_dict=network.state_dict(), meta=meta)
    torch.save(weights, place.root / 'segmenter.pth')


def refine(place, **changes):
    files = dict(
        config=str(place.root / 'segmenter.py'),
        checkpoint=str(place.root / 'segmenter.pth'),
    )
    place.write_config(
        margin=0.0, refinement=dict(type='segmenter', **files, **changes)
    )


def make(place, **options):
    return make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.out,
        **options,
    )


def test_labels_are_the_segmenter_s_best_of_the_classes_shown(place):
    make(place)
    network = init_model(
        str(place.root / 'segmenter.py'),
        str(place.root / 'segmenter.pth'),
        'cpu',
    )
    found = set()
    for name, classes in LABELS.items():
        logits = inference_model(
            network, str(place.root / f'JPEGImages/{name}.jpg')
        ).seg_logits.data
        shown = [0, *(c + 1 for c in classes)]
        best = np.asarray(shown)[logits[shown].argmax(0).numpy()]
        label = read(place.out / f'{name}.png')
        np.testing.assert_array_equal(label, best)
        found |= set(np.unique(label))
    assert len(found) == 4


def test_the_weights_are_part_of_the_recipe(place):
    make(place)
    weights = torch.load(place.root / 'segmenter.pth', weights_only=True)
    bias = weights['state_dict']['decode_head.conv_seg.bias']
    bias[0] += 1
    torch.save(weights, place.root / 'segmenter.pth')
    with pytest.raises(ValueError, match='refinement_sha256'):
        make(place)


def test_a_segmenter_of_other_classes_is_refused(place):
    path = place.root / 'segmenter.pth'
    weights = torch.load(path, weights_only=True)
    weights['meta']['dataset_meta']['classes'] = ('background', 'cat')
    torch.save(weights, path)
    with pytest.raises(ValueError, match='cat'):
        make(place)
    assert not place.out.exists()


def test_a_config_that_cannot_predict_is_refused(place):
    path = place.root / 'segmenter.py'
    config = Config.fromfile(path)
    config.test_pipeline = None
    config.dump(path)
    with pytest.raises(ValueError, match='test_pipeline'):
        make(place)
