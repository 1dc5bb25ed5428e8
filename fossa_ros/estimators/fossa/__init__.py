"""FOSSA: zero-shot metric depth from a focus stack (arXiv 2603.26658)."""

from fossa_ros.estimators.fossa.factory import MODELS, create_model
from fossa_ros.estimators.fossa.predictor import Predictor, create_predictor

__all__ = ["MODELS", "Predictor", "create_model", "create_predictor"]
