"""Backbones that no OpenMMLab package has."""

from .efficientnet_lite import EfficientNetLite
from .resnet38 import ResNet38
from .vgg16 import VGG16

__all__ = ['VGG16', 'EfficientNetLite', 'ResNet38']
