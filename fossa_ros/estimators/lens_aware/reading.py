"""Depth and confidence read off the log-posteriors of the network.

Shapes: B stacks, L levels, (h, w) half resolution, (H, W) = (2 h, 2 w) full resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fossa_ros.estimators.calibration_curve import CLOSE
from fossa_ros.estimators.lens_aware.network import by_rows, enlarged, median_position

TOGETHER = 1.2  # times the mean of two log-posteriors, whose errors are in part independent
MODE_REACH = 2.0  # levels around the depth that belong to its mode, which ends one level further
PEAK_REACH = 0.5  # likewise, around the median, of which the mean is taken
SPLIT = 0.25  # levels^2: most that splitting a depth between two levels adds to the variance
MODE_DEVIATION = 0.2  # levels, least of a mode; measured on the choosing set of docs/validation.md
INDEPENDENT = 0.5  # share of the errors of both that is not of the evidence, which both read
PEAK_VARIANCE = 0.2  # levels^2, of that mean beside depth along surfaces; measured on the choosing set


def together(fine: Tensor, bare: Tensor, textured: Tensor) -> Tensor:
    """Return the log-posterior of two widths, not normalised: ``fine`` where there is texture, else ``bare``.

    The network sees a fixed number of pixels. In wide images it does not see the edges of a bare wall, by which it
    would know how the wall lies. Texture, on the other hand, tells more of depth where it has more pixels. The mean is
    one of logarithms, so that a depth is likely which both widths allow; the mean of two depths may be neither.

    Args:
        fine: (B, L, h, w) log-posterior at the larger width.
        bare: likewise, at a smaller width.
        textured: (B, 1, h, w) in 0..1, as of ``texture``.
    """
    bare = enlarged(bare, fine.shape[2:])
    (both,) = by_rows(lambda *rows: [TOGETHER * torch.lerp(*rows)], bare, fine, textured.expand_as(fine))
    return both


def position_and_variance(logits: Tensor, surface: Tensor, origin: float) -> list[Tensor]:
    """Return (B, 1, h, w) depth in levels, and the variance of the posterior about it, levels^2.

    Args:
        logits: of the network's ``Outputs``.
        surface: of its ``Inputs``, at the same size.
        origin: dioptres of level 0, in steps of the levels.
    """
    at = torch.full((len(logits),), origin, device=logits.device)

    def read(rows: Tensor, surface: Tensor) -> list[Tensor]:
        mass = rows.softmax(1)
        position = between_levels(mass, median_position(mass, at)[:, None])
        position = torch.lerp(position, surface[:, :1], surface_share(position, surface))
        return [position, (mass * levels_from(position, mass.shape[1]).square()).sum(1, keepdim=True)]

    return by_rows(read, logits, surface)


def closeness(logits: Tensor, position: Tensor, surface: Tensor, first: float, step: float) -> Tensor:
    """Return the (B, 1, h, w) confidence in positions before it is calibrated.

    Args:
        logits, surface: as of ``position_and_variance``.
        position: (B, 1, h, w) depth in levels.
        first: level 0, dioptres.
        step: of the levels, dioptres.
    """

    def read(rows: Tensor, position: Tensor, surface: Tensor) -> list[Tensor]:
        least = MODE_DEVIATION**2 * (1 - INDEPENDENT * surface_share(position, surface))
        return [probability_of(rows.softmax(1), position, first, step, least)]

    (close,) = by_rows(read, logits, position, surface)
    return close


def between_levels(mass: Tensor, position: Tensor) -> Tensor:
    """Return the mean level around each (B, 1, h, w) position, by the square root of the (B, L, h, w) posterior.

    Where the posterior is narrower than a level, its median lies near the middle of one, and a slanted surface would
    become a staircase. Such a posterior is surer than it is right; by its square root the neighbours of a level count.
    """
    apart = levels_from(position, mass.shape[1])
    near = mass.sqrt() * around(apart, PEAK_REACH)
    return position + (near * apart).sum(1, keepdim=True) / near.sum(1, keepdim=True).clamp_min(1e-6)


def levels_from(position: Tensor, count: int) -> Tensor:
    """Return (B, count, h, w): how many levels each level is above the (B, 1, h, w) position."""
    return torch.arange(count, device=position.device, dtype=position.dtype).view(1, -1, 1, 1) - position


def around(apart: Tensor, reach: float) -> Tensor:
    """Return the weight of levels that are ``apart``: 1 within ``reach``, falling to 0 one level further."""
    return (1 + reach - apart.abs()).clamp(0, 1)


def surface_share(position: Tensor, surface: Tensor) -> Tensor:
    """Return the weight of depth along surfaces beside (B, 1, h, w) positions: their mean by inverse variance.

    ``surface`` is that of the network's ``Inputs``. Regression over many textured pixels is more exact than a level;
    where both differ by ``MODE_REACH`` or more, they are of different surfaces, and the network decides.
    """
    along, deviation = surface.split(1, 1)
    agreed = (1 - (along - position).abs() / MODE_REACH).clamp_min(0)
    return agreed * PEAK_VARIANCE / (PEAK_VARIANCE + deviation.square())


def probability_of(mass: Tensor, position: Tensor, first: float, step: float, least: Tensor) -> Tensor:
    """Return the probability that depth is within ``CLOSE`` of that at ``position``; both are (B, 1, h, w).

    ``mass`` is the (B, L, h, w) posterior, ``first`` level 0 and ``step`` that of the levels, dioptres, and ``least``
    the (B, 1, h, w) least variance of a mode, levels^2.

    The mode around the position counts as normally distributed: training splits a depth between the two nearest levels,
    so that a certain one has a variance too, and for far surfaces a tenth of the depth is less than a level. The other
    levels count as bins of one step. The first and the last do not count: they hold all that is farther or nearer than
    the levels, which may be at any such depth. A mode of which they have a part is as doubtful as that part is large.
    """
    apart = levels_from(position, mass.shape[1])
    near = mass * around(apart, MODE_REACH)
    whole, mean, square = (part.sum(1, keepdim=True) for part in (near, near * apart, near * apart.square()))
    mean, square = (part / whole.clamp_min(1e-6) for part in (mean, square))
    deviation = (least + (square - mean.square() - SPLIT).clamp_min(0)).sqrt()

    power = first + step * position
    lowest, highest = ((power / (1 + sign * CLOSE) - power) / step for sign in (1, -1))
    close = torch.special.ndtr(highest / deviation) - torch.special.ndtr(lowest / deviation)
    inside = (torch.minimum(highest, apart + 0.5) - torch.maximum(lowest, apart - 0.5)).clamp(0, 1)
    mode, others = (part[:, 1:-1].sum(1, keepdim=True) for part in (near, (mass - near) * inside))
    return mode * (mode / whole.clamp_min(1e-6)) * close + others
