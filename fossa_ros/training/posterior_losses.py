"""Losses of a network that returns a posterior over depth levels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.estimators.lens_aware.network import Outputs

EDGE_REACH = 9  # px: window in which a jump of depth counts as an edge
EDGE_JUMP = 1.5  # levels
EDGE_WEIGHT = 2.0
LEAST_POSSIBLE = 0.03  # mean relative error below which a stack weighs no more
MOST_RELATIVE = 3.0  # relative error; larger ones pull no harder
FAR_MOST = 8.0  # levels: larger errors pull no harder


def posterior_losses(outputs: Outputs, truth: Tensor, scale: Tensor, possible: Tensor) -> dict[str, Tensor]:
    """Return the losses of a batch by name; ``total`` is their weighted sum.

    A stack with little blur or much noise, whose depth cannot be known, teaches to hedge. Stacks therefore weigh
    inversely to the error that is possible without the network.

    Args:
        outputs: of the network.
        truth: (B, H, W) true depth in levels, NaN where unknown; depth beyond the levels counts as the last one.
        scale: (B, 2) level 0 and step of the levels in dioptres.
        possible: (B,) mean relative error of depth along surfaces.
    """
    levels = outputs.logits.shape[1]
    known = truth.isfinite()
    target = torch.where(known, truth, 0.0).clamp(0, levels - 1)
    ease = 1 / (LEAST_POSSIBLE + possible)[:, None, None]
    weight = known * (1 + (EDGE_WEIGHT - 1) * near_edges(target)) * ease / ease.mean()

    # Cross-entropy with each of the four pixels that a pixel of half resolution covers: one on an edge has two depths.
    log_posterior = outputs.logits.log_softmax(1)
    four, weights = (F.pixel_unshuffle(x[:, None], 2) for x in (target, weight))
    below = four.floor().clamp_max(levels - 2)
    above_share = four - below
    index = below.long()
    likelihood = (1 - above_share) * log_posterior.gather(1, index) + above_share * log_posterior.gather(1, index + 1)
    entropy = -(likelihood * weights).sum() / weights.sum().clamp_min(1)

    # The expected relative error of a depth drawn from the posterior pulls mass from far modes, which the median
    # does not see while the near one is the larger.
    first, step = scale[:, 0, None, None], scale[:, 1, None, None]
    level = torch.arange(levels, device=truth.device, dtype=torch.float32).view(1, -1, 1, 1)
    power, true_power = first[:, None] + step[:, None] * level, first[:, None] + step[:, None] * four
    share = log_posterior.exp()
    expected = sum(
        ((share * relative_error(power, true_power[:, i : i + 1])).sum(1) * weights[:, i]).sum() for i in range(4)
    )
    expected = expected / weights.sum().clamp_min(1)

    apart = (outputs.full - target).abs().clamp_max(FAR_MOST)
    position = (apart * weight).sum() / weight.sum().clamp_min(1)
    error = relative_error(first + step * outputs.full, first + step * target)
    relative = (error * weight).sum() / weight.sum().clamp_min(1)
    total = entropy + 0.1 * position + 3.0 * relative + expected
    return {"total": total, "entropy": entropy, "position": position, "relative": relative, "expected": expected}


def relative_error(power: Tensor, true_power: Tensor) -> Tensor:
    """Return |depth / true depth - 1|, at most ``MOST_RELATIVE``, of powers in dioptres."""
    return (true_power / power - 1).abs().clamp_max(MOST_RELATIVE)


def near_edges(level: Tensor) -> Tensor:
    """Return (B, H, W) 1 where depth jumps within ``EDGE_REACH`` px, else 0."""
    highest, lowest = level, -level
    for window in ((EDGE_REACH, 1), (1, EDGE_REACH)):  # one axis at a time is several times as fast
        around = tuple(side // 2 for side in window)
        highest, lowest = (F.max_pool2d(x[:, None], window, 1, around)[:, 0] for x in (highest, lowest))
    return (highest + lowest > EDGE_JUMP).float()
