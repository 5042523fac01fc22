"""Model parts, registered in :data:`mmrca.registry.MODELS`."""

from .cam_head import CAMHead
from .query_projection import QueryProjection
from .rca import RCA
from .region_memory import RegionMemory
from .region_mixup_nce_loss import RegionMixupNCELoss
from .semantic_aggregation import SemanticAggregation

__all__ = [
    'RCA',
    'CAMHead',
    'QueryProjection',
    'RegionMemory',
    'RegionMixupNCELoss',
    'SemanticAggregation',
]
