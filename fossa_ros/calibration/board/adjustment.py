"""Camera, breathing and the places of the board, adjusted to everything that was observed at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.board import Board
from fossa_ros.core.camera_model import EQUIDISTANT, PLUMB_BOB, RATIONAL, distorted_points
from fossa_ros.core.errors import InputError

COEFFICIENTS = {PLUMB_BOB: 5, EQUIDISTANT: 4, RATIONAL: 8}
"""Models of distortion, in the order in which they are preferred when they tell the same, and their coefficients."""
KNOTS = 4
"""Of the spline of breathing over dioptres, evenly spaced."""
_STARTS = (0.4, 0.6, 0.85, 1.2, 1.8, 3.0)  # focal lengths to begin with, of the image width
_PRIOR = {  # share by which each term moves the corner of the image before any image tells: the higher, the less
    PLUMB_BOB: (0.3, 0.1, 0.01, 0.01, 0.03),
    EQUIDISTANT: (0.1, 0.03, 0.01, 0.003),
}
_FREE = 1.0  # standard deviation of a coefficient of the rational model, which trades one for another
_BEND_PRIOR = 0.02  # m
_CORNER, _SCALE, _SHIFT = 0.1, 2e-4, 0.05  # px, log scale, px: first guess of the deviations of observations
_FLOORS = 0.02, 2e-5, 0.01  # least deviations that are believed
_ROBUST = 2.0  # deviations beyond which an observation gets less weight


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
class Registrations:
    """Scale and shift between frames: (M, 2) dioptres of both, and (M, 3) log scale and shift about the centre, px."""

    focus: npt.NDArray[np.float64]
    steps: npt.NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class Adjustment:
    """The outcome.

    Attributes:
        camera: fitted.
        rotations, translations: (S, 3) of the board in the camera's frame, by sweep: axis times angle; metres.
        residuals: (M, 2) px of the corners, observed less predicted.
        deviations: standard deviations of corners (px), log scales and shifts (px), as found.
        fx_uncertainty: of its logarithm.
        scale_uncertainty: of the log scale between the ends of the knots.
        distance_uncertainties: (S,) metres, of the distance of the middle of the board by sweep.
        bend_uncertainty: (3,) metres.
    """

    camera: Camera
    rotations: npt.NDArray[np.float64]
    translations: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    deviations: tuple[float, float, float]
    fx_uncertainty: float
    scale_uncertainty: float
    distance_uncertainties: npt.NDArray[np.float64]
    bend_uncertainty: npt.NDArray[np.float64]

    def depth(self, board: Board, sweep: int, corners: np.ndarray) -> npt.NDArray[np.float64]:
        """Return the distance of corners from the entrance pupil along the optical axis, metres."""
        points = bent_corners(board, self.camera.bend)[corners]
        turn = cv2.Rodrigues(self.rotations[sweep])[0]
        depth: npt.NDArray[np.float64] = points @ turn[2] + self.translations[sweep, 2]
        return depth


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


def adjust(
    corners: Corners,
    board: Board,
    start: Camera,
    registrations: Registrations | None = None,
    poses: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    bend: bool = False,
    rounds: int = 2,
    fixed: bool = False,
) -> Adjustment:
    """Fit camera, breathing and the pose of every sweep by robust least squares.

    Args:
        corners: observations; each sweep has ``FEWEST_CORNERS`` or more.
        board: the board.
        start: camera to begin with; breathing is fitted if it has knots.
        registrations: which tell breathing where no corner is sharp.
        poses: to begin with.
        bend: whether the paper may be bent.
        rounds: of estimating the deviations of observations.
        fixed: whether camera and breathing stay as they are, and the board is placed only.

    Raises:
        InputError: the board cannot be placed in some sweep.
    """
    from scipy.optimize import least_squares

    count = int(corners.sweep.max()) + 1
    if poses is None:
        placed = [board_pose(start, board, corners.chosen(corners.sweep == sweep)) for sweep in range(count)]
        if any(pose is None for pose in placed):
            raise InputError(
                "The board cannot be placed in a sweep; show more of it, and hold it flatter to the camera."
            )
        known = [pose for pose in placed if pose is not None]
        poses = np.array([turn for turn, _ in known]), np.array([shift for _, shift in known])
    knots, terms = len(start.knots), COEFFICIENTS[start.model]
    basis = breathing_basis(start, corners.focus) if knots else None
    both = None
    if knots and registrations is not None:
        both = [breathing_basis(start, registrations.focus[:, end]) for end in (0, 1)]

    def unpacked(x: np.ndarray) -> tuple[Camera, np.ndarray, np.ndarray]:
        fx, fy = np.exp(x[:2])
        K = np.array([[fx, 0, x[2]], [0, fy, x[3]], [0, 0, 1.0]])
        D, rest = x[4 : 4 + terms], x[4 + terms :]
        values = np.zeros((knots, 3))
        if knots:
            values[1:] = rest[: 3 * (knots - 1)].reshape(-1, 3) * (1e-2, 1, 1)
            rest = rest[3 * (knots - 1) :]
        bow = rest[:3] if bend else np.zeros(3)
        turn, shift = rest[3 * bend :].reshape(2, count, 3)
        return Camera(start.size, K, start.model, D, start.reference, start.knots, values, bow), turn, shift

    def left(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        camera, turn, shift = unpacked(x)
        at = corners.pixels - project(camera, board, corners, turn, shift, basis=basis)
        if both is None or registrations is None:
            return at, np.zeros((0, 3))
        before, after = (weights @ camera.values for weights in both)
        scale = np.exp(after[:, :1] - before[:, :1])
        moved = after[:, 1:] - scale * before[:, 1:]
        predicted = np.column_stack([np.log(scale), moved])
        return at, registrations.steps - predicted

    values = (start.values - start.values[:1])[1:] / (1e-2, 1, 1) if knots else np.zeros(0)
    x = np.concatenate(
        [
            np.log(np.diag(start.K)[:2]),
            start.K[:2, 2],
            start.D,
            values.ravel(),
            start.bend if bend else np.zeros(0),
            poses[0].ravel(),
            poses[1].ravel(),
        ]
    )
    held = 4 + terms + values.size + 3 * bend if fixed else 0
    known_part = x[:held].copy()
    prior_deviations = _prior(start)
    deviations = _CORNER, _SCALE, _SHIFT
    scales = np.concatenate([np.full(2, 1e-2), np.full(2, 1.0), np.full(terms, 0.05), np.full(values.size, 0.1)])
    scales = np.concatenate([scales, np.full(3 * bend, 1e-3), np.full(3 * count, 1e-2), np.full(3 * count, 1e-3)])

    def residuals(free: np.ndarray) -> np.ndarray:
        x = np.concatenate([known_part, free])
        at, steps = left(x)
        camera = unpacked(x)[0]
        prior = [camera.D / prior_deviations]
        if bend:
            prior.append(camera.bend / _BEND_PRIOR)
        along = np.array(deviations)[1:][[0, 1, 1]]
        return np.concatenate([(at / deviations[0]).ravel(), (steps / along).ravel(), *prior])

    rows = np.repeat(corners.sweep, 2)  # of the residuals of corners

    def jacobian(free: np.ndarray) -> np.ndarray:
        """Return forward differences; a pose moves the corners of its own sweep only, so that all move at once."""
        before = residuals(free)
        poses = len(free) - 6 * count
        matrix = np.zeros((len(before), len(free)))
        steps = 1e-6 * scales[held:]
        for column in range(poses):
            moved = free.copy()
            moved[column] += steps[column]
            matrix[:, column] = (residuals(moved) - before) / steps[column]
        for part in range(6):
            columns = poses + (part // 3) * 3 * count + 3 * np.arange(count) + part % 3
            moved = free.copy()
            moved[columns] += steps[columns]
            change = (residuals(moved) - before)[: len(rows)]
            matrix[np.arange(len(rows)), columns[rows]] = change / steps[columns[rows]]
        return matrix

    for _ in range(rounds):
        fit = least_squares(
            residuals,
            x[held:],
            jac=jacobian,
            loss="soft_l1",
            f_scale=_ROBUST,
            x_scale=scales[held:],
            max_nfev=40,
            ftol=1e-6,
            xtol=1e-7,
        )
        x = np.concatenate([known_part, fit.x])
        at, steps = left(x)
        spread = [1.4826 * float(np.median(np.abs(at)))]
        spread += [
            1.4826 * float(np.median(np.abs(steps[:, part]))) if len(steps) else 0.0 for part in (0, slice(1, 3))
        ]
        deviations = tuple(max(found, floor) for found, floor in zip(spread, _FLOORS, strict=True))  # type: ignore[assignment]
    camera, turn, shift = unpacked(x)
    final = np.asarray(fit.jac)
    covariance = np.linalg.pinv(final.T @ final)
    spreads = np.concatenate([np.zeros(held), np.sqrt(np.maximum(np.diag(covariance), 0))])
    last = 4 + terms + 3 * (knots - 2) if knots else 0
    after_values = 4 + terms + 3 * max(knots - 1, 0)
    return Adjustment(
        camera=camera,
        rotations=turn,
        translations=shift,
        residuals=at,
        deviations=deviations,
        fx_uncertainty=float(spreads[0]),
        scale_uncertainty=float(spreads[last] * 1e-2) if knots else float("nan"),
        distance_uncertainties=_distance_spreads(board, turn, covariance),
        bend_uncertainty=spreads[after_values : after_values + 3] if bend else np.full(3, np.nan),
    )


def _distance_spreads(board: Board, rotations: np.ndarray, covariance: np.ndarray) -> npt.NDArray[np.float64]:
    """Return the standard deviation of the distance of the board's middle in each sweep, metres.

    ``covariance`` ends with the rotations and the translations of all sweeps.
    """
    count = len(rotations)
    first = len(covariance) - 6 * count
    middle = np.array([*board.size, 0.0]) / 2
    spreads = []
    for sweep, rotation in enumerate(rotations):
        turn = cv2.Rodrigues(rotation)
        # Row-major (9, 3) change of the matrix by the rotation; its last row gives the distance.
        by_turn = np.einsum("rkj,k->rj", turn[1].reshape(3, 3, 3).transpose(1, 2, 0), middle)[2]
        gradient = np.array([*by_turn, 0.0, 0.0, 1.0])
        columns = [*(first + 3 * sweep + np.arange(3)), *(first + 3 * (count + sweep) + np.arange(3))]
        spreads.append(float(np.sqrt(max(gradient @ covariance[np.ix_(columns, columns)] @ gradient, 0.0))))
    return np.array(spreads)


def _prior(camera: Camera) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each coefficient of a distortion before any image.

    Where no board reached the corners of the image, the highest terms would be anything that fits the middle.
    """
    if camera.model not in _PRIOR:
        return np.full(COEFFICIENTS[camera.model], _FREE)
    height, width = camera.size
    radius = math.hypot(width, height) / 2 / float(camera.K[0, 0])
    radius = min(max(radius, 0.1), 1.5)
    powers = (2, 4, 1, 1, 6) if camera.model == PLUMB_BOB else (2, 4, 6, 8)
    return np.array(_PRIOR[camera.model]) / radius ** np.array(powers, dtype=np.float64)


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
