"""Estimators by name: the built-in ones, and those of other packages.

A package adds an estimator by declaring, in the entry-point group ``fossa_ros.estimators``, a name and a subclass of
``fossa_ros.estimators.estimator.Estimator`` whose constructor takes no arguments.
"""

from __future__ import annotations

import ctypes
import logging
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.estimator import Estimator

GROUP = "fossa_ros.estimators"
BUILT_IN = ("auto", "classical", "lens_aware", "fossa")
ESTIMATORS = (*BUILT_IN, *sorted({point.name for point in entry_points(group=GROUP)} - set(BUILT_IN)))
DEFAULT_ESTIMATOR = "auto"
NETWORK_OPTIONS = ("model", "checkpoint", "device", "precision", "compile")
OPTIONS = {"auto": NETWORK_OPTIONS, "fossa": NETWORK_OPTIONS, "lens_aware": ("checkpoint", "device")}

LOG = logging.getLogger(__name__)


def estimator_options(name: str) -> tuple[str, ...]:
    """Return the names of the options that ``create_estimator(name)`` accepts: those of a network, or none."""
    return OPTIONS.get(name, ())


def create_estimator(name: str = DEFAULT_ESTIMATOR, **options: Any) -> Estimator:
    """Make an estimator by name. Only ``fossa`` and ``lens_aware`` import torch.

    Args:
        name: one of ``ESTIMATORS``. ``auto`` is ``classical`` on a CPU, where it is several times as fast as the
            networks. On a GPU it is ``fossa`` if the options name a checkpoint, else ``lens_aware``.
        options: ``NETWORK_OPTIONS`` as ``fossa_ros.estimators.fossa.create_predictor`` explains them, for ``fossa``
            and for ``auto``, which drops those that its choice does not have; ``checkpoint`` and ``device`` for
            ``lens_aware``. None means the default.

    Raises:
        InputError: an unknown name, options that the estimator does not accept, or another package's class that is not
            an Estimator.
    """
    options = {option: value for option, value in options.items() if value is not None}
    if unknown := [option for option in options if option not in estimator_options(name)]:
        raise InputError(f"Estimator '{name}' has no option {unknown[0]}; remove it, or choose estimator fossa.")
    if name == "auto":
        name = _automatic(options)
        options = {option: value for option, value in options.items() if option in estimator_options(name)}
        LOG.info("estimator auto: %s", name)
    if name == "classical":
        from fossa_ros.estimators.classical import ClassicalEstimator

        return ClassicalEstimator()
    if name == "lens_aware":
        from fossa_ros.estimators.lens_aware import create_lens_aware

        return create_lens_aware(**options)
    if name == "fossa":
        from fossa_ros.estimators.fossa.predictor import create_predictor

        return create_predictor(**options)
    return _from_entry_point(name)


def _automatic(options: dict[str, Any]) -> str:
    if options.get("device") == "cpu" or not gpu_available():
        return "classical"
    return "fossa" if options.get("checkpoint") else "lens_aware"


def _from_entry_point(name: str) -> Estimator:
    for point in entry_points(group=GROUP, name=name):
        try:
            estimator = point.load()()
            if not isinstance(estimator, Estimator):
                raise TypeError("it is not a subclass of fossa_ros.estimators.Estimator")
            _ = estimator.name
        except (ImportError, AttributeError, TypeError) as error:
            raise InputError(
                f"Estimator '{name}' ({point.value}) cannot be made ({error}); repair or remove the package that "
                "provides it."
            ) from error
        return estimator
    raise InputError(f"There is no estimator '{name}'; choose one of {', '.join(ESTIMATORS)}.")


def gpu_available() -> bool:
    """Tell whether PyTorch can use an NVIDIA GPU; torch is imported only where the driver is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
