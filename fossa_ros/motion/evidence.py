"""Combine what pairs of frames say about the misalignment of the planes of one stack.

Two kinds of pairs speak. Neighbours in focus within the stack give the difference of two planes' misalignments.
Frames of the same focus in this stack and the one before give the difference of their misalignments in their own
stacks, plus a motion between the stacks that all pairs share and that harms nobody. Weighted least squares over
both gives one estimate with its covariance, which is the prior of the next stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_EXACT = 1e-6  # px: the reference plane is where it is
_ANYWHERE = 1e4  # px


@dataclass(frozen=True, eq=False)
class Misalignment:
    """Misalignment of each plane relative to the reference plane, for each of B places or models.

    Attributes:
        mean: (B, N, d).
        covariance: (B, N * d, N * d).
    """

    mean: np.ndarray
    covariance: np.ndarray

    def plane_covariance(self) -> np.ndarray:
        """Return the (B, N, d, d) covariance of each plane by itself."""
        batch, planes, d = self.mean.shape
        blocks = self.covariance.reshape(batch, planes, d, planes, d)
        return blocks[:, range(planes), :, range(planes), :].transpose(1, 0, 2, 3)


@dataclass(frozen=True, eq=False)
class Difference:
    """A measured difference: of plane ``of`` from plane ``base``, for each of B places or models.

    Attributes:
        of, base: plane indices; for a same-focus pair ``of`` is in the previous stack and ``base`` in this one.
        value: (B, d).
        covariance: (B, d, d); infinite or huge where nothing was measured.
    """

    of: int
    base: int
    value: np.ndarray
    covariance: np.ndarray


def combine(
    count: int,
    reference: int,
    neighbours: Sequence[Difference],
    same_focus: Sequence[Difference],
    previous: Misalignment | None,
    prior_sigma: np.ndarray,
) -> Misalignment:
    """Estimate the misalignment of ``count`` planes from differences within the stack and to the previous one.

    Args:
        prior_sigma: (d,) standard deviation expected of a plane's misalignment before anything is measured.
    """
    batch, d = (neighbours or same_focus)[0].value.shape
    information = np.zeros(
        (batch, count + 1, d, count + 1, d)
    )  # the last variable is the motion between stacks
    vector = np.zeros((batch, count + 1, d))
    for plane in range(count + 1):
        sigma = _EXACT if plane == reference else _ANYWHERE if plane == count else prior_sigma
        information[:, plane, range(d), plane, range(d)] += np.broadcast_to(1.0 / np.square(sigma), d)
    for pair in neighbours:
        weight = np.linalg.inv(_finite(pair.covariance))
        weighted = np.einsum("bij,bj->bi", weight, pair.value)
        for plane, sign in ((pair.of, 1), (pair.base, -1)):
            vector[:, plane] += sign * weighted
            information[:, plane, :, plane, :] += weight
        information[:, pair.of, :, pair.base, :] -= weight
        information[:, pair.base, :, pair.of, :] -= weight
    if same_focus:
        _add_same_focus(information, vector, same_focus, previous)
    size = (count + 1) * d
    covariance = np.linalg.inv(information.reshape(batch, size, size))
    mean = np.einsum("bij,bj->bi", covariance, vector.reshape(batch, size))
    kept = count * d
    return Misalignment(mean[:, :kept].reshape(batch, count, d), covariance[:, :kept, :kept])


def _add_same_focus(information, vector, pairs, previous) -> None:
    batch, variables, d = vector.shape
    m = len(pairs)
    noise = np.zeros((batch, m, d, m, d))
    value = np.empty((batch, m, d))
    old = previous.covariance.reshape(batch, previous.mean.shape[1], d, previous.mean.shape[1], d)
    design = np.zeros((m, d, variables, d))
    for row, pair in enumerate(pairs):
        value[:, row] = pair.value - previous.mean[:, pair.of]
        for column, other in enumerate(pairs):
            noise[:, row, :, column, :] = old[:, pair.of, :, other.of, :]
        noise[:, row, :, row, :] += _finite(pair.covariance)
        design[row, :, -1, :] = np.eye(d)
        design[row, :, pair.base, :] -= np.eye(d)
    flat = design.reshape(m * d, variables * d)
    weighted = np.linalg.inv(noise.reshape(batch, m * d, m * d)) @ flat
    information += (flat.T @ weighted).reshape(information.shape)
    vector += np.einsum("bmv,bm->bv", weighted, value.reshape(batch, m * d)).reshape(vector.shape)


def _finite(covariance: np.ndarray) -> np.ndarray:
    d = covariance.shape[-1]
    measured = np.isfinite(covariance).all(axis=(1, 2), keepdims=True)
    return np.where(measured, covariance, _ANYWHERE**2 * np.eye(d))
