"""FOSSA: zero-shot metric depth from a focus stack (arXiv 2603.26658)."""

from fossa_ros.fossa.factory import MODELS, create_model

__all__ = ["MODELS", "create_model"]
