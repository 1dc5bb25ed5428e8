"""Read ``sensor_msgs/CameraInfo`` as REP 104 has it: distortion, rectified view, binning and region of interest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from fossa_ros.core.camera_model import IDENTITY, LEAST_VIEW, CameraModel, Rectification, sensible_intrinsics
from fossa_ros.core.errors import InputError

ImageKind = Literal["auto", "raw", "rectified"]
_RECTIFIED = re.compile(r"(?:^|[^A-Za-z])rect")  # not in "direct" or "unrectified"
_NO_ROI = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}


@dataclass(frozen=True)
class CameraCalibration:
    """The fields of a camera_info, and whether its images are rectified; equal ones describe the same camera.

    Attributes:
        height, width: of the calibrated image, px.
        distortion_model, d, k, r, p: as in the message; matrices row by row.
        binning: pixels combined along x and y; 1 for none.
        roi: left, top, width and height of the window that images show, px of the calibrated image; 0 for all of it.
        rectified: whether P describes the images, rather than K and D.
    """

    height: int
    width: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    binning: tuple[int, int]
    roi: tuple[int, int, int, int]
    rectified: bool

    @classmethod
    def of(cls, info: Any, rectified: bool = False) -> CameraCalibration:
        """Return the calibration in a message."""
        roi = info.roi
        return cls(
            info.height,
            info.width,
            info.distortion_model,
            _numbers(info.d),
            _numbers(info.k),
            _numbers(info.r),
            _numbers(info.p),
            (info.binning_x or 1, info.binning_y or 1),
            (roi.x_offset, roi.y_offset, roi.width, roi.height),
            rectified,
        )

    @property
    def has_view(self) -> bool:
        """Whether P is given: drivers without one leave it zero, apart from the 1 in its last row."""
        return any(self.p[:8])

    @property
    def K(self) -> tuple[str, np.ndarray]:
        """The (3, 3) intrinsic matrix of the whole, unbinned image, and its name for a sentence."""
        if self.rectified and (self.has_view or any(self.d)):
            return "P of camera_info", np.reshape(self.p, (3, 4))[:, :3]
        return "K of camera_info", np.reshape(self.k, (3, 3))  # drivers of undistorted images may leave P empty

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the fields describe."""
        _, _, width, height = self.roi
        return (height or self.height) // self.binning[1], (width or self.width) // self.binning[0]

    def baseline(self) -> tuple[float, float]:
        """Return Tx and Ty of P, px m, for images as they are binned: not 0 for the right camera of a stereo pair."""
        return self.p[3] / self.binning[0], self.p[7] / self.binning[1]

    def model(self, size: tuple[int, int]) -> CameraModel:
        """Return the model of the camera for its images of ``size`` (height, width).

        Raises:
            InputError: the fields do not make images of that size, or make no sense; the sentence names the field.
        """
        return _model(self, size)


def takes_rectified(setting: ImageKind, topic: str) -> tuple[bool, str]:
    """Return whether the images on ``topic`` are taken for rectified, and a sentence that says so and why."""
    if setting == "auto":
        rectified = _RECTIFIED.search(topic) is not None
        why = f"its name has {'' if rectified else 'no '}'rect' and camera.image is auto"
    else:
        rectified, why = setting == "rectified", f"camera.image is {setting}"
    counts = "P of camera_info counts" if rectified else "K and D of camera_info count"
    return rectified, f"Images on {topic} are taken for {'rectified' if rectified else 'raw'} ({why}): {counts}."


def rectified_info_fields(
    K: np.ndarray, size: tuple[int, int], baseline: tuple[float, float] = (0.0, 0.0)
) -> dict[str, Any]:
    """Return the fields of the camera_info, without header, of rectified images of ``size`` with intrinsics ``K``."""
    P = np.hstack([K, [[baseline[0]], [baseline[1]], [0.0]]])
    return {
        "height": size[0],
        "width": size[1],
        "distortion_model": "plumb_bob",
        "d": np.zeros(5),
        "k": K.ravel(),
        "r": np.eye(3).ravel(),
        "p": P.ravel(),
        "binning_x": 0,
        "binning_y": 0,
        "roi": dict(_NO_ROI),
    }


def _numbers(values: Any) -> tuple[float, ...]:
    # NaN, which equals nothing, would make every frame another camera; infinity is refused in the same sentence.
    return tuple(np.nan_to_num(np.asarray(values, np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf).tolist())


@lru_cache(maxsize=16)
def _model(camera: CameraCalibration, size: tuple[int, int]) -> CameraModel:
    full = camera.height, camera.width
    left, top, cropped = _window(camera, size)
    name, whole = camera.K
    K = sensible_intrinsics(whole, full, name)

    def windowed(matrix: np.ndarray) -> np.ndarray:
        # image_geometry bins in the same way: every node then agrees about the pixel that a point is seen at.
        moved = matrix - [[0, 0, left], [0, 0, top], [0, 0, 0]]
        return np.asarray(moved / [[camera.binning[0]], [camera.binning[1]], [1.0]])

    if camera.rectified:
        return CameraModel(windowed(K), None, cropped)
    P = np.reshape(camera.p, (3, 4))[:, :3]
    view = sensible_intrinsics(P, full, "P of camera_info", least=LEAST_VIEW) if camera.has_view else K
    rotation = camera.r if any(camera.r) else IDENTITY
    try:
        rectification = Rectification(_numbers(windowed(view).ravel()), camera.distortion_model, camera.d, rotation)
    except InputError as error:
        raise InputError(f"camera_info: {error}") from error
    K = windowed(K)
    return CameraModel(K, rectification if rectification.changes(K) else None, cropped)


def _window(camera: CameraCalibration, size: tuple[int, int]) -> tuple[int, int, bool]:
    """Return left, top of the window that images of ``size`` show, and whether it is less than the whole image."""
    left, top, width, height = camera.roi
    seen = []
    for axis, offset, extent, whole, binning, got in (
        ("x", left, width, camera.width, camera.binning[0], size[1]),
        ("y", top, height, camera.height, camera.binning[1], size[0]),
    ):
        side = "width" if axis == "x" else "height"
        if offset + (extent or 1) > whole and (extent or offset):
            raise InputError(
                f"roi.{side} of camera_info reaches to {offset + extent} px of images with a {side} of {whole} px; "
                "correct the roi."
            )
        if offset and not extent:
            raise InputError(f"roi.{axis}_offset of camera_info is {offset} but roi.{side} is 0; correct the roi.")
        shown = extent or whole
        if got not in (shown // binning, -(-shown // binning)):
            field = f"roi.{side}" if extent else f"binning_{axis}" if binning > 1 else side
            made = [f"roi {width}x{height}"] if extent else []
            made += [f"binning {camera.binning[0]}x{camera.binning[1]}"] if max(camera.binning) > 1 else []
            raise InputError(
                f"camera_info holds the calibration of {camera.width}x{camera.height} images"
                f"{' with ' + ' and '.join(made) if made else ''}, but the image is {size[1]}x{size[0]}; correct "
                f"{field} of camera_info, or let the camera publish both for one size."
            )
        seen.append(shown < whole)
    return left, top, any(seen)
