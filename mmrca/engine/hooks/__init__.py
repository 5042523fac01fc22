"""Hooks, registered in :data:`mmrca.registry.HOOKS`."""

from .affinity_map_hook import AffinityMapHook
from .memory_bank_hook import MemoryBankHook

__all__ = ['AffinityMapHook', 'MemoryBankHook']
