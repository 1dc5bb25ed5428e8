"""Combine what pairs of frames, and a gyroscope, say about the misalignment of the planes of one stack.

Two kinds of pairs speak. Neighbours in focus within the stack give the difference of two planes' misalignments,
plus a bias: what their different blur makes of this scene, the same in every stack of it. Frames of the same
focus in this stack and the one before have no such bias: they give the difference of their misalignments in
their own stacks, plus a motion between the stacks that all pairs share and that harms nobody. A gyroscope gives
the difference of two planes' misalignments without any bias of blur, and with the uncertainty of what it cannot see.

All are linear in the unknowns, so weighted least squares gives one estimate with its covariance, and that is
what the next stack starts from: a Kalman filter over stacks, in which what neighbours show in every stack
comes to be known as bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_EXACT = 1e-6  # px: the reference plane is where it is
_ANYWHERE = 1e4  # px
_INCREDIBLE = 4.0  # standard deviations of a bias


@dataclass(frozen=True, eq=False)
class Misalignment:
    """Misalignment of each plane relative to the reference plane, and bias of each pair of neighbours.

    For each of B places (tiles, d = 2) or for the view as a whole (B = 1, d generators); px.

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


@dataclass(frozen=True)
class Prior:
    """Standard deviations (d,) or of one number, px, expected before anything is measured.

    Attributes:
        plane: of a plane's misalignment.
        bias: of the bias of a pair of neighbours.
        fading: by which a bias known from the previous stack has become less certain.
    """

    plane: np.ndarray | float
    bias: np.ndarray | float
    fading: np.ndarray | float


