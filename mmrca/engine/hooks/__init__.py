"""Hooks, registered in :data:`mmrca.registry.HOOKS`."""

from .memory_bank_hook import MemoryBankHook
from .prototype_cam_hook import PrototypeCAMHook

__all__ = ['MemoryBankHook', 'PrototypeCAMHook']
