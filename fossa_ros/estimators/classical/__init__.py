"""Depth from focus and defocus without a network: the baseline, which needs no weights."""

from fossa_ros.estimators.classical.config import ClassicalConfig
from fossa_ros.estimators.classical.estimator import ClassicalEstimator

__all__ = ["ClassicalConfig", "ClassicalEstimator"]
