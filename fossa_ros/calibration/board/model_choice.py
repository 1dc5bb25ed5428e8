"""Choose the model of the distortion: the one that predicts the board where it was not adjusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fossa_ros.calibration.board.adjustment import Adjustment, adjust
from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.projection import (
    COEFFICIENTS,
    Camera,
    Corners,
    breathing_basis,
    first_camera,
    image_centre,
    project,
)
from fossa_ros.core.errors import InputError

_FOLDS = 4
_BETTER = 0.95  # of the error of a simpler model, which a richer one must reach
_FAR = 5.0  # px beyond which a corner's error counts no more


def without_breathing(corners: Corners, camera: Camera) -> Corners:
    """Return the mean pixel of each corner of each sweep at the reference focus."""
    pixels = corners.pixels
    if len(camera.knots):
        change = breathing_basis(camera, corners.focus) @ camera.values
        centre = image_centre(camera.size)
        pixels = centre + (pixels - centre - change[:, 1:]) / np.exp(change[:, :1])
    keys, which = np.unique(np.column_stack([corners.sweep, corners.corner]), axis=0, return_inverse=True)
    means = np.array([pixels[which.ravel() == index].mean(axis=0) for index in range(len(keys))])
    return Corners(keys[:, 0], keys[:, 1], np.full(len(keys), camera.reference), means)


def choose_model(corners: Corners, board: Board, size: tuple[int, int]) -> tuple[str, dict[str, float]]:
    """Return the model to use, and the error (px, root mean square) with which each predicts sweeps left out.

    Args:
        corners: without breathing.
        board: the board.
        size: height and width of the images.

    Raises:
        InputError: no model fits.
    """
    errors = {}
    for model in COEFFICIENTS:
        error = _left_out(corners, board, size, model)
        if error is not None:
            errors[model] = error
    if not errors:
        raise InputError("No camera model fits the board; check that all images are of one camera at one resolution.")
    best = next(iter(errors))
    for model, error in errors.items():
        if error < _BETTER * errors[best]:
            best = model
    return best, errors


def _left_out(corners: Corners, board: Board, size: tuple[int, int], model: str) -> float | None:
    sweeps = np.unique(corners.sweep)
    folds = min(_FOLDS, len(sweeps))
    try:
        start = first_camera(corners, board, size, model)
        if start is None or folds < 2:
            return None
        start = adjust(corners, board, start, rounds=1).camera
        squares = []
        for fold in range(folds):
            out = np.isin(corners.sweep, sweeps[fold::folds])
            camera = adjust(_renumbered(corners.chosen(~out)), board, start, rounds=1).camera
            held = _renumbered(corners.chosen(out))
            placed = _placed(held, board, camera)
            left = held.pixels - project(camera, board, held, placed.rotations, placed.translations)
            squares.append(np.minimum(np.square(left).sum(axis=1), _FAR**2))
    except (InputError, np.linalg.LinAlgError, ValueError):  # this model does not describe such a lens
        return None
    return float(np.sqrt(np.mean(np.concatenate(squares)) / 2))


def _placed(corners: Corners, board: Board, camera: Camera) -> Adjustment:
    return adjust(corners, board, camera, rounds=1, fixed=True)


def _renumbered(corners: Corners) -> Corners:
    return replace(corners, sweep=np.unique(corners.sweep, return_inverse=True)[1])
