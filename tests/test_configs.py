"""Every config builds, and what inherits from it says what it changes."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEG_MODELS

from mmrca.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
# Those of the project: users put their own beside them.
DATA = ('toy', 'voc20-mini')
RCA, SEG = (
    sorted(
        p for p in (CONFIGS / d).glob('*.py') if any(n in p.stem for n in DATA)
    )
    for d in ('rca', 'rca_seg')
)


@pytest.mark.parametrize('path', RCA, ids=lambda p: p.stem)
def test_a_classifier_fits_its_data(path):
    init_default_scope('mmseg')
    config = Config.fromfile(path)
    model = MODELS.build(config.model)
    classes = config.train_dataloader.dataset.metainfo.classes
    assert model.num_classes == len(classes) - 1
    hooks = [hook.type for hook in config.get('custom_hooks', [])]
    assert ('mmrca.MemoryBankHook' in hooks) == (model.memory is not None)
    assert {'scales', 'flip', 'background', 'margin'} <= set(
        config.pseudo_label
    )


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_a_segmenter_is_stock(path):
    init_default_scope('mmseg')
    config = Config.fromfile(path)
    assert 'mmrca' not in config.pretty_text
    model = SEG_MODELS.build(config.model)
    assert model.num_classes == len(
        config.train_dataloader.dataset.metainfo.classes
    )


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_a_segmenter_has_the_classes_of_its_classifier(path):
    data = path.stem.split('_', 2)[-1]
    config = Config.fromfile(path).train_dataloader.dataset.metainfo
    classifiers = [p for p in RCA if p.stem.endswith(data)]
    assert classifiers
    for classifier in classifiers:
        theirs = Config.fromfile(classifier).train_dataloader.dataset.metainfo
        assert theirs == config, classifier.stem
