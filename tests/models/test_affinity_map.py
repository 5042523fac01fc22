import pytest
import torch
from torch.testing import assert_close

from mmrca.models import AffinityMap
from mmrca.ops.affinity_map import affinity_map, concat_stages


def filled() -> AffinityMap:
    torch.manual_seed(0)
    part = AffinityMap(3, 5, num_prototypes=4, num_background=2)
    part.prototypes.normal_()
    part.valid[:2] = True
    part.background.normal_()
    part.background_valid.fill_(True)
    return part


def test_maps_are_those_of_its_buffers():
    part = filled()
    stages = [torch.randn(2, 2, 6, 4), torch.randn(2, 3, 3, 2)]
    rest = part.background, part.background_valid, 0.1
    assert_close(
        part(stages),
        affinity_map(
            concat_stages(stages), part.prototypes, part.valid, *rest
        ),
    )


def test_autocast_changes_nothing():
    part, stages = filled(), [torch.randn(1, 5, 6, 4)]
    exact = part(stages)
    with torch.autocast('cpu', torch.bfloat16):
        low = part(stages)
        of_half = part([stages[0].bfloat16()])
    assert torch.equal(low, exact)
    assert of_half.dtype == torch.float32


def test_a_part_without_parameters_survives_the_checkpoint():
    part, other = filled(), AffinityMap(3, 5, 4, 2)
    assert not list(part.parameters())
    part.filled.fill_(True)
    other.load_state_dict(part.state_dict())
    for name, value in part.named_buffers():
        assert torch.equal(other.get_buffer(name), value), name


def test_other_channels_are_an_error():
    with pytest.raises(ValueError, match=r'channels is 5.*\[2, 2\].* 4 '):
        filled()([torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)])
