"""Model parts, registered in :data:`mmrca.registry.MODELS`."""

# Makes mmengine load weights safely.
from mmrca import checkpoint  # noqa: F401

from .aspp_v2_head import ASPPV2Head
from .backbones import VGG16, EfficientNetLite, ResNet38
from .boundary_head import BoundaryHead
from .cam_head import CAMHead
from .prototype_cam import PrototypeCAM
from .query_projection import QueryProjection
from .rca import RCA
from .region_memory import RegionMemory
from .region_mixup_nce_loss import RegionMixupNCELoss
from .semantic_aggregation import SemanticAggregation

__all__ = [
    'RCA',
    'VGG16',
    'ASPPV2Head',
    'BoundaryHead',
    'CAMHead',
    'EfficientNetLite',
    'PrototypeCAM',
    'QueryProjection',
    'RegionMemory',
    'RegionMixupNCELoss',
    'ResNet38',
    'SemanticAggregation',
]
