"""Hooks, registered in :data:`mmrca.registry.HOOKS`."""

from .cam_visualization_hook import CAMVisualizationHook
from .memory_bank_hook import MemoryBankHook
from .prototype_cam_hook import PrototypeCAMHook
from .training_check_hook import TrainingCheckHook

__all__ = [
    'CAMVisualizationHook',
    'MemoryBankHook',
    'PrototypeCAMHook',
    'TrainingCheckHook',
]
