"""Depth from focus and defocus without a network: the baseline, which needs no weights."""

from fossa_ros.estimators.classical.estimator import ClassicalConfig, ClassicalEstimator

__all__ = ["ClassicalConfig", "ClassicalEstimator"]
