"""Settings of the stacks of a benchmark: f-number, number of planes, and their focus distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack

FOCUS = ("uniform", "fixed", "near", "far")
QUANTILES = (0.05, 0.95)  # of the disparity of an image: the range of its focus distances
FIXED_DISTANCES = (0.8, 1.2, 1.7, 2.3, 3.0, 3.8, 4.7, 6.0, 8.0)  # m, of Infinigen Defocus


@dataclass(frozen=True)
class Setting:
    """One setting of the stacks of a set.

    Attributes:
        f_number: None if the set has a single one, or does not state it.
        planes: number of planes; None for all.
        focus: how focus distances are chosen, one of ``FOCUS``:

            - ``fixed``: the same for every image, chosen evenly from those of the set (``FIXED_DISTANCES`` if it has
              none), from near to far.
            - ``uniform``: evenly spaced in disparity between the 5 and 95 % quantiles of the true disparity.
            - ``near``, ``far``: likewise, over the nearer or the farther half of that range.

    Raises:
        InputError: the f-number is not positive, there are fewer than two planes, or the focus is unknown.
    """

    f_number: float | None = None
    planes: int | None = None
    focus: str = "fixed"

    def __post_init__(self) -> None:
        if self.f_number is not None and not 0 < self.f_number < np.inf:
            raise InputError(f"An f-number must be positive, not {self.f_number:g}; correct it.")
        if self.planes is not None and self.planes < 2:
            raise InputError(f"A focus stack needs at least 2 planes, not {self.planes}; give more.")
        if self.focus not in FOCUS:
            raise InputError(f"There is no focus '{self.focus}'; choose one of {', '.join(FOCUS)}.")

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the values that are not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Sample:
    """A stack with its true depth.

    Attributes:
        name: of the image in its set.
        stack: the planes.
        truth: (H, W) float32 depth in metres, NaN at pixels that are not compared.
        unrounded: (N, H, W, 3) float32 in 0..255, rendered planes before rounding; None for recorded planes.
    """

    name: str
    stack: FocusStack
    truth: np.ndarray
    unrounded: np.ndarray | None = None


def spread(available: int, count: int, *, cut: bool = False) -> list[int]:
    """Choose ``count`` of ``available`` planes evenly, including the first and the last.

    Fractional positions are rounded to the nearest plane or, with ``cut``, down.

    Raises:
        InputError: there are fewer planes than ``count``.
    """
    if count > available:
        raise InputError(f"There are {available} planes to choose from, not {count}; give fewer.")
    if cut:
        return [index * (available - 1) // (count - 1) for index in range(count)]
    return np.rint(np.linspace(0, available - 1, count)).astype(int).tolist()


def choose_distances(setting: Setting, depth: np.ndarray) -> np.ndarray:
    """Return the focus distances (m) at which to render an image with (H, W) ``depth`` (m, known everywhere)."""
    count = setting.planes or 5
    if setting.focus == "fixed":
        return np.array(FIXED_DISTANCES)[spread(len(FIXED_DISTANCES), count)]
    return optics.metres(np.linspace(*_range(setting.focus, depth), count))


def choose_planes(setting: Setting, distances: npt.ArrayLike, depth: np.ndarray, *, cut: bool = False) -> list[int]:
    """Return the indices of the recorded planes that a setting selects, in the order of ``distances``.

    ``near`` and ``far`` select the nearest and farthest planes; ``uniform`` selects those closest, in dioptres, to the
    distances of ``choose_distances``, each once.

    Args:
        setting: with the number of planes; None for all.
        distances: (M,) focus distances of the recorded planes, m.
        depth: (H, W) true depth in metres, NaN where unknown.
        cut: of ``spread``, for ``fixed``.

    Raises:
        InputError: there are fewer planes than the setting needs.
    """
    power = optics.dioptres(distances)
    count = setting.planes or len(power)
    order = np.argsort(-power, kind="stable")  # near first
    chosen = order[spread(len(power), count, cut=cut)]
    if setting.focus == "near":
        chosen = order[:count]
    elif setting.focus == "far":
        chosen = order[-count:]
    elif setting.focus == "uniform":
        from scipy.optimize import linear_sum_assignment  # slow to import

        target = np.linspace(*_range("uniform", depth[depth > 0]), count)
        chosen = linear_sum_assignment(np.abs(target[:, None] - power[None]))[1]
    return sorted(int(index) for index in chosen)


def _range(focus: str, depth: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest disparity (1/m) of the focus distances."""
    if not depth.size:
        raise InputError("An image has no pixel of known depth to choose focus distances by; give --focus fixed.")
    low, high = np.quantile(1.0 / depth.astype(np.float64), QUANTILES)
    middle = (low + high) / 2
    return {"uniform": (low, high), "near": (middle, high), "far": (low, middle)}[focus]
