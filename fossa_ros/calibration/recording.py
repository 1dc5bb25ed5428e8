"""Recordings of a calibration: a folder of images and ``calibration.json``, which says what each one is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fossa_ros.calibration.lens_calibration import CalibratedDevice
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing
from fossa_ros.io.photographs import photograph_size, read_photograph
from fossa_ros.io.stack_description import file_inside

DESCRIPTION = "calibration.json"
_MAX_BYTES = 20_000_000
_UNKNOWN = CalibratedDevice("", "unknown lens", "command", "steps", -1e9, 1e9)


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording as read.

    Attributes:
        device: which lens; its range is that of the commands where the file does not say.
        series: of each target.
    """

    device: CalibratedDevice
    series: tuple[CalibrationSeries, ...]


class RecordingWriter:
    """Write a recording while it is made; after every series the folder is complete."""

    def __init__(self, folder, device: CalibratedDevice):
        """Make the folder.

        Raises:
            InputError: it cannot be made, or holds a recording already.
        """
        self.folder = Path(folder)
        self._content: dict[str, Any] = {"lens": asdict(device), "series": []}
        if (self.folder / DESCRIPTION).exists():
            raise InputError(f"{folder} holds a recording already; give another folder or remove it.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be made ({error.strerror}); give another one.") from error

    def image(self, name: str, image: np.ndarray) -> Callable[[], np.ndarray]:
        """Write one (H, W) uint8 image and return what loads it again."""
        file = self.folder / name
        if not cv2.imwrite(str(file), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise InputError(f"{file} cannot be written; give another folder.")
        return lambda: _grey(file)

    def series(self, distance: float, frames: list[tuple[str, float, float | None]]) -> None:
        """Enter a finished series: (file, command, temperature) of every frame."""
        entries = [
            {"file": file, "command": command, "temperature_celsius": temperature}
            for file, command, temperature in frames
        ]
        self._content["series"].append({"distance_m": distance, "frames": entries})
        with replacing(self.folder / DESCRIPTION) as partial:
            partial.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")


def read_recording(folder) -> Recording:
    """Read a folder with ``calibration.json``; images are loaded when they are wanted.

    Raises:
        InputError: the file is missing or an entry cannot be used; names the entry.
    """
    path = Path(folder)
    path = path if path.name == DESCRIPTION else path / DESCRIPTION
    content = _load(path)
    series = content.get("series")
    if not isinstance(series, list) or not series or not all(isinstance(each, dict) for each in series):
        raise InputError(f'{path} has no list "series" of {{"distance_m": ..., "frames": [...]}}; add it.')
    read = tuple(_series(path, number, each) for number, each in enumerate(series))
    sizes = {photograph_size(file_inside(path, f["file"])) for each in series for f in each["frames"]}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise InputError(f"{path} mixes images of {listed}; take all at one resolution.")
    return Recording(_device(path, content.get("lens"), read), read)


def _load(path: Path) -> dict:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES + 1)
        content = json.loads(text.decode("utf-8-sig")) if len(text) <= _MAX_BYTES else None
    except FileNotFoundError:
        raise InputError(f"{path.parent} has no {path.name}; write one (docs/calibration.md).") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); correct it.") from error
    if not isinstance(content, dict):
        raise InputError(f'{path} must be a JSON object with "series", of 20 MB or less; correct it.')
    return content


def _series(path: Path, number: int, content: dict) -> CalibrationSeries:
    where = f"series[{number}]"
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f'{path}: {where}.frames must be a list of {{"file": ..., "command": ...}}; correct it.')
    distance = content.get("distance_m")
    return CalibrationSeries(
        tuple(_frame(path, f"{where}.frames[{index}]", frame) for index, frame in enumerate(frames)),
        None if distance is None else _number(path, f"{where}.distance_m", distance),
    )


def _frame(path: Path, where: str, content: dict) -> CalibrationFrame:
    file, temperature = file_inside(path, content.get("file")), content.get("temperature_celsius")
    return CalibrationFrame(
        _number(path, f"{where}.command", content.get("command")),
        lambda: _grey(file),
        None if temperature is None else _number(path, f"{where}.temperature_celsius", temperature),
    )


def _number(path: Path, where: str, value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise InputError(f"{path}: {where} must be a number, not {value!r:.40}; correct it.")
    return float(value)


def _device(path: Path, content, series: tuple[CalibrationSeries, ...]) -> CalibratedDevice:
    commands = [frame.command for each in series for frame in each.frames]
    device = replace(_UNKNOWN, least=min(commands), greatest=max(commands))
    for name, value in (content or {}).items() if isinstance(content, dict | None) else ():
        if name in ("least", "greatest"):
            device = replace(device, **{name: _number(path, f"lens.{name}", value)})
        elif name in ("backend", "identity", "quantity", "unit"):
            if not isinstance(value, str):
                raise InputError(f"{path}: lens.{name} must be text, not {value!r:.40}; correct it.")
            device = replace(device, **{name: value})
    return device


def _grey(file: Path) -> np.ndarray:
    return cv2.cvtColor(read_photograph(file).image, cv2.COLOR_RGB2GRAY)