@dataclass(frozen=True, eq=False)
class Difference:
    """What one pair of frames says: the misalignment of one less that of the other.

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


def combine(
    reference: int,
    neighbours: Sequence[Difference],
    same_focus: Sequence[Difference],
    same_bias: Sequence[tuple[int, int]],
    previous: Misalignment | None,
    prior: Prior,
    turns: Sequence[Difference] = (),
) -> Misalignment:
    """Estimate the misalignment of the planes of one stack.

    Neighbours that need an incredible bias to agree with the same-focus evidence were taken in by something
    that moves: they are left out.

    Args:
        reference: the plane that others are misaligned to.
        neighbours: N - 1 differences between neighbours in order of focus distance.
        same_focus: differences of planes of the previous stack from planes of this one.
        same_bias: pairs (index in the previous stack, index in this one) of neighbours with equal focus distances.
        previous: the estimate of the previous stack; None where there is none.
        turns: differences within the stack that no image tells: the gyroscope's.
    """
    estimate = _solve(reference, neighbours, same_focus, same_bias, previous, prior, turns)
    incredible = (np.abs(estimate.biases) > _INCREDIBLE * np.asarray(prior.bias)).any(axis=2)
    if incredible.any():
        neighbours = [
            replace(found, covariance=np.where(wrong[:, None, None], np.inf, found.covariance))
            for found, wrong in zip(neighbours, incredible.T, strict=True)
        ]
        estimate = _solve(reference, neighbours, same_focus, same_bias, previous, prior, turns)
    return estimate


def _solve(reference, neighbours, same_focus, same_bias, previous, prior, turns) -> Misalignment:
    pairs = len(neighbours)
    count = pairs + 1
    batch, d = neighbours[0].value.shape
    between = count + pairs  # index of the motion between the stacks
    # Blocks of (B, d, d) and (B, d) by variable: what is added to is contiguous.
    blocks = np.zeros((between + 1, between + 1, batch, d, d))
    sums = np.zeros((between + 1, batch, d))
    inherited = {now for _, now in same_bias}
    for index in range(between + 1):
        if index < count:
            sigma = _EXACT if index == reference else prior.plane
        elif index < between:
            sigma = prior.bias if neighbours[index - count].biased else _EXACT
        else:
            sigma = _ANYWHERE
        if index - count not in inherited:
            blocks[index, index] += np.diag(np.broadcast_to(np.square(sigma) ** -1.0, d))
    for pair, found in enumerate((*neighbours, *turns)):
        weight = _inverse(_finite(found.covariance))
        weighted = (weight @ found.value[:, :, None])[:, :, 0]
        signs = ((found.plane, 1), (found.base, -1), (count + pair, 1))[: 3 if pair < pairs else 2]
        for row, sign in signs:
            sums[row] += sign * weighted
            for column, other in signs:
                blocks[row, column] += sign * other * weight
    information = np.ascontiguousarray(blocks.transpose(2, 0, 3, 1, 4))
    vector = np.ascontiguousarray(sums.transpose(1, 0, 2))
    if previous is not None and (same_focus or same_bias):
        _add_previous(information, vector, count, same_focus, same_bias, previous, prior)
    size = (between + 1) * d
    covariance = np.linalg.inv(information.reshape(batch, size, size))
    mean = (covariance @ vector.reshape(batch, size, 1)).reshape(vector.shape)
    kept = covariance.reshape(information.shape)[:, :between, :, :between, :]
    return Misalignment(mean[:, :count], mean[:, count:between], kept)


def _add_previous(information, vector, count, same_focus, same_bias, previous, prior) -> None:
    """Add the same-focus differences and the biases of the previous stack, whose errors belong together."""
    batch, variables, d = vector.shape
    was_count = previous.planes.shape[1]
    rows = [found.plane for found in same_focus] + [was_count + was for was, _ in same_bias]
    m = len(rows)
    places = (np.array(rows)[:, None] * d + np.arange(d)).ravel()
    known = previous.covariance.shape[1] * d
    flat_noise = previous.covariance.reshape(batch, known, known)[:, places[:, None], places]
    flat_noise = np.ascontiguousarray(flat_noise)  # so that the next is a view
    noise = flat_noise.reshape(batch, m, d, m, d)
    value = np.empty((batch, m, d))
    design = np.zeros((m, d, variables, d))
    unit = np.eye(d)
    for row, found in enumerate(same_focus):
        value[:, row] = found.value - previous.planes[:, found.plane]
        noise[:, row, :, row, :] += _finite(found.covariance)
        design[row, :, -1, :] = unit
        design[row, :, found.base, :] = -unit
    for row, (was, now) in enumerate(same_bias, start=len(same_focus)):
        value[:, row] = previous.biases[:, was]
        noise[:, row, :, row, :] += unit * np.square(prior.fading)
        design[row, :, count + now, :] = unit
    # The design is that of all places: each product with it is one of large matrices.
    flat = design.reshape(m * d, variables * d)
    weighted = np.linalg.inv(flat_noise).reshape(-1, m * d) @ flat
    weighted = np.ascontiguousarray(weighted.reshape(batch, m * d, variables * d).transpose(0, 2, 1))
    information += (weighted.reshape(-1, m * d) @ flat).reshape(information.shape)
    vector += (weighted @ value.reshape(batch, m * d, 1)).reshape(vector.shape)


def _inverse(covariance: np.ndarray) -> np.ndarray:
    """Invert symmetric (B, d, d) matrices; numpy's own takes several times as long for d = 2."""
    if covariance.shape[1] != 2:
        return np.linalg.inv(covariance)
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    inverse = np.empty_like(covariance)
    inverse[:, 0, 0], inverse[:, 1, 1] = yy, xx
    inverse[:, 0, 1] = inverse[:, 1, 0] = -xy
    inverse /= (xx * yy - xy * xy)[:, None, None]
    return inverse


def _finite(covariance: np.ndarray) -> np.ndarray:
    d = covariance.shape[-1]
    measured = np.isfinite(covariance).all(axis=(1, 2), keepdims=True)
    if measured.all():
        return covariance
    return np.where(measured, covariance, _ANYWHERE**2 * np.eye(d))
