"""Estimate the misalignment of the planes of one stack from differences between pairs of frames.

Three kinds of differences are combined:

- Neighbours in focus within the stack: the difference of two planes' misalignments, plus a bias that their different
  blur causes in this scene and that is the same in every stack of it.
- Frames of the same focus in this stack and the previous one: the difference of their misalignments in their own
  stacks, without bias, plus the motion between the stacks, which all pairs share and which does no harm.
- A gyroscope: the difference of two planes' misalignments without any bias of blur, and with the uncertainty of the
  motion that a gyroscope cannot measure.

All are linear in the unknowns, so weighted least squares gives one estimate with its covariance, and the next stack
starts from it: a Kalman filter over stacks, which learns the biases that neighbours show in every stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

_EXACT = 1e-6  # px: the misalignment of the reference plane is 0 by definition
_ANYWHERE = 1e4  # px
_INCREDIBLE = 4.0  # standard deviations of a bias


@dataclass(frozen=True, eq=False)
class Misalignment:
    """Misalignment of each plane relative to the reference plane, and bias of each pair of neighbours.

    For each of B places: the T tiles (d = 2), or the view as a whole (B = 1, d = 8 generators). In px.

    Attributes:
        planes: (B, N, d).
        biases: (B, N - 1, d), of neighbours in order of focus distance.
        covariance: (B, 2 N - 1, d, 2 N - 1, d), planes first.
    """

    planes: np.ndarray
    biases: np.ndarray
    covariance: np.ndarray

    def plane_covariance(self) -> np.ndarray:
        """Return the (B, N, d, d) covariance of each plane by itself."""
        index = np.arange(self.planes.shape[1])
        return self.covariance[:, index, :, index, :].transpose(1, 0, 2, 3)


@dataclass(frozen=True, eq=False)
class Prior:
    """Standard deviations expected before anything is measured, px; one number or (d,).

    Attributes:
        plane: of the misalignment of a plane.
        bias: of the bias of a pair of neighbours.
        fading: growth of the uncertainty of a bias from stack to stack.
    """

    plane: np.ndarray | float
    bias: np.ndarray | float
    fading: np.ndarray | float


@dataclass(frozen=True, eq=False)
class Difference:
    """The misalignment of one plane minus that of another, as one pair of frames shows it.

    Attributes:
        plane, base: plane indices; for a same-focus pair ``plane`` is in the previous stack, ``base`` in this one.
        value: (B, d).
        covariance: (B, d, d); infinite where nothing was measured.
        biased: whether a difference of blur may have biased the value.
    """

    plane: int
    base: int
    value: np.ndarray
    covariance: np.ndarray
    biased: bool


@dataclass(eq=False)
class Differences:
    """All differences measured in one stack, of the view as a whole or of its tiles.

    Attributes:
        neighbours: N - 1 differences between neighbours in order of focus distance.
        same_focus: differences of planes of the previous stack from planes of this one.
        gyro: differences within the stack as a gyroscope measured them.
    """

    neighbours: list[Difference] = field(default_factory=list)
    same_focus: list[Difference] = field(default_factory=list)
    gyro: list[Difference] = field(default_factory=list)


def combine(
    reference: int,
    differences: Differences,
    same_bias: Sequence[tuple[int, int]],
    previous: Misalignment | None,
    prior: Prior,
) -> Misalignment:
    """Estimate the misalignment of the planes of one stack.

    Neighbours that need an incredible bias to agree with the same-focus evidence followed a moving object: they are
    left out.

    Args:
        reference: index of the plane whose misalignment is 0.
        differences: the measurements.
        same_bias: pairs (index in the previous stack, index in this one) of neighbours with equal focus distances.
        previous: the estimate of the previous stack; None where there is none.
        prior: expectations.
    """
    estimate = _solve(reference, differences, same_bias, previous, prior)
    incredible = (np.abs(estimate.biases) > _INCREDIBLE * np.asarray(prior.bias)).any(axis=2)
    if incredible.any():
        credible = [
            replace(found, covariance=np.where(wrong[:, None, None], np.inf, found.covariance))
            for found, wrong in zip(differences.neighbours, incredible.T, strict=True)
        ]
        estimate = _solve(reference, replace(differences, neighbours=credible), same_bias, previous, prior)
    return estimate


def _solve(
    reference: int,
    differences: Differences,
    same_bias: Sequence[tuple[int, int]],
    previous: Misalignment | None,
    prior: Prior,
) -> Misalignment:
    """Solve the normal equations; the unknowns are N planes, N - 1 biases and the motion between the stacks."""
    count = len(differences.neighbours) + 1
    between = 2 * count - 1  # index of the motion between the stacks
    batch, d = differences.neighbours[0].value.shape
    # Blocks of (B, d, d) and (B, d) by unknown, so that each sum is over contiguous memory.
    blocks = np.zeros((between + 1, between + 1, batch, d, d))
    sums = np.zeros((between + 1, batch, d))
    _add_prior(blocks, reference, differences.neighbours, {now for _, now in same_bias}, prior)
    for pair, found in enumerate(differences.neighbours):
        _add_difference(blocks, sums, found, ((found.plane, 1), (found.base, -1), (count + pair, 1)))
    for found in differences.gyro:
        _add_difference(blocks, sums, found, ((found.plane, 1), (found.base, -1)))
    information = np.ascontiguousarray(blocks.transpose(2, 0, 3, 1, 4))
    vector = np.ascontiguousarray(sums.transpose(1, 0, 2))
    if previous is not None and (differences.same_focus or same_bias):
        _add_previous(information, vector, count, differences.same_focus, same_bias, previous, prior)
    size = (between + 1) * d
    covariance = np.linalg.inv(information.reshape(batch, size, size))
    mean = (covariance @ vector.reshape(batch, size, 1)).reshape(vector.shape)
    kept = covariance.reshape(information.shape)[:, :between, :, :between, :]
    return Misalignment(mean[:, :count], mean[:, count:between], kept)


def _add_prior(
    blocks: np.ndarray, reference: int, neighbours: Sequence[Difference], inherited: set[int], prior: Prior
) -> None:
    """Add the prior of every unknown, except biases inherited from the previous stack."""
    count, d = len(neighbours) + 1, blocks.shape[-1]
    sigmas: list[np.ndarray | float] = [_EXACT if plane == reference else prior.plane for plane in range(count)]
    sigmas += [prior.bias if found.biased else _EXACT for found in neighbours]
    for index, sigma in enumerate([*sigmas, _ANYWHERE]):
        if index - count not in inherited:
            blocks[index, index] += np.diag(np.broadcast_to(np.square(sigma) ** -1.0, d))


def _add_difference(blocks: np.ndarray, sums: np.ndarray, found: Difference, signs: Sequence[tuple[int, int]]) -> None:
    """Add one difference that is the sum of the unknowns in ``signs``, (index, 1 or -1) each."""
    weight = _inverse(_finite(found.covariance))
    weighted = (weight @ found.value[:, :, None])[:, :, 0]
    for row, sign in signs:
        sums[row] += sign * weighted
        for column, other in signs:
            blocks[row, column] += sign * other * weight


def _add_previous(
    information: np.ndarray,
    vector: np.ndarray,
    count: int,
    same_focus: Sequence[Difference],
    same_bias: Sequence[tuple[int, int]],
    previous: Misalignment,
    prior: Prior,
) -> None:
    """Add the same-focus differences and the biases of the previous stack, whose errors are correlated."""
    batch, unknowns, d = vector.shape
    old_count = previous.planes.shape[1]
    rows = [found.plane for found in same_focus] + [old_count + old for old, _ in same_bias]
    m = len(rows)
    places = (np.array(rows)[:, None] * d + np.arange(d)).ravel()
    known = previous.covariance.shape[1] * d
    flat_noise = previous.covariance.reshape(batch, known, known)[:, places[:, None], places]
    flat_noise = np.ascontiguousarray(flat_noise)  # so that the reshape is a view
    noise = flat_noise.reshape(batch, m, d, m, d)
    value = np.empty((batch, m, d))
    design = np.zeros((m, d, unknowns, d))
    unit = np.eye(d)
    for row, found in enumerate(same_focus):
        value[:, row] = found.value - previous.planes[:, found.plane]
        noise[:, row, :, row, :] += _finite(found.covariance)
        design[row, :, -1, :] = unit
        design[row, :, found.base, :] = -unit
    for row, (old, now) in enumerate(same_bias, start=len(same_focus)):
        value[:, row] = previous.biases[:, old]
        noise[:, row, :, row, :] += unit * np.square(prior.fading)
        design[row, :, count + now, :] = unit
    # All places share the design, so each product with it is one product of large matrices.
    flat = design.reshape(m * d, unknowns * d)
    weighted = np.linalg.inv(flat_noise).reshape(-1, m * d) @ flat
    weighted = np.ascontiguousarray(weighted.reshape(batch, m * d, unknowns * d).transpose(0, 2, 1))
    information += (weighted.reshape(-1, m * d) @ flat).reshape(information.shape)
    vector += (weighted @ value.reshape(batch, m * d, 1)).reshape(vector.shape)


def _inverse(covariance: np.ndarray) -> np.ndarray:
    """Invert symmetric (B, d, d) matrices; several times as fast as numpy for d = 2."""
    if covariance.shape[1] != 2:
        return np.linalg.inv(covariance)
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    inverse = np.empty_like(covariance)
    inverse[:, 0, 0], inverse[:, 1, 1] = yy, xx
    inverse[:, 0, 1] = inverse[:, 1, 0] = -xy
    inverse /= (xx * yy - xy * xy)[:, None, None]
    return inverse


def _finite(covariance: np.ndarray) -> np.ndarray:
    """Replace infinite (B, d, d) covariances by very large ones."""
    d = covariance.shape[-1]
    measured = np.isfinite(covariance).all(axis=(1, 2), keepdims=True)
    if measured.all():
        return covariance
    return np.where(measured, covariance, _ANYWHERE**2 * np.eye(d))


def largest_deviation(covariance: np.ndarray) -> np.ndarray:
    """Return the standard deviation in the worst direction for symmetric (..., 2, 2) covariances."""
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    return np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))
