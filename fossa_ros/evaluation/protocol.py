"""How a benchmark's images are taken: f-number, number of planes, and where these are focused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusStack

FOCUS = ("uniform", "fixed", "near", "far")
QUANTILES = (0.05, 0.95)  # of an image's disparity: the range of its focus distances
FIXED_DISTANCES = (0.8, 1.2, 1.7, 2.3, 3.0, 3.8, 4.7, 6.0, 8.0)  # m; those Infinigen Defocus is rendered at


@dataclass(frozen=True)
class Setting:
    """One way to take the stacks of a set.

    Attributes:
        f_number: None where the set has but one, or does not say which.
        planes: number of planes; None for all there are.
        focus: how their focus distances are chosen, one of ``FOCUS``:

            - ``fixed``: the same for every image: every so many-th of the set's, from near to far
              (``FIXED_DISTANCES`` where it has none).
            - ``uniform``: even in disparity between the 5 and the 95 % quantile of the image's true disparity.
            - ``near``, ``far``: likewise over the nearer, the farther half of that range.

    Raises:
        InputError: an f-number that is not positive, fewer than two planes, another word for the focus.
    """

    f_number: float | None = None
    planes: int | None = None
    focus: str = "fixed"

    def __post_init__(self):
        if self.f_number is not None and not 0 < self.f_number < np.inf:
            raise InputError(f"An f-number must be positive, not {self.f_number:g}; correct it.")
        if self.planes is not None and self.planes < 2:
            raise InputError(f"A focus stack needs at least 2 planes, not {self.planes}; ask for more.")
        if self.focus not in FOCUS:
            raise InputError(f"There is no focus '{self.focus}'; choose one of {', '.join(FOCUS)}.")

    def as_dict(self) -> dict[str, float | int | str]:
        """Return what is not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Sample:
    """A stack to estimate and what its depth is compared with.

    Attributes:
        name: of the image within its set.
        stack: the planes.
        truth: (H, W) float32 depth in metres, NaN where nothing is compared.
        unrounded: (N, H, W, 3) float32 in 0..255, of planes that were computed: what they were rounded from.
    """

    name: str
    stack: FocusStack
    truth: np.ndarray
    unrounded: np.ndarray | None = None


def spread(available: int, count: int, *, cut: bool = False) -> list[int]:
    """Choose ``count`` of so many planes evenly, the first and the last among them.

    Where they do not divide evenly the nearest is taken, or, with ``cut``, the one before.

    Raises:
        InputError: more than there are.
    """
    if count > available:
        raise InputError(f"There are {available} planes to choose from, not {count}; ask for fewer.")
    if cut:
        return [index * (available - 1) // (count - 1) for index in range(count)]
    return np.rint(np.linspace(0, available - 1, count)).astype(int).tolist()


def choose_distances(setting: Setting, depth: np.ndarray) -> np.ndarray:
    """Return the focus distances (m) at which an image of (H, W) ``depth`` (m, known everywhere) is rendered."""
    count = setting.planes or 5
    if setting.focus == "fixed":
        return np.array(FIXED_DISTANCES)[spread(len(FIXED_DISTANCES), count)]
    return optics.metres(np.linspace(*_range(setting.focus, depth), count))


def choose_planes(setting: Setting, distances, depth: np.ndarray, *, cut: bool = False) -> list[int]:
    """Choose among recorded planes by their focus distances (m), in the order of ``distances``.

    ``near`` and ``far`` are the nearest and the farthest planes there are; ``uniform`` are those that lie closest, in
    dioptres, to where ``choose_distances`` would focus, each taken once.

    Args:
        setting: the planes wanted; None of them are all.
        distances: (M,) of the planes there are, m.
        depth: (H, W) true depth in metres, NaN where unknown.
        cut: of ``spread``, for ``fixed``.

    Raises:
        InputError: more planes than there are.
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

        wanted = np.linspace(*_range("uniform", depth[depth > 0]), count)
        chosen = linear_sum_assignment(np.abs(wanted[:, None] - power[None]))[1]
    return sorted(int(index) for index in chosen)


def _range(focus, depth) -> tuple[float, float]:
    """Return the lowest and the highest disparity (1/m) that are focused at."""
    if not depth.size:
        raise InputError("An image has no pixel of known depth to choose focus distances by; choose --focus fixed.")
    low, high = np.quantile(1.0 / depth.astype(np.float64), QUANTILES)
    middle = (low + high) / 2
    return {"uniform": (low, high), "near": (middle, high), "far": (low, middle)}[focus]
