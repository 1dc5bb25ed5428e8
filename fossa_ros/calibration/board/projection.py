"""Where a camera sees the corners of a board, and where a board is that a camera sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.board import Board
from fossa_ros.core.camera_model import EQUIDISTANT, PLUMB_BOB, RATIONAL, distorted_points

COEFFICIENTS = {PLUMB_BOB: 5, EQUIDISTANT: 4, RATIONAL: 8}
"""Models of distortion, in the order in which they are preferred when they tell the same, and their coefficients."""
_STARTS = (0.4, 0.6, 0.85, 1.2, 1.8, 3.0)  # focal lengths to begin with, of the image width


@dataclass(frozen=True, eq=False)
class Corners:
    """Observations of corners.

    Attributes:
        sweep, corner: (M,) number of the sweep, and of the corner on the board.
        focus: (M,) dioptres of the frame.
        pixels: (M, 2).
    """

    sweep: npt.NDArray[np.int_]
    corner: npt.NDArray[np.int_]
    focus: npt.NDArray[np.float64]
    pixels: npt.NDArray[np.float64]

    def chosen(self, mask: np.ndarray) -> Corners:
        """Return some of them."""
        return Corners(self.sweep[mask], self.corner[mask], self.focus[mask], self.pixels[mask])


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera at the reference focus.

    Attributes:
        size: height and width of the images.
        K: (3, 3).
        model, D: of the distortion.
        reference: dioptres.
        knots: (N,) dioptres of the spline of breathing; empty for none.
        values: (N, 3) log scale and shift (px) at the knots, 0 at the reference.
        bend: (3,) metres of z at the edges of the board: across, twist, down.
    """

    size: tuple[int, int]
    K: npt.NDArray[np.float64]
    model: str
    D: npt.NDArray[np.float64]
    reference: float
    knots: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    bend: npt.NDArray[np.float64]


def bent_corners(board: Board, bend: np.ndarray) -> npt.NDArray[np.float64]:
    """Return (N, 3) corners of a board whose paper is bent: z is a square polynomial about its middle."""
    x, y = ((board.corners[:, :2] - np.array(board.size) / 2) / (np.array(board.size) / 2)).T
    z = bend[0] * x * x + bend[1] * x * y + bend[2] * y * y
    return np.asarray(board.corners + np.column_stack([np.zeros_like(z), np.zeros_like(z), z]))


def spline_basis(knots: np.ndarray, at: np.ndarray) -> npt.NDArray[np.float64]:
    """Return (M, N) weights of the values at knots: a natural cubic spline, linear beyond its ends."""
    from scipy.interpolate import CubicSpline

    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")
    inside = np.clip(at, knots[0], knots[-1])
    weights: npt.NDArray[np.float64] = basis(inside) + (at - inside)[:, None] * basis(inside, 1)
    return weights


def first_camera(corners: Corners, board: Board, size: tuple[int, int], model: str) -> Camera | None:
    """Return a camera to begin with: the focal length, of some, that explains the places best; None if none does."""
    height, width = size
    best: tuple[float, Camera] | None = None
    for share in _STARTS:
        K = np.array([[share * width, 0, (width - 1) / 2], [0, share * width, (height - 1) / 2], [0, 0, 1.0]])
        D, none = np.zeros(COEFFICIENTS[model]), np.zeros((0, 3))
        camera = Camera(size, K, model, D, 0.0, np.zeros(0), none, np.zeros(3))
        errors = []
        for sweep in np.unique(corners.sweep):
            some = corners.chosen(corners.sweep == sweep)
            pose = board_pose(camera, board, some)
            if pose is None:
                break
            left = some.pixels - project(camera, board, some, *(part[None] for part in pose), alone=True)
            errors.append(np.sqrt(np.mean(np.minimum(np.square(left).sum(axis=1), 400.0))))
        else:
            error = float(np.mean(errors))
            if best is None or error < best[0]:
                best = error, camera
    return None if best is None else best[1]


def project(
    camera: Camera,
    board: Board,
    corners: Corners,
    rotations: np.ndarray,
    translations: np.ndarray,
    *,
    alone: bool = False,
    basis: np.ndarray | None = None,
) -> npt.NDArray[np.float64]:
    """Return the (M, 2) pixels at which corners should be.

    Args:
        camera: with its breathing, if it has knots.
        board: the board.
        corners: which.
        rotations, translations: (S, 3) by sweep.
        alone: whether all corners are of the one sweep that is given.
        basis: of breathing at the corners' focus, less that at the reference, if it is known.
    """
    sweep = np.zeros_like(corners.sweep) if alone else corners.sweep
    turns = np.array([cv2.Rodrigues(each)[0] for each in rotations])
    points = bent_corners(board, camera.bend)[corners.corner]
    seen = np.einsum("mij,mj->mi", turns[sweep], points) + translations[sweep]
    flat = seen[:, :2] / np.maximum(seen[:, 2:], 1e-6)
    pixels = distorted_points(flat, camera.model, camera.D) @ camera.K[:2, :2].T + camera.K[:2, 2]
    if not len(camera.knots):
        return np.asarray(pixels)
    if basis is None:
        basis = breathing_basis(camera, corners.focus)
    change = basis @ camera.values
    centre = image_centre(camera.size)
    return np.asarray(centre + np.exp(change[:, :1]) * (pixels - centre) + change[:, 1:])


def breathing_basis(camera: Camera, focus: np.ndarray) -> npt.NDArray[np.float64]:
    """Return the weights of the breathing's values at some focus (dioptres), less those at the reference."""
    return spline_basis(camera.knots, focus) - spline_basis(camera.knots, np.array([camera.reference]))


def image_centre(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the pixel about which breathing scales, as ``Breathing`` has it."""
    return np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])


def board_pose(camera: Camera, board: Board, corners: Corners) -> tuple[np.ndarray, np.ndarray] | None:
    """Return rotation and translation of the board from one sweep's corners; None if there is none in front."""
    flat = (corners.pixels - camera.K[:2, 2]) / np.diag(camera.K)[:2]
    points = np.asarray(board.corners[corners.corner])
    straight = straightened(flat, camera)
    good = np.isfinite(straight).all(axis=1)
    if good.sum() < 4:
        return None
    numbers, places = np.unique(corners.corner[good], return_index=True)
    if len(numbers) < 4 or np.linalg.matrix_rank(points[good][places][:, :2] - points[good][places[0], :2]) < 2:
        return None
    solved, turns, shifts, _ = cv2.solvePnPGeneric(
        points[good], straight[good][:, None], np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    for turn, shift in zip(turns, shifts, strict=True) if solved else ():
        if shift[2] > 0:
            return turn.ravel(), shift.ravel()
    return None


def straightened(flat: np.ndarray, camera: Camera) -> npt.NDArray[np.float64]:
    """Return (N, 2) points on the plane z = 1 for distorted ones; NaN where there is none."""
    if camera.model == EQUIDISTANT:
        angle = np.hypot(*flat.T)
        safe = np.where(angle < 1.5, angle, np.nan)
        first = flat * (np.tan(safe) / np.maximum(safe, 1e-12))[:, None]
    else:
        first = flat.copy()
    if not camera.D.any():
        return first
    for _ in range(20):
        first = first + (flat - distorted_points(np.nan_to_num(first), camera.model, camera.D)) * 0.9
    return first
