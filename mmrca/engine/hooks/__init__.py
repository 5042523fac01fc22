"""Hooks, registered in :data:`mmrca.registry.HOOKS`."""

from .memory_bank_hook import MemoryBankHook
from .prototype_cam_hook import PrototypeCAMHook
from .training_check_hook import TrainingCheckHook

__all__ = ['MemoryBankHook', 'PrototypeCAMHook', 'TrainingCheckHook']
