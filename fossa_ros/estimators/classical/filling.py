"""Edge-aware regression of a scattered, uncertain map: where data are weak, neighbours determine the result."""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.estimators.classical.config import ClassicalConfig

RIDGE = 1e-3  # 1 / D^2; keeps the solution finite where there are no data at all
COARSEST = 1500  # unknowns that are solved directly
ANCHOR = 10.0  # px: a pixel with texture is fixed as strongly as by couplings over this distance
OWN_VARIANCE = 0.01  # share of a pixel's variance that its neighbours do not have; the windows overlap
ITERATIONS = 12  # of conjugate gradients on every grid
ONES = np.ones((1, 3), np.float32)


def couplings(
    guide: np.ndarray, value: np.ndarray, precision: np.ndarray, config: ClassicalConfig
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the coupling of neighbouring pixels, on every grid from the finest to the one that is solved directly.

    It is weak across edges of the image and where ``value`` jumps by more than slope and noise explain.

    Args:
        guide: (h, w, 3) uint8 sharp image.
        value, precision: (h, w) float32 dioptres and 1 / D^2, as measured.
        config: a ClassicalConfig.

    Returns:
        For each (h, w) grid the coupling of horizontal and of vertical neighbours, (h, w-1) and (h-1, w), in 1 / D^2.
    """
    value = cv2.medianBlur(value, 5)
    variance = OWN_VARIANCE / np.maximum(precision, 1e-3)
    strengths = []
    for first, second in (((slice(None), slice(None, -1)), (slice(None), slice(1, None))), (np.s_[:-1], np.s_[1:])):
        difference = cv2.absdiff(guide[second], guide[first])
        contrast = cv2.transform(cv2.multiply(difference, difference, dtype=cv2.CV_32F), ONES)
        alike = np.exp(contrast * (-0.5 / config.edge**2))
        alike *= 1.0 - config.jump
        alike += config.jump
        step = np.square(value[second] - value[first])
        joined = 1.0 / (1.0 + step / (config.step**2 + variance[first] + variance[second]))
        strengths.append((alike * np.square(joined) / config.slope**2).astype(np.float32))
    grids: list[tuple[np.ndarray, np.ndarray]] = [(strengths[0], strengths[1])]
    while not _solved_directly(*(size := _size(grids[-1]))):
        right, down = grids[-1]
        grids.append(_coarsen(right, down, *size))
    return grids


def support(texture: np.ndarray, grids: list[tuple[np.ndarray, np.ndarray]], reach: float, slope: float) -> np.ndarray:
    """Return (h, w) in 0..1: how well each pixel is coupled to pixels with texture.

    Args:
        texture: (h, w) in 0..1.
        grids: of ``couplings``, which are 1 / slope^2 on a surface.
        reach: distance from texture (px) over which the result decreases by a factor of e.
        slope: dioptres per pixel.
    """
    anchor, leak = texture * np.float32((ANCHOR * slope) ** -2), np.float32((reach * slope) ** -2)
    weight = anchor + leak
    return np.clip(diffuse(anchor / weight, weight, grids), 0.0, 1.0)


def regress(value: np.ndarray, precision: np.ndarray, grids: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return a smooth (h, w) map from ``value``, measured with ``precision``; ``grids`` are those of ``couplings``.

    ``diffuse`` flattens slopes, most of all at the border. Its residual is therefore smoothed as well and added back
    (twicing, Tukey 1977).
    """
    smooth = diffuse(value, precision, grids)
    return smooth + diffuse(value - smooth, precision, grids)


def diffuse(value: np.ndarray, precision: np.ndarray, grids: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the map u (h, w) that minimises sum precision (u - value)^2 + sum conductance (difference of u)^2.

    The conductances are those of ``grids``. The method is cascadic multigrid: the coarsest grid is solved directly,
    each finer one by a few steps of conjugate gradients.
    """
    height, width = value.shape
    weighted = precision * value
    if len(grids) == 1:
        return _solve(weighted, precision, *grids[0])
    coarse_precision, coarse_weighted = _sum2x2(precision), _sum2x2(weighted)
    coarse = diffuse(coarse_weighted / np.maximum(coarse_precision, 1e-12), coarse_precision, grids[1:])
    start = cv2.resize(coarse, (coarse.shape[1] * 2, coarse.shape[0] * 2), interpolation=cv2.INTER_LINEAR)
    return _conjugate_gradients(start[:height, :width].copy(), weighted, precision, *grids[0])


def _size(grid: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
    horizontal, vertical = grid
    return horizontal.shape[0], vertical.shape[1]


def _solved_directly(height: int, width: int) -> bool:
    return height * width <= COARSEST or min(height, width) < 4


def _pad_even(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    pad = ((0, rows - array.shape[0]), (0, columns - array.shape[1]))
    return np.pad(array, pad) if pad != ((0, 0), (0, 0)) else array


def _sum2x2(array: np.ndarray) -> np.ndarray:
    height, width = array.shape
    a = _pad_even(array, height + height % 2, width + width % 2)
    return a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]


def _coarsen(horizontal: np.ndarray, vertical: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the conductances between 2x2 blocks: links in series along an axis, in parallel across it."""

    def along(links: np.ndarray, rows: int, columns: int) -> np.ndarray:  # links (rows, columns - 1) along axis 1
        links = _pad_even(links, rows + rows % 2, columns + columns % 2 - 1)
        resistance = 1.0 / np.maximum(links, 1e-9)
        inner, crossing = resistance[:, ::2], resistance[:, 1::2]
        series = 1.0 / (crossing + 0.5 * (np.minimum(inner[:, :-1], 1e6) + np.minimum(inner[:, 1:], 1e6)))
        return (series[::2] + series[1::2]).astype(np.float32)

    return along(horizontal, height, width), np.ascontiguousarray(along(vertical.T, width, height).T)


def _apply(
    u: np.ndarray,
    precision: np.ndarray,
    horizontal: np.ndarray,
    vertical: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
) -> np.ndarray:
    """Return the operator applied to ``u``; ``across`` and ``down`` are scratch arrays of the conductances' shapes."""
    out = precision * u
    # OpenCV, since NumPy is slow on rows that are not aligned to the vector length.
    cv2.multiply(cv2.subtract(u[:, 1:], u[:, :-1], dst=across), horizontal, dst=across)
    cv2.subtract(out[:, :-1], across, dst=out[:, :-1])
    cv2.add(out[:, 1:], across, dst=out[:, 1:])
    cv2.multiply(cv2.subtract(u[1:], u[:-1], dst=down), vertical, dst=down)
    cv2.subtract(out[:-1], down, dst=out[:-1])
    cv2.add(out[1:], down, dst=out[1:])
    return out


def _diagonal(precision: np.ndarray, horizontal: np.ndarray, vertical: np.ndarray) -> np.ndarray:
    diagonal = precision.copy()
    diagonal[:, :-1] += horizontal
    diagonal[:, 1:] += horizontal
    diagonal[:-1] += vertical
    diagonal[1:] += vertical
    return diagonal


def _conjugate_gradients(
    u: np.ndarray, weighted: np.ndarray, precision: np.ndarray, horizontal: np.ndarray, vertical: np.ndarray
) -> np.ndarray:
    scratch = np.empty_like(horizontal), np.empty_like(vertical)
    inverse = 1.0 / np.maximum(_diagonal(precision, horizontal, vertical), 1e-12)
    residual = weighted - _apply(u, precision, horizontal, vertical, *scratch)
    z = inverse * residual
    direction = z.copy()
    rho = np.vdot(residual, z)
    for _ in range(ITERATIONS):
        if rho <= 1e-20:
            break
        applied = _apply(direction, precision, horizontal, vertical, *scratch)
        step = float(rho / max(np.vdot(direction, applied), 1e-30))
        cv2.scaleAdd(direction, step, u, dst=u)
        cv2.scaleAdd(applied, -step, residual, dst=residual)
        np.multiply(inverse, residual, out=z)
        rho, previous = np.vdot(residual, z), rho
        cv2.scaleAdd(direction, float(rho / previous), z, dst=direction)
    return u


def _solve(weighted: np.ndarray, precision: np.ndarray, horizontal: np.ndarray, vertical: np.ndarray) -> np.ndarray:
    """Return the exact solution; the matrix is banded, with the shorter side of the grid as bandwidth."""
    if weighted.shape[1] > weighted.shape[0]:
        return np.ascontiguousarray(_solve(weighted.T, precision.T, vertical.T, horizontal.T).T)
    from scipy.linalg import solveh_banded  # here, as every node imports this package when it starts

    height, width = weighted.shape
    bands = np.zeros((width + 1, height, width))
    # In double precision, in which the ridge is not lost beside the couplings.
    bands[0] = _diagonal(precision.astype(np.float64), horizontal, vertical) + RIDGE
    bands[width, :-1] = -vertical
    bands[1, :, :-1] -= horizontal  # the same band if a row has one pixel
    solution = solveh_banded(bands.reshape(width + 1, -1), weighted.ravel(), lower=True, check_finite=False)
    return solution.reshape(height, width).astype(np.float32)
