"""Focus planes, focus stacks and depth maps: the data types that all parts of the package exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.errors import InputError


@dataclass(frozen=True, eq=False)
class FocusPlane:
    """One frame of a focus stack.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        focus_distance: distance of the plane in focus, metres along the optical axis; infinity is allowed.
        stamp_ns: start of the first row's exposure in nanoseconds, None where unknown (files).
    """

    image: np.ndarray
    focus_distance: float
    stamp_ns: int | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise InputError(
                f"A plane is an (H, W, 3) uint8 RGB image, not {self.image.shape} {self.image.dtype}; convert it first."
            )
        if not self.focus_distance > 0:  # also refuses NaN
            raise InputError(
                f"A focus distance must be a positive number of metres, not {self.focus_distance}; correct it."
            )


@dataclass(frozen=True, eq=False)
class FocusStack:
    """Frames of one scene from one camera at different focus distances.

    Attributes:
        planes: two or more planes of equal size, in the order they were taken.
        K: (3, 3) float64 intrinsic matrix at the planes' resolution, None where unknown.
        f_number: focal length over aperture diameter, None where unknown.
        focal_length: metres, None where unknown.
        reference: index of the plane whose viewpoint and stamp the depth map has; the middle plane by default.
        rectification: from these raw images to the rectified view that their depth map has in the end; None if the
            planes are that view already. Needs K.
        cropped: whether the planes are a window of the camera's image, whose principal point may lie outside.

    Raises:
        InputError: fewer than two planes, planes of different sizes, a focus distance within the focal length,
            or intrinsics that cannot belong to these planes.
    """

    planes: tuple[FocusPlane, ...]
    K: np.ndarray | None = None
    f_number: float | None = None
    focal_length: float | None = None
    reference: int = None  # type: ignore[assignment]  # __post_init__ sets the middle plane
    rectification: Rectification | None = None
    cropped: bool = False

    def __post_init__(self) -> None:
        if len(self.planes) < 2:
            raise InputError(f"A focus stack needs at least 2 planes, not {len(self.planes)}; add frames.")
        sizes = {plane.image.shape[:2] for plane in self.planes}
        if len(sizes) > 1:
            listed = ", ".join(f"{w}x{h}" for h, w in sorted(sizes))
            raise InputError(f"All planes of a stack must have one size, not {listed}; resize or remove the odd ones.")
        if self.reference is None:
            object.__setattr__(self, "reference", default_reference(len(self.planes)))
        elif not 0 <= self.reference < len(self.planes):
            raise InputError(f"Reference plane {self.reference} is not among the {len(self.planes)} planes.")
        for name in ("f_number", "focal_length"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"{name} must be a positive number, not {value}; correct or remove it.")
        if self.focal_length is not None and min(self.focus_distances) <= self.focal_length:
            raise InputError(
                f"Focus distance {min(self.focus_distances):g} m is not beyond the focal length "
                f"{self.focal_length:g} m; check that both are in metres."
            )
        if self.K is not None:
            object.__setattr__(self, "K", checked_intrinsics(self.K, self.size, cropped=self.cropped))
        elif self.rectification is not None:
            raise InputError("Images of a lens with distortion need K; give K, or the focal length in pixels (--fx).")

    def __len__(self) -> int:
        return len(self.planes)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every plane in pixels."""
        height, width, _ = self.planes[0].image.shape
        return height, width

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the reference plane."""
        return self.planes[self.reference].stamp_ns

    @cached_property
    def focus_distances(self) -> np.ndarray:
        """(N,) float64 focus distances in metres."""
        return np.array([plane.focus_distance for plane in self.planes])

    def images(self) -> np.ndarray:
        """Copy the planes into one (N, H, W, 3) uint8 array."""
        return np.stack([plane.image for plane in self.planes])

    def with_images(self, images: Iterable[np.ndarray]) -> FocusStack:
        """Return the stack with one new image for each plane; planes whose image is the same are kept."""
        planes = tuple(
            plane if image is plane.image else replace(plane, image=image)
            for plane, image in zip(self.planes, images, strict=True)
        )
        return replace(self, planes=planes)


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Metric depth of one focus stack, seen from its reference plane.

    Attributes:
        depth: (H, W) float32 metres along the optical axis; NaN where unknown.
        confidence: (H, W) float32 in 0..1; 0 where depth is unknown.
        sharp_image: (H, W, 3) uint8 RGB, the all-in-focus image registered to the depth, or a function without
            arguments that composes it. Read it as ``all_in_focus``.
        K: (3, 3) float64 intrinsic matrix, None where unknown.
        stamp_ns: stamp of the reference plane, None where unknown.
        estimator: name of the estimator.
    """

    depth: np.ndarray
    confidence: np.ndarray
    sharp_image: np.ndarray | Callable[[], np.ndarray]
    K: np.ndarray | None = None
    stamp_ns: int | None = None
    estimator: str = ""

    def __post_init__(self) -> None:
        shape = self.depth.shape
        if self.depth.dtype != np.float32 or self.confidence.dtype != np.float32:
            raise TypeError("depth and confidence are float32")
        sharp = (*shape, 3) if callable(self.sharp_image) else self.sharp_image.shape
        if len(shape) != 2 or self.confidence.shape != shape or sharp != (*shape, 3):
            raise ValueError(f"depth {shape}, confidence {self.confidence.shape} and all-in-focus {sharp} disagree")

    @cached_property
    def all_in_focus(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, registered to the depth; composed when it is first read."""
        return self.sharp_image() if callable(self.sharp_image) else self.sharp_image

    def within(self, valid: np.ndarray | None) -> DepthMap:
        """Return the map with depth unknown wherever ``valid``, (H, W) bool, is False; None keeps all."""
        if valid is None:
            return self
        depth = np.where(valid, self.depth, np.float32(np.nan))
        confidence = np.where(valid, self.confidence, np.float32(0))
        return replace(self, depth=depth, confidence=confidence)


def default_reference(count: int) -> int:
    """Return the index of the reference plane of ``count`` planes where none is given: the middle one."""
    return count // 2


def checked_intrinsics(K: ArrayLike, size: tuple[int, int], *, cropped: bool = False) -> np.ndarray:
    """Return ``K`` as a (3, 3) float64 matrix, validated for images of ``size`` (height, width).

    ``cropped`` images may have their principal point anywhere.

    Raises:
        InputError: K has another shape or entries that are not finite, a focal length that is not positive, or a
            principal point outside the image.
    """
    K = np.asarray(K, dtype=np.float64)
    height, width = size
    if K.shape != (3, 3):
        raise InputError(f"K must be a 3x3 intrinsic matrix, not of shape {K.shape}; calibrate the camera.")
    if not np.isfinite(K).all():
        raise InputError(f"K has entries that are not finite, {K.tolist()}; calibrate the camera or give --fx.")
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise InputError(
            f"K has focal lengths {K[0, 0]:g}, {K[1, 1]:g} px: the camera is uncalibrated; calibrate it or give --fx."
        )
    if not cropped and not (0 <= K[0, 2] < width and 0 <= K[1, 2] < height):
        raise InputError(
            f"K has its principal point at ({K[0, 2]:g}, {K[1, 2]:g}), outside the {width}x{height} image; "
            "give the K of this resolution."
        )
    return K
