"""Confidence of a depth from how well the blur of its stack agrees with it: the probability that it is right.

A network can be wrong and sure of it. The likelihood of the blur model is computed from the images alone, so that it
tells where they contradict a depth, where they say nothing, and where they confirm it. A logistic regression combines
it with what else makes a depth doubtful: depth edges nearby, and neighbours that the images contradict.
"""

from __future__ import annotations

import cv2
import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.calibration_curve import CLOSE
from fossa_ros.estimators.evidence import stack_evidence

LEVELS, WIDTH = 32, 320  # of the evidence; a fifth of the time that depth needs of it
POOLED = (1.5, 3.0)  # px at half resolution: standard deviations of the windows over which evidence is pooled
EDGE_REACH = 9  # px likewise: width of the window in which depth edges are looked for
NEIGHBOURS = 8.0  # px likewise: standard deviation of the window of neighbours
LEAST = 1e-3  # probability; logarithms end there
# Of the columns of `agreement`, and a constant: benchmarks/fit_confidence.py, for nano with its shipped weights.
WEIGHTS = np.array([0.6904, -0.5418, 0.3845, 0.0811, -0.3432, 0.4339, 0.5108, 1.1296, -1.7885, -2.1818])


def agreement_confidence(stack: FocusStack, depth: np.ndarray) -> np.ndarray:
    """Return the probability that the relative error of each depth is below 10 %.

    Args:
        stack: an aligned stack.
        depth: (H, W) metres, NaN where unknown, of its reference plane.

    Returns:
        (H, W) float32; 0 where depth is unknown.
    """
    evidence = stack_evidence(stack, LEVELS, WIDTH)
    columns = agreement(evidence.levels, evidence.total, depth)
    right = 1.0 / (1.0 + np.exp(-(columns @ WEIGHTS[1:] + WEIGHTS[0])))
    confidence = cv2.resize(right.astype(np.float32), depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(np.isfinite(depth), confidence, np.float32(0.0))


def agreement(levels: np.ndarray, likelihood: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return (h, w, 9) columns that tell whether a depth is right, at the resolution of the evidence.

    1. The share of the levels that are close to the depth, whatever the images say.
    2, 3. The share of the likelihood of these levels, pooled over a narrow and over a wide window.
    4, 5. By how much a better depth is likelier, likewise; 6. the likelihood of the best.
    7. The mean of column 2 over the neighbours.
    8, 9. How far depth jumps within the window around the pixel, to nearer and to farther.

    Shares are logits, and likelihoods logarithms.

    Args:
        levels, likelihood: (L,) dioptres and (L, h, w) log-likelihood, of ``stack_evidence``.
        depth: (H, W) metres, NaN where unknown.
    """
    height, width = likelihood.shape[1:]
    ln_power = -np.log(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST))
    unknown = ~np.isfinite(ln_power)
    ln_power[unknown] = np.log(levels[0])
    close = _closeness(levels, ln_power)
    columns = [_logit(close.mean(axis=0))]
    shares, gaps = [], []
    for window in POOLED:
        pooled = np.stack([cv2.GaussianBlur(level, (0, 0), window) for level in likelihood])
        best = pooled.max(axis=0)
        relative = np.exp(pooled - best)
        shares.append((relative * close).sum(axis=0) / relative.sum(axis=0))
        gaps.append(np.log1p(best - _at(pooled, levels, np.exp(ln_power))))
    columns += [*map(_logit, shares), *gaps, np.log1p(np.maximum(best, 0.0))]
    columns.append(cv2.GaussianBlur(np.log(np.maximum(shares[0], LEAST)), (0, 0), NEIGHBOURS))
    window = np.ones((EDGE_REACH, EDGE_REACH), np.uint8)
    nearer, farther = cv2.dilate(ln_power, window) - ln_power, ln_power - cv2.erode(ln_power, window)
    columns += [np.sqrt(nearer), np.sqrt(farther)]
    return np.stack(columns, axis=-1)


def _closeness(levels: np.ndarray, ln_power: np.ndarray) -> np.ndarray:
    """Return (L, h, w) float32 in 0..1: which part of each level is close to the power of a pixel."""
    ln_levels = np.log(levels)
    step = np.gradient(ln_levels)[:, None, None]
    beyond = np.abs(ln_levels[:, None, None] - ln_power) - np.log1p(CLOSE)
    return np.clip(0.5 - beyond / step, 0.0, 1.0).astype(np.float32)


def _at(likelihood: np.ndarray, levels: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return the (L, h, w) log-likelihood at the (h, w) power of each pixel, or at the last level before it."""
    place = np.clip((power - levels[0]) / (levels[1] - levels[0]), 0.0, len(levels) - 1.0)
    below = np.minimum(place.astype(np.intp), len(levels) - 2)
    low, high = (np.take_along_axis(likelihood, each[None], axis=0)[0] for each in (below, below + 1))
    return low + (place - below) * (high - low)


def _logit(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, LEAST, 1.0 - LEAST)
    return np.log(share / (1.0 - share))
