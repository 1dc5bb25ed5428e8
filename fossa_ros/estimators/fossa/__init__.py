"""FOSSA: zero-shot metric depth from a focus stack (arXiv 2603.26658)."""

from fossa_ros.estimators.fossa.factory import MODELS, create_model
from fossa_ros.estimators.fossa.nano import NanoConfig
from fossa_ros.estimators.fossa.predictor import Predictor, create_predictor
from fossa_ros.estimators.fossa.vit import ViTConfig

__all__ = ["MODELS", "NanoConfig", "Predictor", "ViTConfig", "create_model", "create_predictor"]
