"""What turns a focus stack into a depth map, and the one place where it is chosen by name."""

from __future__ import annotations

from typing import Protocol

from fossa_ros.errors import InputError
from fossa_ros.stack import DepthMap, FocusStack


class Estimator(Protocol):
    """Depth from defocus: ``classical`` or ``fossa``."""

    name: str

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return the metric depth of an aligned stack, seen from its reference plane."""
        ...


ESTIMATORS = ("classical", "fossa")


def create_estimator(name: str, **options) -> Estimator:
    """Make an estimator by name; only ``fossa`` needs torch, and imports it when asked for.

    Args:
        name: one of ``ESTIMATORS``.
        options: of ``fossa_ros.fossa.create_predictor`` (model, checkpoint, device, precision, compile);
            ``classical`` has none. None is the default.

    Raises:
        InputError: an unknown name, or options the estimator cannot be made from.
    """
    options = {option: value for option, value in options.items() if value is not None}
    if name == "classical":
        from fossa_ros.classical import ClassicalEstimator

        return ClassicalEstimator(**options)
    if name == "fossa":
        try:
            from fossa_ros.fossa import create_predictor
        except ModuleNotFoundError as error:
            raise InputError(f"estimator fossa needs the Python package {error.name}; install it.") from error
        return create_predictor(**options)
    raise InputError(f"There is no estimator '{name}'; choose one of {', '.join(ESTIMATORS)}.")
