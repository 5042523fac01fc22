"""What can only be seen on a GPU; `make gpu` runs these."""

import copy

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from mmrca.engine.prototype_filling import fill
from mmrca.inference import infer_cams
from mmrca.models.region_list import RegionList
from mmrca.registry import DATASETS
from tests import tiny
from tests.models.test_rca import batch, build
from tests.test_inference import random_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
LABELS = [[0, 1], [2], [1, 2], [0]]


def on_gpu(config):
    """A model with a filled memory, and a batch, on the GPU."""
    model = build(config).cuda()
    model.memory.generator.manual_seed(0)
    data = batch(LABELS)
    samples = [sample.cuda() for sample in data['data_samples']]
    return model, dict(inputs=data['inputs'].cuda(), data_samples=samples)


@pytest.fixture
def config(tmp_path):
    return tiny.config(tiny.write_images(tmp_path, [[0]])).model


def step(model, data, amp=torch.float32):
    """Losses, gradients and rows of one training step."""
    with torch.autocast('cuda', amp, enabled=amp != torch.float32):
        losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    return losses


def test_a_step_never_waits_for_the_gpu(config):
    model, data = on_gpu(config)
    step(model, data)  # cuDNN and the allocator may wait the first time
    model.memory.write(0)
    model.zero_grad()
    torch.cuda.set_sync_debug_mode('error')
    try:
        step(model, data)
        model.memory.write(1)
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_lists_with_empty_slots_give_the_loss_of_the_cpu(config):
    model, data = on_gpu(config)
    slow = copy.deepcopy(model).cpu()
    here = batch(LABELS)
    for one, given in ((model, data), (slow, here)):
        one.loss_nce.beta = None  # numbers drawn for other list lengths
        one.memory.generator.manual_seed(0)
        losses = step(one, given)
        one.memory.write(1)
        assert losses['loss_nce'] > 0
    # A loss of float32 after a dozen layers in another order of sums.
    for name, value in model.named_parameters():
        expected = slow.get_parameter(name).grad
        assert_close(value.grad.cpu(), expected, rtol=1e-2, atol=1e-4)
    assert_close(model.memory.rows.cpu(), slow.memory.rows, atol=1e-3, rtol=0)


def test_a_list_has_the_length_of_its_capacity():
    valid = torch.tensor([[True, False, True], [False, True, False]])
    fixed, exact = RegionList(valid.cuda(), 5), RegionList(valid, 5)
    values = torch.arange(6.0).view(2, 3)
    assert fixed.valid.tolist() == [True] * 3 + [False] * 2
    ours = fixed.collect(values.cuda())[:3].tolist()
    assert ours == exact.collect(values).tolist() == [0, 2, 4]


@pytest.mark.parametrize('amp', [torch.float16, torch.bfloat16])
def test_mixed_precision_changes_the_losses_little(config, amp):
    model, data = on_gpu(config)
    exact = step(model, data)
    model.memory.take_staged()
    model.memory.generator.manual_seed(0)
    for name, value in step(model, data, amp).items():
        assert_close(value.float(), exact[name].float(), rtol=0.05, atol=0)
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_mixed_precision_changes_cams_little(config):
    model, _ = on_gpu(config)
    given = [random_image()], [[0, 1]], [1.0], True
    exact, low = (infer_cams(model, *given, amp=amp) for amp in (False, True))
    for maps, others in zip(exact[0].maps, low[0].maps, strict=True):
        error = (maps.float() - others.float()).abs().max()
        assert error <= 0.02 * maps.float().max()


def test_prototypes_are_those_of_the_cpu_but_for_rounding(tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path, LABELS))
    cfg.model.prototype_cam = dict(type='mmrca.PrototypeCAM', num_prototypes=1)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    model = build(cfg.model, bound=False)
    fast = copy.deepcopy(model).cuda()
    for one in (model, fast):
        fill(one, dataset, rounds=1)
    ours, theirs = (m.prototype_cam.prototypes.cpu() for m in (fast, model))
    cosine = torch.nn.functional.cosine_similarity(ours, theirs, dim=-1)
    assert cosine[model.prototype_cam.valid].min() > 0.99


def test_one_process_over_nccl_is_the_plain_model(config, tmp_path):
    model, data = on_gpu(config)
    wrapped = copy.deepcopy(model)
    losses = step(model, data)
    torch.distributed.init_process_group(
        'nccl', f'file://{tmp_path}/meeting', rank=0, world_size=1
    )
    try:
        wrapped.memory.generator.manual_seed(0)
        others = step(DistributedDataParallel(wrapped), data)
    finally:
        torch.distributed.destroy_process_group()
    for name, value in losses.items():
        assert_close(others[name], value)
