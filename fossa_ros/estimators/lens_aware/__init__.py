"""Depth from the evidence of a stack whose lens is known: a small network that pools it along surfaces."""

from fossa_ros.estimators.lens_aware.estimator import LensAwareEstimator, create_lens_aware

__all__ = ["LensAwareEstimator", "create_lens_aware"]
