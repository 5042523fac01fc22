"""Metrics, registered in :data:`mmrca.registry.METRICS`."""

from .cam_metric import CAMMetric

__all__ = ['CAMMetric']
