import pytest
import torch
from torch.testing import assert_close

from mmrca.models import PrototypeCAM
from mmrca.ops.prototype_cam import concat_stages, prototype_cam
from tests.ops import references as ref


def filled(**options) -> PrototypeCAM:
    torch.manual_seed(0)
    part = PrototypeCAM(3, num_prototypes=4, num_background=2, **options)
    part.widen(5)
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
        prototype_cam(
            concat_stages(stages), part.prototypes, part.valid, *rest
        ),
    )


def test_the_images_own_map_is_added_and_similar_cells_averaged():
    stages = [torch.randn(2, 2, 6, 8), torch.randn(2, 3, 3, 4)]
    present = torch.tensor([[True, True, False], [False, True, False]])
    valid = torch.ones(2, 3, 4, dtype=torch.bool)
    valid[1, :, 3] = False
    features, logits = concat_stages(stages), filled()(stages)
    expected = logits + ref.image_prototype_cam(
        features, logits, present, valid, 0.3, 0.2, 0.1
    )
    own = filled(image_region=0.3, image_background=0.2)(
        stages, present, valid
    )
    assert not torch.allclose(own, logits)
    assert_close(own, expected)
    similar = filled(
        image_region=0.3, image_background=0.2, self_similarity=0.4
    )
    expected = ref.self_similarity_mean(features, expected, valid, 0.4)
    assert_close(similar(stages, present, valid), expected)


def test_absent_classes_need_not_be_computed():
    part = filled(image_region=0.3, image_background=0.2, self_similarity=0.4)
    stages = [torch.randn(2, 2, 6, 8), torch.randn(2, 3, 3, 4)]
    present = torch.tensor([[True, False, False], [False, False, True]])
    valid = torch.ones(2, 3, 4, dtype=torch.bool)
    classes = torch.tensor([0, 2])
    assert_close(
        part(stages, present, valid, classes),
        part(stages, present, valid)[:, classes],
    )


def test_without_labels_all_classes_take_part():
    part, stages = filled(image_region=0.4), [torch.randn(2, 5, 4, 4)]
    every = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(part(stages), part(stages, every))


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('image_region', 40),
        ('image_region', True),
        ('image_background', -0.1),
        ('self_similarity', 1.2),
        ('self_similarity', 'abc'),
        ('self_similarity', float('nan')),
    ],
)
def test_shares_out_of_their_range_are_an_error(name, value):
    with pytest.raises(
        ValueError, match=rf'PrototypeCAM\.{name} is {value!r}'
    ):
        filled(**{name: value})


def test_autocast_changes_nothing():
    part, stages = filled(), [torch.randn(1, 5, 6, 4)]
    exact = part(stages)
    with torch.autocast('cpu', torch.bfloat16):
        low = part(stages)
        of_half = part([stages[0].bfloat16()])
    assert torch.equal(low, exact)
    assert of_half.dtype == torch.float32


def test_a_part_without_parameters_survives_the_checkpoint():
    part, other = filled(), PrototypeCAM(3, 4, 2)
    assert not list(part.parameters())
    part.filled.fill_(True)
    other.load_state_dict(part.state_dict())
    for name, value in part.named_buffers():
        assert torch.equal(other.get_buffer(name), value), name


def test_other_channels_are_an_error():
    part = filled()
    part.filled.fill_(True)
    with pytest.raises(ValueError, match=r'5 channels.* 4;'):
        part([torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)])
