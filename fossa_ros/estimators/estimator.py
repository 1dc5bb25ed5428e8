"""What turns a focus stack into a depth map, and the one place where it is chosen by name.

A package adds an estimator by declaring, in the entry-point group ``fossa_ros.estimators``, a name and a class that is
constructed without arguments and satisfies Estimator.
"""

from __future__ import annotations

import ctypes
import logging
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Protocol

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusStack


class Estimator(Protocol):
    """Depth from defocus.

    One that has a choice of devices may have a string ``description``: what runs where. One that computes on a GPU may
    have a method ``gpu_memory`` that returns the bytes in use and those there are. One whose first estimate is slower
    than the others may have a method ``warm_up(size, planes)``, called once the (H, W) of the images to come is known.
    """

    name: str

    def estimate(self, stack: FocusStack) -> DepthMap:
        """Return the metric depth of an aligned stack, seen from its reference plane.

        Raises:
            FossaError: the stack cannot be used; the sentence becomes the reason in its SweepReport.
        """
        ...


GROUP = "fossa_ros.estimators"
BUILT_IN = ("auto", "classical", "fossa")
ESTIMATORS = (*BUILT_IN, *sorted({point.name for point in entry_points(group=GROUP)} - set(BUILT_IN)))
DEFAULT_ESTIMATOR = "auto"

LOG = logging.getLogger(__name__)


def create_estimator(name: str, **options) -> Estimator:
    """Make an estimator by name; only ``fossa`` needs torch, and imports it when asked for.

    Args:
        name: one of ``ESTIMATORS``; ``auto`` is ``fossa`` where there is a GPU for it, else ``classical``, which is
            several times as fast on a CPU.
        options: of ``fossa_ros.estimators.fossa.create_predictor`` (model, checkpoint, device, precision, compile), for
            ``fossa`` and for ``auto`` where it selects ``fossa``; the others have none. None is the default.

    Raises:
        InputError: an unknown name, or options the estimator cannot be made from.
    """
    options = {option: value for option, value in options.items() if value is not None}
    if name == "auto":
        name = "fossa" if options.get("device") != "cpu" and gpu_at_hand() else "classical"
        options = options if name == "fossa" else {}
        LOG.info("estimator auto: %s", name)
    if name == "classical":
        from fossa_ros.estimators.classical import ClassicalEstimator

        return ClassicalEstimator(**options)
    if name == "fossa":
        try:
            from fossa_ros.estimators.fossa import create_predictor
        except ModuleNotFoundError as error:
            raise InputError(f"estimator fossa needs the Python package {error.name}; install it.") from error
        return create_predictor(**options)
    for point in entry_points(group=GROUP, name=name):
        try:
            return point.load()(**options)
        except (ImportError, AttributeError, TypeError) as error:
            raise InputError(
                f"Estimator '{name}' ({point.value}) cannot be made ({error}); repair or remove the package that "
                "provides it."
            ) from error
    raise InputError(f"There is no estimator '{name}'; choose one of {', '.join(ESTIMATORS)}.")


def gpu_at_hand() -> bool:
    """Tell whether PyTorch has an NVIDIA GPU here; without the driver it need not even be imported to know."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
