"""The camera's whole model: intrinsics, the distortion of its lens, and the rectified view (REP 104).

A pixel of the rectified view belongs to the ray R^-1 P^-1 (u, v, 1) of the raw camera. The lens moves the ray (x, y, 1)
to (x', y', 1) by its distortion, and K (x', y', 1) is the pixel of the raw image. Distortion itself is computed by
OpenCV. Pixel centres are at integer coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import scaled_intrinsics

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
_ALIASES = {"fisheye": EQUIDISTANT, "radtan": PLUMB_BOB, "pinhole": PLUMB_BOB}
# How many coefficients each model has: k1 k2 p1 p2 k3 | k4 k5 k6 | s1 s2 s3 s4 | tx ty; of equidistant k1 to k4.
_COUNTS = {PLUMB_BOB: (4, 5), RATIONAL: (8, 12, 14), EQUIDISTANT: (4,)}
MODELS = (*_COUNTS, "fisheye")
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_SAMPLES = 4096  # of the radius at which distortion is looked at for a fold
_SAME = 1e-6  # px, by which equal matrices may differ after they were written as text
_FOUND = 0.01  # px: a ray belongs to a raw pixel if its distortion leads back to it as precisely
_NEWTON, _STEP, _CLOSE = 30, 1e-6, 1e-10  # most iterations, the step of a slope, and the last step; on the plane z = 1

LEAST_FOCAL_LENGTH, GREATEST_FOCAL_LENGTH = 0.25, 50.0  # of the image width
LEAST_VIEW = 0.05  # of the width: focal length of a rectified view, which may be wider than the raw image
MIDDLE = 0.25, 0.75  # of width and height, within which the principal point must lie


@dataclass(frozen=True)
class Rectification:
    """How raw images of one camera become its rectified view; equal ones are equal and hash alike.

    Attributes:
        projection: (3, 3) intrinsic matrix of the rectified view, row by row: the left part of REP 104's P.
        model: of the distortion: plumb_bob, rational_polynomial or equidistant (also called fisheye).
        coefficients: of the distortion, in OpenCV's and REP 104's order; none for a lens without distortion.
        rotation: (3, 3) from the raw to the rectified camera, row by row: REP 104's R.

    Raises:
        InputError: the model is unknown, has another number of coefficients, or a number is not finite.
    """

    projection: tuple[float, ...]
    model: str = PLUMB_BOB
    coefficients: tuple[float, ...] = ()
    rotation: tuple[float, ...] = IDENTITY

    def __post_init__(self) -> None:
        for name in ("projection", "rotation"):
            numbers = np.asarray(getattr(self, name), np.float64)
            if numbers.size != 9 or not np.isfinite(numbers).all():
                raise InputError(f"The {name} of a rectification must be nine finite numbers, not {numbers.tolist()}.")
            object.__setattr__(self, name, tuple(numbers.ravel().tolist()))
        if not np.linalg.det(np.reshape(self.projection, (3, 3))) > 0:
            raise InputError(f"P must have positive focal lengths, not {self.P.tolist()}; calibrate the camera.")
        turn = np.reshape(self.rotation, (3, 3))
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
            raise InputError(f"R must be a rotation matrix, not {turn.tolist()}; calibrate the camera.")
        model, coefficients = checked_distortion(self.model, self.coefficients)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "coefficients", coefficients)

    @property
    def P(self) -> np.ndarray:
        """(3, 3) float64 intrinsic matrix of the rectified view."""
        return np.reshape(self.projection, (3, 3))

    @property
    def R(self) -> np.ndarray:
        """(3, 3) float64 rotation from the raw to the rectified camera."""
        return np.reshape(self.rotation, (3, 3))

    @property
    def distorts(self) -> bool:
        """Whether the lens distorts; an equidistant lens does, whatever its coefficients."""
        return self.model == EQUIDISTANT or any(self.coefficients)

    def changes(self, K: np.ndarray) -> bool:
        """Return whether the rectified view differs from raw images of intrinsics ``K``."""
        return self.distorts or self.rotation != IDENTITY or not np.allclose(K, self.P, rtol=0, atol=_SAME)

    def scaled(self, size: tuple[int, int], new_size: tuple[int, int]) -> Rectification:
        """Return the rectification of images of ``size`` (height, width) after they are resized to ``new_size``."""
        return replace(self, projection=tuple(scaled_intrinsics(self.P, size, new_size).ravel().tolist()))

    def raw_pixels(self, K: np.ndarray, view: ArrayLike) -> np.ndarray:
        """Return (N, 2) pixels of the raw image of intrinsics ``K`` for (N, 2) pixels of the rectified view.

        NaN where the lens has no image of the ray: behind the camera, or beyond the angle at which the polynomial
        turns back, from where a wrong part of the raw image would be shown again.
        """
        rays = self._rays(np.asarray(view, np.float64))
        ahead = rays[:, 2] > 0
        normalised = np.full((len(rays), 2), np.nan)
        normalised[ahead] = rays[ahead, :2] / rays[ahead, 2:]
        bent = self._distorted(normalised)
        return np.asarray(bent @ K[:2, :2].T + K[:2, 2])

    def raw_pixel_map(self, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return ``raw_pixels`` of every pixel of a view of ``size`` (height, width): (H, W, 2) float32.

        It is as precise as float32 is, and much faster than ``raw_pixels`` of a whole image.
        """
        if not self.distorts:
            rows, columns = np.mgrid[: size[0], : size[1]]
            pixels = self.raw_pixels(K, np.column_stack([columns.ravel(), rows.ravel()]))
            return pixels.reshape(*size, 2).astype(np.float32)
        make = cv2.fisheye.initUndistortRectifyMap if self.model == EQUIDISTANT else cv2.initUndistortRectifyMap
        x, y = make(np.eye(3), np.array(self.coefficients), self.R, self.P, size[::-1], cv2.CV_32FC1)
        along, down, ahead = self._ray_maps(size)
        seen = (ahead > 0) & (np.hypot(along, down) < np.float32(self._limit()) * ahead)
        pixels = np.dstack([K[0, 0] * x + K[0, 1] * y + K[0, 2], K[1, 1] * y + K[1, 2]])
        pixels[~seen] = np.nan
        return np.asarray(pixels, np.float32)

    def ray_depth(self, size: tuple[int, int]) -> np.ndarray:
        """Return the depth in the raw camera by that in the rectified one at every pixel of a view: (H, W) float32."""
        return self._ray_maps(size)[2]

    def _ray_maps(self, size: tuple[int, int]) -> list[np.ndarray]:
        """Return x, y and z of ``_rays`` at every pixel of a view of ``size``, each (H, W) float32."""
        column, row = np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)[:, None]
        return [column * a + row * b + c for a, b, c in np.linalg.inv(self.P @ self.R).astype(np.float32)]

    def view_pixels(self, K: np.ndarray, raw: ArrayLike) -> np.ndarray:
        """Return (N, 2) pixels of the rectified view for (N, 2) ``raw`` pixels; NaN where they belong to no ray."""
        raw = np.asarray(raw, np.float64)
        straight = self._plane_points(K, raw)
        points = np.column_stack([straight, np.ones(len(raw))]) @ (self.P @ self.R).T
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(points[:, 2:] > 0, points[:, :2] / points[:, 2:], np.nan))

    def local_scale(self, K: np.ndarray, size: tuple[int, int], samples: int = 48) -> np.ndarray:
        """Return how much larger the raw image shows things at each place than where its lens does not distort.

        Blur discs are images of discs on the plane in focus, so that distortion changes their size by the same factor.

        Args:
            K: (3, 3) intrinsic matrix of the raw images.
            size: height and width of the raw images.
            samples: along the longer side.

        Returns:
            (h, w) float32 on a grid from the first to the last pixel of each side, 1 where there is no distortion, as
            on the optical axis. It is the root mean square over all directions, as the variance of a blur disc is the
            mean of that along any two. NaN where the raw image shows nothing.
        """
        shape = [max(round(samples * side / max(size)), 3) for side in size]
        rows, columns = (np.linspace(0, side - 1, count) for side, count in zip(size, shape, strict=True))
        raw = np.dstack(np.meshgrid(columns, rows)).reshape(-1, 2)
        step = 0.5  # px
        ends = [self._plane_points(K, raw + move) for move in ((-step, 0), (step, 0), (0, -step), (0, step))]
        along, down = (ends[1] - ends[0]) * (K[0, 0] / (2 * step)), (ends[3] - ends[2]) * (K[1, 1] / (2 * step))
        area = along[:, 0] * down[:, 1] - along[:, 1] * down[:, 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt((np.square(along) + np.square(down)).sum(axis=1) / 2) / np.abs(area)
        return np.asarray(scale.reshape(shape), np.float32)

    def _plane_points(self, K: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Return (N, 2) points on the plane z = 1 of the raw camera, NaN where there is none."""
        bent = (raw - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T
        straight = self._straightened(bent)
        found = np.abs(self._distorted(straight) - bent).max(axis=1) < _FOUND / K[0, 0]
        return np.where(found[:, None], straight, np.nan)

    def _rays(self, view: np.ndarray) -> np.ndarray:
        """Return (N, 3) rays of the raw camera for (N, 2) pixels of the view, with z = 1 in the rectified camera."""
        points = np.column_stack([view, np.ones(len(view))])
        return np.asarray(points @ np.linalg.inv(self.P @ self.R).T)

    def _distorted(self, points: np.ndarray) -> np.ndarray:
        """Return where the lens moves (N, 2) points on the plane z = 1; NaN beyond its limit."""
        if not self.distorts:
            return points
        known = np.hypot(*points.T) < self._limit()  # False for NaN
        bent = np.full_like(points, np.nan)
        if known.any():
            bent[known] = distorted_points(points[known], self.model, np.array(self.coefficients))
        return bent

    def _straightened(self, points: np.ndarray) -> np.ndarray:
        """Return the inverse of ``_distorted`` by Newton's method; not a solution where there is none.

        OpenCV's own inverse iterates a fixed point, which does not converge for strong distortion.
        """
        if not self.distorts:
            return points
        radius = np.hypot(*points.T)
        straight = points * np.tan(np.minimum(radius, 1.4))[:, None] / np.maximum(radius, 1e-12)[:, None]
        straight = straight if self.model == EQUIDISTANT else points.copy()
        for _ in range(_NEWTON):
            at = self._distorted(straight)
            along = (self._distorted(straight + np.array((_STEP, 0.0))) - at) / _STEP
            down = (self._distorted(straight + np.array((0.0, _STEP))) - at) / _STEP
            error = points - at
            determinant = along[:, 0] * down[:, 1] - along[:, 1] * down[:, 0]
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.column_stack(
                    [
                        (error[:, 0] * down[:, 1] - error[:, 1] * down[:, 0]) / determinant,
                        (along[:, 0] * error[:, 1] - along[:, 1] * error[:, 0]) / determinant,
                    ]
                )
            straight = straight + step
            if not np.nanmax(np.abs(step), initial=0.0) > _CLOSE:
                break
        return np.asarray(straight)

    def _limit(self) -> float:
        """Return the radius on the plane z = 1 up to which points farther out are also imaged farther out."""
        angle = np.linspace(0, np.pi / 2, _SAMPLES)[1:-1]
        radius = np.tan(angle)
        k = (*self.coefficients, *([0.0] * 8))[:8]
        if self.model == EQUIDISTANT:
            imaged = angle * (1 + angle**2 * (k[0] + angle**2 * (k[1] + angle**2 * (k[2] + angle**2 * k[3]))))
            folds = np.diff(imaged, prepend=0) <= 0
        else:
            s = radius**2
            below = 1 + s * (k[5] + s * (k[6] + s * k[7]))
            with np.errstate(divide="ignore", invalid="ignore"):
                imaged = radius * (1 + s * (k[0] + s * (k[1] + s * k[4]))) / below
            folds = (below <= 0) | ~(np.diff(imaged, prepend=0) > 0)
        return float(radius[folds.argmax()]) if folds.any() else np.inf


@dataclass(frozen=True, eq=False)
class CameraModel:
    """What is known of the camera of some images.

    Attributes:
        K: (3, 3) float64 intrinsic matrix of the images as they are.
        rectification: from these raw images to their rectified view; None if the images are that view already.
        cropped: whether the images are a window of the camera's image.
    """

    K: np.ndarray
    rectification: Rectification | None = None
    cropped: bool = False


def distorted_points(points: np.ndarray, model: str, coefficients: np.ndarray) -> np.ndarray:
    """Return where a lens of a distortion ``model`` moves (N, 2) points on the plane z = 1, wherever they are."""
    inner = np.ascontiguousarray(points)[:, None]
    if model == EQUIDISTANT:
        return np.asarray(cv2.fisheye.distortPoints(inner, np.eye(3), coefficients)[:, 0])
    rays = cv2.convertPointsToHomogeneous(inner)
    return np.asarray(cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), coefficients)[0][:, 0])


def checked_distortion(model: str, coefficients: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Return a distortion's model by its REP 104 name, and as many coefficients as the model has.

    Coefficients that are missing or zero say that the lens does not distort, whatever the model is called, except for
    equidistant ones. Zeros beyond those that a model has are left out, as some drivers append them.

    Raises:
        InputError: the model is unknown, has another number of coefficients, or one is not finite.
    """
    numbers = [float(number) for number in coefficients]
    if not np.isfinite(numbers).all():
        raise InputError(f"D (distortion) has coefficients that are not finite, {numbers}; calibrate the camera.")
    name = _ALIASES.get(model, model)
    if not any(numbers) and not (name == EQUIDISTANT and numbers):
        return PLUMB_BOB, ()
    if name not in _COUNTS:
        raise InputError(
            f"distortion_model '{model}' is unknown and its coefficients are not zero; use {', '.join(MODELS)}, or "
            "rectify the images and set camera.image to rectified."
        )
    counts = _COUNTS[name]
    kept = len(numbers)
    while kept > counts[-1] and numbers[kept - 1] == 0:
        kept -= 1
    if kept not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise InputError(f"D (distortion) of {model} has {wanted} coefficients, not {len(numbers)}; correct it.")
    return name, tuple(numbers[:kept])


def given_rectification(
    K: ArrayLike | None,
    size: tuple[int, int],
    coefficients: Sequence[float],
    model: str = "",
    P: ArrayLike | None = None,
    R: ArrayLike | None = None,
) -> Rectification | None:
    """Return the rectification that a file describes; None if it changes nothing.

    Args:
        K: (3, 3) intrinsic matrix of the raw images; None if unknown.
        size: height and width of the images.
        coefficients: of the distortion.
        model: of the distortion; by default plumb_bob for 4 or 5 coefficients and rational_polynomial for more.
        P: (3, 3) or (3, 4) of the rectified view; K by default.
        R: (3, 3) rotation to it; none by default.

    Raises:
        InputError: there is no K, or a value cannot be used.
    """
    if not len(coefficients) and P is None and R is None:
        return None
    if K is None:
        raise InputError("distortion needs the intrinsics of the raw images; add K, or give --fx.")
    K = np.asarray(K, np.float64)
    view = K if P is None else sensible_intrinsics(np.asarray(P, np.float64)[:, :3], size, "P", LEAST_VIEW)
    rotation = np.eye(3) if R is None else np.asarray(R, np.float64)
    model = model or (RATIONAL if len(coefficients) > max(_COUNTS[PLUMB_BOB]) else PLUMB_BOB)
    made = Rectification(tuple(view.ravel().tolist()), model, tuple(coefficients), tuple(rotation.ravel().tolist()))
    return made if made.changes(K) else None


def sensible_intrinsics(
    K: ArrayLike, size: tuple[int, int], name: str = "K", least: float = LEAST_FOCAL_LENGTH
) -> np.ndarray:
    """Return ``K`` as (3, 3) float64 if a camera of images of ``size`` (height, width) can have it.

    Args:
        K: intrinsic matrix of the whole image.
        size: height and width of the whole image.
        name: of the matrix, for the sentence.
        least: focal length, of the width.

    Raises:
        InputError: another shape, entries that are not finite, a focal length under ``least`` or over fifty times the
            width, or a principal point outside the middle half of the image.
    """
    K = np.asarray(K, np.float64)
    height, width = size
    if K.shape != (3, 3):
        raise InputError(f"{name} must be a 3x3 intrinsic matrix, not of shape {K.shape}; calibrate the camera.")
    if not np.isfinite(K).all():
        raise InputError(f"{name} has entries that are not finite, {K.tolist()}; calibrate the camera.")
    least, greatest = least * width, GREATEST_FOCAL_LENGTH * width
    for focal_length in (K[0, 0], K[1, 1]):
        if not least <= focal_length <= greatest:
            raise InputError(
                f"{name} has the focal length {focal_length:g} px for images {width} px wide, where {least:g} to "
                f"{greatest:g} px make sense: the camera is uncalibrated, or {name} is of another resolution; "
                f"calibrate it or correct {name}."
            )
    if not np.allclose(K[2], (0, 0, 1)) or K[1, 0] != 0:
        raise InputError(f"{name} is not an intrinsic matrix (fx s cx; 0 fy cy; 0 0 1): {K.tolist()}; correct it.")
    if not all(MIDDLE[0] * side <= c + 0.5 <= MIDDLE[1] * side for c, side in ((K[0, 2], width), (K[1, 2], height))):
        raise InputError(
            f"{name} has its principal point at ({K[0, 2]:g}, {K[1, 2]:g}), outside the middle half of the "
            f"{width}x{height} image; give the {name} of this resolution."
        )
    return K
