import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.structures import SegDataSample

from mmrca.models import RCA
from mmrca.ops.cam import normalize_cam
from mmrca.registry import MODELS
from tests import tiny


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp('tiny')
    return tiny.config(tiny.write_images(root, [[0]])).model


def build(config, bound: bool = True, filled: bool = True) -> RCA:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    if bound and model.memory is not None:
        memory = model.memory
        memory.bind([0, 0, 1, 1, 2, 2], b'rows', batch_size=8)
        memory.contrast_active.fill_(True)
        if filled:
            memory.rows.normal_()
            memory.filled.fill_(True)
            memory.prototypes.normal_()
            memory.prototype_valid.fill_(True)
    return model


def batch(labels: list[list[int]], size: int = 32) -> dict:
    generator = torch.Generator().manual_seed(1)
    samples = []
    for classes in labels:
        sample = SegDataSample(metainfo=dict(img_shape=(size, size)))
        sample.set_metainfo(dict(ori_shape=(size - 3, size + 5)))
        sample.gt_label = torch.zeros(3).index_fill(
            0, torch.tensor(classes, dtype=torch.long), 1.0
        )
        sample.memory_row = torch.arange(0, 6, 2)
        samples.append(sample)
    inputs = torch.randn(len(labels), 3, size, size, generator=generator)
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize(
    ('labels', 'filled'),
    [
        ([[0, 1], [2]], True),
        ([[0], [0]], True),  # one class only: no partner to mix with
        ([[], [1]], True),  # an image without a label
        ([[], []], True),  # no region at all
        ([[0, 1], [2]], False),  # nothing was ever visited
    ],
)
def test_losses_and_gradients_are_finite(config, labels, filled):
    model = build(config, filled=filled)
    losses = model.loss(**batch(labels))
    assert set(losses) == {'loss_cam', 'loss_cls', 'loss_nce'}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    takes_part = filled and any(labels)
    assert (losses['loss_nce'] > 0) == takes_part


@pytest.mark.parametrize('released', [False, True])
def test_bfloat16_autocast_changes_little(tmp_path, released):
    changes = tiny.AS_RELEASED if released else {}
    root = tiny.write_images(tmp_path, [[0]])
    config = tiny.config(root, **changes).model
    results = []
    for enabled in (False, True):
        model = build(config)
        model.memory.generator.manual_seed(0)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            losses = model.loss(**batch([[0, 1], [2]]))
        sum(losses.values()).backward()
        for name, parameter in model.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
        results.append((losses, model.memory.take_staged()))
    (losses, staged), (low_losses, low_staged) = results
    assert low_staged.regions.dtype == torch.float32
    # A dozen layers of bf16 (8 bits) between image and map. The maps of the
    # released heads are so flat at the start that cells change sides, which
    # makes other regions of them.
    if released:
        del losses['loss_nce']
    else:
        torch.testing.assert_close(
            low_staged.regions, staged.regions, rtol=0.1, atol=0.1
        )
    for key, value in losses.items():
        torch.testing.assert_close(low_losses[key], value, rtol=0.05, atol=0.0)


def test_a_detached_aggregation_trains_the_second_head_only(config):
    detached = copy.deepcopy(config)
    detached.aggregation.detach = True
    losses, trained = [], []
    for cfg in (config, detached):
        model = build(cfg)
        losses.append(model.loss(**batch([[0, 1], [2]]))['loss_cls'])
        losses[-1].backward()
        parts = [n for n, p in model.named_parameters() if p.grad is not None]
        trained.append({name.split('.')[0] for name in parts})
    assert torch.equal(*losses)
    assert trained == [{'backbone', 'cls_head'}, {'cls_head'}]


def test_an_empty_region_mask_is_no_region(config):
    model = build(config)
    torch.nn.init.zeros_(model.cam_head.conv.weight)  # P is its own mean
    losses = model.loss(**batch([[0], [1]]))
    assert losses['loss_nce'] == 0
    assert not model.memory.take_staged().valid.any()


def test_the_memory_is_read_as_it_was_before_the_batch(config):
    model = build(config)
    before = copy.deepcopy(model.memory.state_dict())
    model.loss(**batch([[0, 1], [2]]))
    for key, value in model.memory.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not model.memory.take_staged().regions.requires_grad


def test_without_prototypes_the_aggregate_is_zero(config):
    model = build(config, filled=False)
    features = torch.randn(2, tiny.CHANNELS, 4, 4)
    both = model._aggregate(features)
    assert torch.equal(both[:, : tiny.CHANNELS], features)
    assert not both[:, tiny.CHANNELS :].any()


@pytest.mark.parametrize('plain', [True, False])
def test_predictions_have_the_original_size(config, plain):
    config = copy.deepcopy(config)
    if plain:
        for part in ('memory', 'loss_nce', 'aggregation', 'cls_head'):
            config[part] = None
    model = build(config).eval()
    data = batch([[0], [1, 2]])
    with torch.no_grad():
        outputs = model(**data, mode='predict')
        logits = model(data['inputs'], mode='tensor')
    for sample, raw in zip(outputs, logits, strict=True):
        background, *cams = sample.seg_logits.data
        assert background.shape == (29, 37)
        torch.testing.assert_close(background, torch.full((29, 37), 0.3))
        for c, cam in enumerate(cams):
            assert sample.gt_label[c] or not cam.any()
            assert cam.min() >= 0
            assert cam.max() <= 1
        best = sample.seg_logits.data.argmax(dim=0, keepdim=True)
        assert torch.equal(sample.pred_sem_seg.data, best)
        torch.testing.assert_close(
            sample.pred_score, raw.mean(dim=(1, 2)).sigmoid()
        )


