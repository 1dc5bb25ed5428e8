"""Lens calibrations on disk: YAML for people and nodes, in the layout that docs/calibration.md lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import yaml

from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import (
    Breathing,
    CalibratedDevice,
    LensCalibration,
    Optics,
    TemperatureModel,
)
from fossa_ros.calibration.peaks import FocusPass
from fossa_ros.core.camera_model import checked_distortion
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import write_together
from fossa_ros.io.documents import Finite, NotNegative, convert, load_yaml

VERSION = 1
_KEY = "fossa_lens_calibration"
_ADVICE = "give the file that 'fossa calibrate' wrote"

_Numbers = Annotated[list[Finite], msgspec.Meta(min_length=2, max_length=1000)]
_Scales = Annotated[list[Annotated[float, msgspec.Meta(ge=0.5, le=2.0)]], msgspec.Meta(min_length=2, max_length=1000)]
_Celsius = Annotated[float, msgspec.Meta(ge=-273.15, le=1e300)]
_Pixels = Annotated[float, msgspec.Meta(ge=1, le=1e300)]  # written as whole numbers
_FocalLength = Annotated[float, msgspec.Meta(ge=1e-6, le=1e300)]


class _Lens(msgspec.Struct):
    backend: str
    identity: str
    quantity: str
    unit: str
    least: Finite
    greatest: Finite

    def __post_init__(self) -> None:
        if self.least >= self.greatest:
            raise ValueError("greatest must be greater than lens.least")


class _Curve(msgspec.Struct):
    command: _Numbers
    dioptres: _Numbers

    def __post_init__(self) -> None:
        _check_length("dioptres", self.dioptres, self.command)
        try:
            self.curve()
        except InputError as error:
            raise ValueError(f"command {error}") from error

    def curve(self) -> FocusCurve:
        return FocusCurve(self.command, self.dioptres)


class _Focus(msgspec.Struct):
    rising: _Curve
    falling: _Curve
    uncertainty_dioptres: NotNegative

    def __post_init__(self) -> None:
        rising, falling = (curve.dioptres[-1] > curve.dioptres[0] for curve in (self.rising, self.falling))
        if rising != falling:
            raise ValueError("falling.dioptres must run the same way as focus.rising.dioptres")


class _Temperature(msgspec.Struct):
    reference_celsius: _Celsius
    dioptres_per_celsius: Finite | None = None
    uncertainty: NotNegative | None = None
    low_celsius: Finite | None = None
    high_celsius: Finite | None = None


class _Breathing(msgspec.Struct):
    width: _Pixels
    height: _Pixels
    reference_dioptres: NotNegative
    dioptres: _Numbers
    scale: _Scales
    shift_x_px: _Numbers
    shift_y_px: _Numbers
    scale_uncertainty: NotNegative

    def __post_init__(self) -> None:
        if (np.diff(self.dioptres) <= 0).any():
            raise ValueError("dioptres must rise from each number to the next")
        for name in ("scale", "shift_x_px", "shift_y_px"):
            _check_length(name, getattr(self, name), self.dioptres)


class _Intrinsics(msgspec.Struct):
    fx: _FocalLength
    fy: _FocalLength
    cx: Finite
    cy: Finite


class _Distortion(msgspec.Struct):
    data: Annotated[list[Finite], msgspec.Meta(max_length=14)]


class _CameraInfo(msgspec.Struct):
    distortion_model: str
    distortion_coefficients: _Distortion

    def __post_init__(self) -> None:
        try:
            checked_distortion(self.distortion_model, self.distortion_coefficients.data)
        except InputError as error:
            raise ValueError(f"distortion_coefficients: {error}") from error


class _Optics(msgspec.Struct):
    fx_uncertainty: NotNegative
    pupil_metres: NotNegative | None = None
    pupil_uncertainty: NotNegative | None = None


class _File(msgspec.Struct):
    """The entries that are read; ``measured`` and ``intrinsics.at_focus`` are for information."""

    lens: _Lens
    focus: _Focus
    temperature: _Temperature | None = None
    breathing: _Breathing | None = None
    intrinsics: _Intrinsics | None = None
    camera_info: _CameraInfo | None = None
    optics: _Optics | None = None
    created: Any = ""  # YAML parses a date without quotes as a datetime


def write_calibration(path: str | Path, calibration: LensCalibration, passes: Sequence[FocusPass] = ()) -> None:
    """Write ``calibration_text``; raises InputError if the file cannot be written."""
    write_together({Path(path): calibration_text(calibration, passes)})


def calibration_text(calibration: LensCalibration, passes: Sequence[FocusPass] = ()) -> str:
    """Return a calibration as YAML, and for information the measurements it is based on."""
    device, temperature, breathing = calibration.device, calibration.temperature, calibration.breathing
    content: dict[str, Any] = {
        _KEY: VERSION,
        "created": calibration.created,
        "lens": {
            "backend": device.backend,
            "identity": device.identity,
            "quantity": device.quantity,
            "unit": device.unit,
            "least": device.least,
            "greatest": device.greatest,
        },
        "focus": {
            "rising": {"command": calibration.rising.commands, "dioptres": calibration.rising.dioptres},
            "falling": {"command": calibration.falling.commands, "dioptres": calibration.falling.dioptres},
            "uncertainty_dioptres": calibration.uncertainty,
        },
    }
    if temperature is not None:
        content["temperature"] = {
            "reference_celsius": temperature.reference,
            "dioptres_per_celsius": temperature.coefficient,
            "uncertainty": temperature.uncertainty,
            "low_celsius": temperature.low,
            "high_celsius": temperature.high,
        }
    if breathing is not None:
        content["breathing"] = {
            "width": breathing.width,
            "height": breathing.height,
            "reference_dioptres": breathing.reference,
            "dioptres": breathing.dioptres,
            "scale": breathing.scale,
            "shift_x_px": breathing.shift[:, 0],
            "shift_y_px": breathing.shift[:, 1],
            "scale_uncertainty": breathing.uncertainty,
        }
        if calibration.K is not None:
            size = breathing.height, breathing.width
            each = ((focus, calibration.intrinsics(focus, size)) for focus in breathing.dioptres)
            content["intrinsics"] = {
                **_four(calibration.K),
                "at_focus": [{"dioptres": focus, **_four(K)} for focus, K in each],
            }
    optics = calibration.optics
    if optics is not None:
        content["optics"] = {
            "fx_uncertainty": optics.fx_uncertainty,
            "pupil_metres": optics.pupil,
            "pupil_uncertainty": optics.pupil_uncertainty,
        }
        content["camera_info"] = camera_info(calibration)
    content["measured"] = [
        {
            "distance_m": each.distance,
            "direction": str(each.direction),
            "command": each.peak.command,
            "uncertainty": each.peak.uncertainty,
            "temperature_celsius": each.temperature,
        }
        for each in passes
    ]
    return f"# Made by 'fossa calibrate'; set lens.calibration of fossa_node to this file.\n{_yaml(content)}"


def camera_info(calibration: LensCalibration) -> dict[str, Any]:
    """Return the camera at the reference focus in the layout of ``camera_calibration_parsers``, for camera_info_url.

    Raises:
        InputError: the calibration has no camera.
    """
    breathing, optics, K = calibration.breathing, calibration.optics, calibration.K
    if breathing is None or optics is None or K is None:
        raise InputError("The calibration has no camera; calibrate with a printed board ('fossa calibrate board').")

    def matrix(values: np.ndarray) -> dict[str, Any]:
        return {"rows": values.shape[0], "cols": values.shape[1], "data": values.ravel()}

    return {
        "image_width": breathing.width,
        "image_height": breathing.height,
        "camera_name": "camera",
        "camera_matrix": matrix(K),
        "distortion_model": optics.distortion_model,
        "distortion_coefficients": matrix(np.array([optics.distortion])),
        "rectification_matrix": matrix(np.eye(3)),
        "projection_matrix": matrix(np.hstack([K, np.zeros((3, 1))])),
    }


def camera_info_text(calibration: LensCalibration) -> str:
    """Return ``camera_info`` as YAML: the file that camera_info_url of a camera driver names."""
    return _yaml(camera_info(calibration))


def read_calibration(path: str | Path) -> LensCalibration:
    """Read and check a calibration; entries that this version does not know are ignored.

    Raises:
        InputError: the file is missing, not YAML, of another version, or an entry cannot be used; names the entry.
    """
    content = load_yaml(path, _ADVICE)
    if content.get(_KEY) != VERSION:
        raise InputError(
            f"{path} is not a lens calibration of version {VERSION} ({_KEY} must be {VERSION}); make one with "
            "'fossa calibrate'."
        )
    file = convert(content, _File, path)
    lens, focus, breathing, intrinsics = file.lens, file.focus, file.breathing, file.intrinsics
    return LensCalibration(
        device=CalibratedDevice(lens.backend, lens.identity, lens.quantity, lens.unit, lens.least, lens.greatest),
        rising=focus.rising.curve(),
        falling=focus.falling.curve(),
        uncertainty=focus.uncertainty_dioptres,
        temperature=None if file.temperature is None else _temperature(file.temperature),
        breathing=None if breathing is None else _breathing(breathing),
        K=None if breathing is None or intrinsics is None else _matrix(intrinsics),
        optics=None if file.optics is None or file.camera_info is None else _optics(file.optics, file.camera_info),
        created=str(file.created),
    )


def _temperature(entries: _Temperature) -> TemperatureModel:
    return TemperatureModel(
        reference=entries.reference_celsius,
        coefficient=entries.dioptres_per_celsius,
        uncertainty=entries.uncertainty,
        low=entries.low_celsius,
        high=entries.high_celsius,
    )


def _breathing(entries: _Breathing) -> Breathing:
    return Breathing(
        width=int(entries.width),
        height=int(entries.height),
        reference=entries.reference_dioptres,
        dioptres=np.array(entries.dioptres),
        scale=np.array(entries.scale),
        shift=np.column_stack([entries.shift_x_px, entries.shift_y_px]),
        uncertainty=entries.scale_uncertainty,
    )


def _optics(entries: _Optics, camera: _CameraInfo) -> Optics:
    model, coefficients = checked_distortion(camera.distortion_model, camera.distortion_coefficients.data)
    return Optics(model, coefficients, entries.fx_uncertainty, entries.pupil_metres, entries.pupil_uncertainty)


def _matrix(entries: _Intrinsics) -> np.ndarray:
    return np.array([[entries.fx, 0, entries.cx], [0, entries.fy, entries.cy], [0, 0, 1.0]])


def _check_length(name: str, values: Sequence[float], others: Sequence[float]) -> None:
    if len(values) != len(others):
        raise ValueError(f"{name} must have {len(others)} numbers, not {len(values)}")


def _four(K: np.ndarray) -> dict[str, float]:
    return {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}


def _yaml(content: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(_plain(content), sort_keys=False, width=120, default_flow_style=None))


def _plain(value: Any) -> Any:
    """Return ``value`` with arrays as lists and floats rounded to nine digits, for YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return float(f"{float(value):.9g}")
