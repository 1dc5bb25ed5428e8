"""Lens calibrations on disk: YAML for people and nodes, laid out as docs/calibration.md says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fossa_ros.calibration.focus_curve import FocusCurve
from fossa_ros.calibration.lens_calibration import Breathing, CalibratedDevice, LensCalibration, TemperatureModel
from fossa_ros.calibration.peaks import FocusPass
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing

VERSION = 1
_KEY = "fossa_lens_calibration"
_MAX_BYTES = 1_000_000
_MAX_KNOTS = 1000


def write_calibration(path, calibration: LensCalibration, passes: Sequence[FocusPass] = ()) -> None:
    """Write a calibration, and as notes for people the measurements it came from.

    Raises:
        InputError: the file cannot be written.
    """
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
            "rising": _curve(calibration.rising),
            "falling": _curve(calibration.falling),
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
    text = yaml.safe_dump(_plain(content), sort_keys=False, width=120, default_flow_style=None)
    with replacing(Path(path)) as partial:
        partial.write_text(f"# Made by 'fossa calibrate'; set lens.calibration of fossa_node to this file.\n{text}")


def read_calibration(path) -> LensCalibration:
    """Read and check a calibration; entries this version does not know are left alone.

    Raises:
        InputError: the file is missing, no YAML, of another version, or an entry cannot be used; names the entry.
    """
    top = _Entries(path, _load(Path(path)), "")
    version = top.content.get(_KEY)
    if version != VERSION:
        raise InputError(
            f"{path} is no lens calibration of version {VERSION} ({_KEY}: {version!r:.40}); "
            "make one with 'fossa calibrate'."
        )
    lens, focus = top.section("lens"), top.section("focus")
    device = CalibratedDevice(
        backend=lens.text("backend"),
        identity=lens.text("identity"),
        quantity=lens.text("quantity"),
        unit=lens.text("unit"),
        least=lens.number("least"),
        greatest=lens.number("greatest"),
    )
    if device.least >= device.greatest:
        raise lens.refused("greatest", "must be greater than lens.least")
    rising, falling = (_read_curve(focus.section(way)) for way in ("rising", "falling"))
    if (rising.dioptres[-1] > rising.dioptres[0]) != (falling.dioptres[-1] > falling.dioptres[0]):
        raise focus.refused("falling.dioptres", "must run the same way as focus.rising.dioptres")
    breathing = _read_breathing(top.section("breathing")) if "breathing" in top.content else None
    return LensCalibration(
        device=device,
        rising=rising,
        falling=falling,
        uncertainty=focus.number("uncertainty_dioptres", least=0.0),
        temperature=_read_temperature(top.section("temperature")) if "temperature" in top.content else None,
        breathing=breathing,
        K=_read_intrinsics(top.section("intrinsics")) if breathing and "intrinsics" in top.content else None,
        created=str(top.content.get("created", "")),
    )


class _Entries:
    """One section of the file; whatever is wrong in it is told by the name of the entry."""

    def __init__(self, path, content: Mapping, prefix: str):
        self.path, self.content, self.prefix = path, content, prefix

    def refused(self, name: str, why: str) -> InputError:
        return InputError(f"{self.path}: {self.prefix}{name} {why}; correct it, or calibrate again.")

    def section(self, name: str) -> _Entries:
        value = self.content.get(name)
        if not isinstance(value, Mapping):
            raise self.refused(name, "must be a section of named entries" if name in self.content else "is missing")
        return _Entries(self.path, value, f"{self.prefix}{name}.")

    def text(self, name: str) -> str:
        value = self.content.get(name)
        if not isinstance(value, str):
            raise self.refused(name, f"must be text, not {value!r:.40}")
        return value

    def number(self, name: str, least: float = -math.inf) -> float:
        return self._number(name, self.content.get(name), least)

    def optional(self, name: str, least: float = -math.inf) -> float | None:
        value = self.content.get(name)
        return None if value is None else self._number(name, value, least)

    def numbers(self, name: str, count: int | None = None, least: float = -math.inf) -> np.ndarray:
        values = self.content.get(name)
        if not isinstance(values, list) or not 2 <= len(values) <= _MAX_KNOTS:
            raise self.refused(name, "must be a list of two or more numbers")
        if count is not None and len(values) != count:
            raise self.refused(name, f"must have {count} numbers, not {len(values)}")
        return np.array([self._number(f"{name}[{index}]", value, least) for index, value in enumerate(values)])

    def _number(self, name: str, value, least: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise self.refused(name, f"must be a finite number, not {value!r:.40}")
        if value < least:
            raise self.refused(name, f"must be {least:g} or more, not {value:g}")
        return float(value)


def _load(path: Path) -> Mapping:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise InputError(f"{path} is too large for a lens calibration; give the file 'fossa calibrate' wrote.")
        content = yaml.safe_load(data)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; set lens.calibration to a file of 'fossa calibrate'.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path} is not valid YAML ({' '.join(str(error).split())[:200]}); correct it.") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} is no lens calibration; give the file 'fossa calibrate' wrote.")
    return content


def _four(K: np.ndarray) -> dict[str, float]:
    return {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}


def _curve(curve: FocusCurve) -> dict:
    return {"command": curve.commands, "dioptres": curve.dioptres}


def _read_curve(entries: _Entries) -> FocusCurve:
    commands = entries.numbers("command")
    dioptres = entries.numbers("dioptres", len(commands))
    try:
        return FocusCurve(commands, dioptres)
    except InputError as error:
        raise entries.refused("command", str(error)) from error


def _read_temperature(entries: _Entries) -> TemperatureModel:
    return TemperatureModel(
        reference=entries.number("reference_celsius", least=-273.15),
        coefficient=entries.optional("dioptres_per_celsius"),
        uncertainty=entries.optional("uncertainty", least=0.0),
        low=entries.optional("low_celsius"),
        high=entries.optional("high_celsius"),
    )


def _read_breathing(entries: _Entries) -> Breathing:
    dioptres = entries.numbers("dioptres")
    if (np.diff(dioptres) <= 0).any():
        raise entries.refused("dioptres", "must rise from each number to the next")
    count = len(dioptres)
    scale = entries.numbers("scale", count, least=0.5)
    if scale.max() > 2:
        raise entries.refused("scale", f"must be 0.5 to 2, not {scale.max():g}")
    return Breathing(
        width=int(entries.number("width", least=1)),
        height=int(entries.number("height", least=1)),
        reference=entries.number("reference_dioptres", least=0.0),
        dioptres=dioptres,
        scale=scale,
        shift=np.column_stack([entries.numbers("shift_x_px", count), entries.numbers("shift_y_px", count)]),
        uncertainty=entries.number("scale_uncertainty", least=0.0),
    )


def _read_intrinsics(entries: _Entries) -> np.ndarray:
    fx, fy = (entries.number(name, least=1e-6) for name in ("fx", "fy"))
    cx, cy = (entries.number(name) for name in ("cx", "cy"))
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _plain(value):
    """Return ``value`` with arrays as lists and numbers rounded to nine digits, as people and YAML like them."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return float(f"{float(value):.9g}")
