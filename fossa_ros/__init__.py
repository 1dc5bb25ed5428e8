"""Metric depth from one camera and one focus lens.

The names below are what a script or a notebook needs to get from photographs to depth. Each is imported when it is
first used, so that ``import fossa_ros`` itself takes no time and needs neither NumPy nor PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fossa_ros.core.errors import FossaError
    from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
    from fossa_ros.estimators.estimator import Estimator
    from fossa_ros.estimators.factory import create_estimator
    from fossa_ros.io.pictures import depth_picture, write_picture
    from fossa_ros.io.stack_files import load_stack
    from fossa_ros.pipeline.predict import predict

__version__ = "0.1.0"

__all__ = [
    "DepthMap",
    "Estimator",
    "FocusPlane",
    "FocusStack",
    "FossaError",
    "create_estimator",
    "depth_picture",
    "load_stack",
    "predict",
    "write_picture",
]

_MODULES = {
    "DepthMap": "core.stack",
    "Estimator": "estimators.estimator",
    "FocusPlane": "core.stack",
    "FocusStack": "core.stack",
    "FossaError": "core.errors",
    "create_estimator": "estimators.factory",
    "depth_picture": "io.pictures",
    "load_stack": "io.stack_files",
    "predict": "pipeline.predict",
    "write_picture": "io.pictures",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
