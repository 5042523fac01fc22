import pytest
from mmengine.config import Config

from mmrca.pseudo_labels.settings import read_settings

GIVEN = dict(
    scales=(1.0,),
    flip=False,
    background=dict(type='constant', threshold=0.4),
    margin=0.1,
)


def config(**given):
    return Config(dict(model={}, train_dataloader={}, **given))


def test_refinements_are_built_in_their_order():
    crf, adaptive = dict(type='dense_crf'), dict(type='pixel_adaptive')
    for given, count in ((None, 0), (crf, 1), ([adaptive, crf], 2)):
        pseudo_label = GIVEN | dict(refinement=given)
        settings = read_settings(config(pseudo_label=pseudo_label))
        assert len(settings.build_refinements()) == count


@pytest.mark.parametrize('name', GIVEN)
def test_an_option_that_has_to_be_there_is_named(name):
    given = {key: value for key, value in GIVEN.items() if key != name}
    with pytest.raises(ValueError, match=f"needs the option '{name}'"):
        read_settings(config(pseudo_label=given))


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        ({}, 'no pseudo_label'),
        (dict(pseudo_label='auto'), "must be a dict, not 'auto'"),
        (
            dict(pseudo_label=GIVEN | dict(background=dict(type=7))),
            r'background\.type .* not 7',
        ),
        (
            dict(pseudo_label=GIVEN | dict(background=dict(type='no.Cue'))),
            r"background\.type .* not 'no\.Cue'",
        ),
    ],
)
def test_settings_that_cannot_be_read_are_named(given, says):
    with pytest.raises(ValueError, match=says):
        read_settings(config(**given))


def test_a_misspelt_option_of_a_part_is_named_with_the_one_meant():
    misspelt = dict(type='pixel_adaptive', iteration=3)
    with pytest.raises(ValueError, match=r"'iteration'.*'iterations'"):
        read_settings(config(pseudo_label=GIVEN | dict(refinement=misspelt)))
    # As on the command line, where the config's own options stay.
    mixed = dict(type='dense_crf', dilations=(1, 2))
    with pytest.raises(ValueError, match=r"'dilations'.*_delete_=True"):
        read_settings(config(pseudo_label=GIVEN | dict(refinement=mixed)))
