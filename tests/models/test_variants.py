"""What the released code does otherwise than the paper."""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmrca.models import CAMHead, SemanticAggregation
from mmrca.ops.region import region_embeddings, region_masks
from tests import tiny
from tests.models.test_rca import batch, build
from tests.ops import references as ref


def released(tmp_path, *keys):
    """A tiny model with some of the variants; ``keys`` begin their names."""
    changes = {
        key: value
        for key, value in tiny.AS_RELEASED.items()
        if key.startswith(keys)
    }
    root = tiny.write_images(tmp_path, [[0]])
    return build(tiny.config(root, **changes).model)


def test_all_together_stay_finite(tmp_path):
    model = released(tmp_path, 'model.')
    for labels in ([[0, 1], [2]], [[0], [0]], [[], [1]], [[], []]):
        losses = model.loss(**batch(labels))
        model.memory.take_staged()
        sum(losses.values()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_a_grouped_head_is_one_stack_for_each_class():
    head = CAMHead(5, 3, num_convs=3, channels=4, per_class=True).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    features = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    maps = head(features)
    for c in range(3):
        own, x = slice(4 * c, 4 * c + 4), features
        for conv in head.convs[::2]:
            x = F.conv2d(x, conv.weight[own], conv.bias[own], padding=1)
            x = x.relu()
        x = F.conv2d(x, head.conv.weight[c : c + 1])
        assert_close(maps[:, c : c + 1], x)


def test_learned_aggregation_projects_each_part():
    part = SemanticAggregation(4, 0.5, False, softmax=False, learned=True)
    part = part.double()
    features = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    prototypes = torch.randn(3, 2, 4, dtype=torch.float64)
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    names = ('query', 'key', 'value', 'sum')
    query, key, value, total = (
        part.projections[n].weight.detach() for n in names
    )
    known = ref.aggregate(
        torch.einsum('ed,ndhw->nehw', query, features),
        prototypes @ key.T,
        valid,
        0.5,
        False,
        False,
        prototypes @ value.T,
    )
    known = torch.einsum('ed,ndhw->nehw', total, known)
    # The module computes in float32.
    part, low = part.float(), features.float()
    both = part(low, prototypes.float(), valid)
    assert torch.equal(both[:, :4], low)
    assert_close(both[:, 4:], known.float())
    assert not part(low, prototypes.float(), valid & False)[:, 4:].any()


def test_a_projection_is_for_the_query_only(tmp_path):
    plain = released(tmp_path / 'plain', 'nothing')
    model = released(tmp_path / 'projected', 'model.projection')
    model.load_state_dict(plain.state_dict(), strict=False)
    data = batch([[0, 1], [2]])
    for one in (plain, model):
        one.memory.generator.manual_seed(0)
    without, losses = (one.loss(**data)['loss_nce'] for one in (plain, model))
    assert without != losses
    ours, theirs = (one.memory.take_staged() for one in (model, plain))
    assert torch.equal(ours.regions, theirs.regions)
    losses.backward()
    assert model.projection[0].weight.grad.any()


def test_regions_of_the_softmax_over_classes(tmp_path):
    model = released(tmp_path, 'model.softmax_regions')
    data = batch([[0, 1], [2]])
    model.loss(**data)
    staged = model.memory.take_staged()
    features = model.extract_feat(data['inputs'])[-1]
    share = model.cam_head(features).exp()
    share = share / share.sum(dim=1, keepdim=True)
    present = torch.stack([s.gt_label for s in data['data_samples']]) > 0
    inside = torch.ones(2, *share.shape[2:], dtype=torch.bool)
    masks = region_masks(share, present, inside)
    expected, _ = region_embeddings(features, masks)
    assert_close(staged.regions[:2], expected)
