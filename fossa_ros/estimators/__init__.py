"""From a focus stack to a depth map: the classical estimator, FOSSA, and those of other packages."""

from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.factory import ESTIMATORS, create_estimator

__all__ = ["ESTIMATORS", "Estimator", "create_estimator"]