def test_padding_does_not_count_in_scores(config):
    model = build(config).eval()
    data = batch([[0]])
    data['data_samples'][0].set_metainfo(dict(img_shape=(16, 32)))
    with torch.no_grad():
        (sample,) = model(**data, mode='predict')
        (raw,) = model(data['inputs'], mode='tensor')
    top = raw[:, : raw.shape[1] // 2]
    torch.testing.assert_close(
        sample.pred_score, top.mean(dim=(1, 2)).sigmoid()
    )


def test_prototype_cams_know_the_labels_and_the_padding(config):
    config = copy.deepcopy(config)
    config.prototype_cam = dict(
        type='mmrca.PrototypeCAM', image_region=0.4, self_similarity=0.3
    )
    model = build(config).eval()
    model.prototype_cam.widen(tiny.CHANNELS)
    model.prototype_cam.prototypes.normal_()
    model.prototype_cam.background.normal_()
    for name in ('valid', 'background_valid', 'filled'):
        model.prototype_cam.get_buffer(name).fill_(True)
    data = batch([[0], [1, 2]])
    data['data_samples'][0].set_metainfo(
        dict(img_shape=(16, 32), img_padding_size=(0, 0, 0, 16))
    )
    present = torch.stack([s.gt_label for s in data['data_samples']]) > 0
    with torch.no_grad():
        outputs = model(**data, mode='predict')
        stages = model.extract_feat(data['inputs'])
        valid = torch.ones_like(stages[-1][:, 0], dtype=torch.bool)
        valid[0, valid.shape[1] // 2 :] = False
        logits = model.prototype_cam(stages, present, valid)
    for sample, raw in zip(outputs, logits, strict=True):
        raw = raw.relu() * sample.gt_label[:, None, None]
        cam = F.interpolate(raw[None], (32, 32), mode='bilinear')
        cam = normalize_cam(cam[..., : sample.img_shape[0], :])
        cam = F.interpolate(cam, (29, 37), mode='bilinear')[0]
        torch.testing.assert_close(sample.seg_logits.data[1:], cam)
    with torch.no_grad():
        normal = model(**batch([[], []]), mode='predict')
    assert not any(sample.seg_logits.data[1:].any() for sample in normal)


def test_without_labels_the_scores_say_which_classes_are_there(config):
    model = build(config).eval()
    data = batch([[0], [1, 2]])
    with torch.no_grad():
        outputs = model(data['inputs'], mode='predict')
        decoded = model.encode_decode(data['inputs'], None)
    for sample, scores in zip(outputs, decoded, strict=True):
        assert torch.equal(sample.seg_logits.data, scores)
        shown = sample.seg_logits.data[1:].flatten(1).any(dim=1)
        assert not shown[sample.pred_score < 0.5].any()


@pytest.mark.parametrize(
    ('part', 'key'),
    [
        ('memory', 'num_classes'),
        ('memory', 'channels'),
        ('cls_head', 'in_channels'),
        ('aggregation', 'channels'),
    ],
)
def test_what_cam_head_says_is_said_once(config, part, key):
    config = copy.deepcopy(config)
    config[part][key] = 3
    with pytest.raises(ValueError, match=rf'model\.{part}\.{key}'):
        build(config)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('aggregation.detach', 'maybe'),
        ('aggregation.cosine', 'maybe'),
        ('aggregation.temperature', -1),
        ('loss_nce.loss_weight', 'high'),
        ('memory.momentum', 1.5),
        ('memory.kmeans', 'faiss'),
        ('test_cfg.normalization', 'minmax'),
        ('cam_head.num_classes', 2.5),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(config, key, value):
    config = copy.deepcopy(config)
    config.test_cfg = dict()
    part, option = key.split('.')
    config[part][option] = value
    with pytest.raises(ValueError, match=f'{option} is {value!r}'):
        build(config)


@pytest.mark.parametrize('missing', ['memory', 'cls_head', 'aggregation'])
def test_parts_that_need_each_other_are_checked(config, missing):
    config = copy.deepcopy(config)
    config[missing] = None
    with pytest.raises(ValueError, match=r'model\.'):
        build(config)


def test_other_prototypes_than_the_configs_are_an_error(config):
    state = build(config).state_dict()
    config = copy.deepcopy(config)
    config.memory.num_prototypes = 5
    with pytest.raises(ValueError, match=r'prototypes of shape \(3, 2, 32\)'):
        build(config, bound=False).load_state_dict(state)


def test_a_checkpoint_brings_its_rows(config):
    old = build(config)
    new = build(config, bound=False)
    new.load_state_dict(old.state_dict())
    assert torch.equal(new.memory.rows, old.memory.rows)
    assert new.memory.filled.all()


def test_a_checkpoint_of_other_classes_is_an_error(config, tmp_path):
    state = dict(state_dict=build(config).state_dict())
    torch.save(state, tmp_path / 'model.pth')
    config = copy.deepcopy(config)
    for part in ('memory', 'loss_nce', 'aggregation', 'cls_head'):
        config[part] = None
    config.cam_head.num_classes = 5
    with pytest.raises(ValueError, match='checkpoint has 3 classes'):
        load_checkpoint(build(config), str(tmp_path / 'model.pth'))


def test_a_projection_without_contrast_is_refused(config):
    config = copy.deepcopy(config)
    config.projection = dict(type='mmrca.QueryProjection')
    config.loss_nce = None
    with pytest.raises(ValueError, match=r'model\.projection needs'):
        build(config)
