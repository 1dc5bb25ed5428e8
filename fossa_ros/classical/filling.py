"""Edge-aware regression of a scattered, uncertain map: where data are weak their neighbours decide."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

RIDGE = 1e-3  # 1 / D^2; keeps the solution finite where there are no data at all
COARSEST = 1500  # unknowns that are solved directly
ANCHOR = 10.0  # px: texture is held as firmly as by ties over this distance
DOUBT = 0.01  # share of a pixel's variance that its neighbours do not share: their windows overlap


def ties(guide, value, precision, config):
    """Return how strongly neighbours are tied, (h, w-1) and (h-1, w), in 1 / D^2.

    Ties are weak across edges of the image, and where ``value`` jumps by more than slope and noise explain.

    Args:
        guide: (h, w, 3) uint8 sharp image.
        value, precision: (h, w) float32 dioptres and 1 / D^2, as measured.
        config: a ClassicalConfig.
    """
    image, value = guide.astype(np.float32), cv2.medianBlur(value, 5)
    variance = DOUBT / np.maximum(precision, 1e-3)
    strengths = []
    for first, second in (((slice(None), slice(None, -1)), (slice(None), slice(1, None))), (np.s_[:-1], np.s_[1:])):
        contrast = np.square(image[second] - image[first]).sum(axis=2)
        alike = config.jump + (1.0 - config.jump) * np.exp(-contrast / (2.0 * config.edge**2))
        step = np.square(value[second] - value[first])
        joined = 1.0 / (1.0 + step / (config.step**2 + variance[first] + variance[second]))
        strengths.append((alike * np.square(joined) / config.slope**2).astype(np.float32))
    return strengths


def support(texture, horizontal, vertical, reach, slope):
    """Return (h, w) in 0..1: how well each pixel is tied to pixels with texture.

    Args:
        texture: (h, w) in 0..1.
        horizontal, vertical: ties, as strong as 1 / slope^2 on a surface.
        reach: pixels over which the result falls by e away from texture.
        slope: dioptres a pixel.
    """
    anchor, leak = texture * np.float32((ANCHOR * slope) ** -2), np.float32((reach * slope) ** -2)
    weight = anchor + leak
    return np.clip(diffuse(anchor / weight, weight, horizontal, vertical), 0.0, 1.0)


def regress(value, precision, horizontal, vertical):
    """Return the smooth map (h, w) behind ``value``, measured with ``precision``.

    ``diffuse`` flattens slopes, most at the border; what it leaves over is smoothed in turn and added back (twicing,
    Tukey 1977).
    """
    smooth = diffuse(value, precision, horizontal, vertical)
    return smooth + diffuse(value - smooth, precision, horizontal, vertical)


def diffuse(value, precision, horizontal, vertical, iterations=12):
    """Return the map u (h, w) that minimises sum precision (u - value)^2 + sum conductance (difference of u)^2.

    Cascadic multigrid: the coarsest grid is solved directly, each finer one by a few conjugate gradient steps.
    """
    height, width = value.shape
    weighted = precision * value
    if height * width <= COARSEST or min(height, width) < 4:
        return _solve(weighted, precision, horizontal, vertical)
    coarse_precision, coarse_weighted = _sum2x2(precision), _sum2x2(weighted)
    coarse_value = coarse_weighted / np.maximum(coarse_precision, 1e-12)
    coarse = diffuse(coarse_value, coarse_precision, *_coarsen(horizontal, vertical, height, width), iterations)
    start = cv2.resize(coarse, (coarse.shape[1] * 2, coarse.shape[0] * 2), interpolation=cv2.INTER_LINEAR)
    return _conjugate_gradients(start[:height, :width].copy(), weighted, precision, horizontal, vertical, iterations)


def _pad_even(array, rows, columns):
    pad = ((0, rows - array.shape[0]), (0, columns - array.shape[1]))
    return np.pad(array, pad) if pad != ((0, 0), (0, 0)) else array


def _sum2x2(array):
    height, width = array.shape
    a = _pad_even(array, height + height % 2, width + width % 2)
    return a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]


def _coarsen(horizontal, vertical, height, width):
    """Return the conductances between 2x2 blocks: links in series along an axis, in parallel across it."""

    def along(links, rows, columns):  # links (rows, columns - 1) along axis 1
        links = _pad_even(links, rows + rows % 2, columns + columns % 2 - 1)
        resistance = 1.0 / np.maximum(links, 1e-9)
        inner, crossing = resistance[:, ::2], resistance[:, 1::2]
        series = 1.0 / (crossing + 0.5 * (np.minimum(inner[:, :-1], 1e6) + np.minimum(inner[:, 1:], 1e6)))
        return (series[::2] + series[1::2]).astype(np.float32)

    return along(horizontal, height, width), np.ascontiguousarray(along(vertical.T, width, height).T)


def _apply(u, precision, horizontal, vertical):
    out = precision * u
    flow = horizontal * (u[:, 1:] - u[:, :-1])
    out[:, :-1] -= flow
    out[:, 1:] += flow
    flow = vertical * (u[1:] - u[:-1])
    out[:-1] -= flow
    out[1:] += flow
    return out


def _diagonal(precision, horizontal, vertical):
    diagonal = precision.copy()
    diagonal[:, :-1] += horizontal
    diagonal[:, 1:] += horizontal
    diagonal[:-1] += vertical
    diagonal[1:] += vertical
    return diagonal


def _conjugate_gradients(u, weighted, precision, horizontal, vertical, iterations):
    inverse = 1.0 / np.maximum(_diagonal(precision, horizontal, vertical), 1e-12)
    residual = weighted - _apply(u, precision, horizontal, vertical)
    z = inverse * residual
    direction = z.copy()
    rho = np.vdot(residual, z)
    for _ in range(iterations):
        if rho <= 1e-20:
            break
        applied = _apply(direction, precision, horizontal, vertical)
        step = rho / max(np.vdot(direction, applied), 1e-30)
        u += step * direction
        residual -= step * applied
        z = inverse * residual
        rho, previous = np.vdot(residual, z), rho
        direction *= rho / previous
        direction += z
    return u


def _solve(weighted, precision, horizontal, vertical):
    height, width = weighted.shape
    index = np.arange(height * width).reshape(height, width)
    rows, columns, values = (
        [index.ravel()],
        [index.ravel()],
        [_diagonal(precision, horizontal, vertical).ravel().astype(np.float64) + RIDGE],
    )
    for a, b, link in ((index[:, :-1], index[:, 1:], horizontal), (index[:-1], index[1:], vertical)):
        rows += [a.ravel(), b.ravel()]
        columns += [b.ravel(), a.ravel()]
        values += [-link.ravel(), -link.ravel()]
    matrix = coo_array(
        (np.concatenate(values).astype(np.float64), (np.concatenate(rows), np.concatenate(columns)))
    ).tocsc()
    return spsolve(matrix, weighted.ravel().astype(np.float64)).reshape(height, width).astype(np.float32)
