"""Depth and confidence read off the log-posteriors of the network.

Shapes: B stacks, L levels, (h, w) half resolution, (H, W) = (2 h, 2 w) full resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fossa_ros.estimators.calibration_curve import CLOSE
from fossa_ros.estimators.lens_aware.network import by_rows, enlarged, median_position, sharpened

TOGETHER = 1.2  # times the mean of two log-posteriors, whose errors are in part independent
MODE_REACH = 2.0  # levels around the depth that belong to its mode, which ends one level further
SPLIT = 0.25  # levels^2: most that splitting a depth between two levels adds to the variance
MODE_DEVIATION = 0.2  # levels, least of a mode; measured on the choosing set of docs/validation.md
NARROW = 4  # power of the mass within a level of the peak, by which depth is that of the peak
PEAK_VARIANCE = 0.1  # levels^2, of a position read off the log-posterior; measured on the choosing set


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


def power_and_confidence(
    logits: Tensor, weights: Tensor, surface: Tensor, first: float, step: float
) -> tuple[Tensor, Tensor]:
    """Return (B, H, W) dioptres and confidence before it is calibrated.

    Args:
        logits: of the network's ``Outputs``.
        weights: likewise.
        surface: of its ``Inputs``, at the same size.
        first: level 0, dioptres.
        step: of the levels, dioptres.
    """
    origin = torch.full((len(logits),), first / step, device=logits.device)

    def read(rows: Tensor, surface: Tensor) -> list[Tensor]:
        mass = rows.softmax(1)
        position = between_levels(rows, mass, median_position(mass, origin)[:, None])
        along, share = surface[:, :1], surface_share(position, surface)
        position = torch.lerp(position, along, share)
        return [position, probability_of(mass, position, first, step, MODE_DEVIATION**2 * (1 - share))]

    position, close = (each[:, 0] for each in by_rows(read, logits, surface))
    return first + step * sharpened(position, weights), sharpened(close, weights).clamp(0, 1)


def between_levels(logits: Tensor, mass: Tensor, position: Tensor) -> Tensor:
    """Move (B, 1, h, w) positions towards the peak of the parabola through the three logits around each.

    Where the posterior ``mass`` is narrower than a level, its median lies near the middle of one, and a slanted surface
    would become a staircase. Where it is wide, or the nearest level is no peak, the median stays: it has the least
    expected relative error.
    """
    level = position.round().long().clamp(1, logits.shape[1] - 2)
    below, there, above = (logits.gather(1, level + side) for side in (-1, 0, 1))
    curvature = (below - 2 * there + above).clamp_max(-1e-3)
    peak = level + ((below - above) / (2 * curvature)).clamp(-0.5, 0.5)
    narrow = sum(mass.gather(1, level + side) for side in (-1, 0, 1)) ** NARROW
    return torch.where((there >= below) & (there >= above), torch.lerp(position, peak, narrow), position)


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
    apart = torch.arange(mass.shape[1], device=mass.device, dtype=torch.float32).view(1, -1, 1, 1) - position
    near = mass * (1 + MODE_REACH - apart.abs()).clamp(0, 1)
    whole, mean, square = (part.sum(1, keepdim=True) for part in (near, near * apart, near * apart.square()))
    mean, square = (part / whole.clamp_min(1e-6) for part in (mean, square))
    deviation = (least + (square - mean.square() - SPLIT).clamp_min(0)).sqrt()

    power = first + step * position
    lowest, highest = ((power / (1 + sign * CLOSE) - power) / step for sign in (1, -1))
    close = torch.special.ndtr(highest / deviation) - torch.special.ndtr(lowest / deviation)
    inside = (torch.minimum(highest, apart + 0.5) - torch.maximum(lowest, apart - 0.5)).clamp(0, 1)
    mode, others = (part[:, 1:-1].sum(1, keepdim=True) for part in (near, (mass - near) * inside))
    return mode * (mode / whole.clamp_min(1e-6)) * close + others
