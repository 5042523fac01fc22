"""Registries of mmrca: children of mmengine's root registries.

A child of mmengine's registry (and not of mmseg's) is what lets
``type='mmrca.RCA'`` build under ``default_scope='mmseg'``; ``locations`` names
the modules that are imported when a type is first looked up, so that no
config needs ``custom_imports``.
"""

from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_INITIALIZERS
from mmengine.registry import Registry as MMEngineRegistry

from mmrca.checks import checked


class Registry(MMEngineRegistry):
    """A registry whose classes check their constructors' arguments."""

    def _register_module(self, module: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(module, type):
            checked(module)
        super()._register_module(module, *args, **kwargs)


DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mmrca',
    locations=['mmrca.datasets.image_level_dataset'],
)
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='mmrca',
    locations=['mmrca.engine.hooks'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='mmrca',
    locations=['mmrca.evaluation'],
)
MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mmrca',
    locations=['mmrca.models', 'mmrca.evaluation.dense_crf_tta_model'],
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='mmrca',
    locations=['mmrca.datasets.pack_image_labels'],
)
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=MMENGINE_INITIALIZERS,
    scope='mmrca',
    locations=['mmrca.checkpoint'],
)
# Only mmrca builds these, so they are children of no registry.
CUES = Registry(
    'background cue', scope='mmrca', locations=['mmrca.pseudo_labels.cues']
)
REFINEMENTS = Registry(
    'refinement',
    scope='mmrca',
    locations=[
        'mmrca.pseudo_labels.dense_crf',
        'mmrca.pseudo_labels.pixel_adaptive',
        'mmrca.pseudo_labels.random_walk',
        'mmrca.pseudo_labels.segmenter',
        'mmrca.pseudo_labels.segments',
    ],
)
