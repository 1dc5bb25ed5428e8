"""Recordings of a calibration: a folder of images, and ``calibration.json`` which describes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np

from fossa_ros.calibration.lens_calibration import CalibratedDevice
from fossa_ros.calibration.series import CalibrationFrame, CalibrationSeries
from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing
from fossa_ros.io.documents import Finite, convert, load_json
from fossa_ros.io.photographs import photograph_size, read_photograph
from fossa_ros.io.stack_description import file_inside

DESCRIPTION = "calibration.json"
LARGEST = 20_000_000  # bytes


class _Frame(msgspec.Struct):
    file: str
    command: Finite
    temperature_celsius: Finite | None = None


class _Series(msgspec.Struct):
    frames: Annotated[list[_Frame], msgspec.Meta(min_length=1)]
    distance_m: Finite | None = None


class _Lens(msgspec.Struct):
    backend: str = ""
    identity: str = "unknown lens"
    quantity: str = "command"
    unit: str = "steps"
    least: Finite | None = None
    greatest: Finite | None = None


class _File(msgspec.Struct):
    """The layout of the file, as docs/calibration.md lists it."""

    series: Annotated[list[_Series], msgspec.Meta(min_length=1)]
    lens: _Lens | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording.

    Attributes:
        device: the lens; its command range is that of the recorded commands unless the file has one.
        series: of each target.
    """

    device: CalibratedDevice
    series: tuple[CalibrationSeries, ...]


class RecordingWriter:
    """Write a recording step by step; the folder is complete after every series."""

    def __init__(self, folder: str | Path, device: CalibratedDevice):
        """Create the folder.

        Raises:
            InputError: it cannot be created, or already holds a recording.
        """
        self.folder = Path(folder)
        self._content: dict[str, Any] = {"lens": asdict(device), "series": []}
        if (self.folder / DESCRIPTION).exists():
            raise InputError(f"{folder} already holds a recording; give another folder or remove it.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be created ({error.strerror}); give another one.") from error

    def image(self, name: str, image: np.ndarray) -> Callable[[], np.ndarray]:
        """Write one (H, W) uint8 image, and return a function that loads it."""
        file = self.folder / name
        if not cv2.imwrite(str(file), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise InputError(f"{file} cannot be written; give another folder.")
        return lambda: _grey(file)

    def series(self, distance: float | None, frames: list[tuple[str, float, float | None]]) -> None:
        """Add a finished series: file, command and temperature (degC) of every frame."""
        entries = [
            {"file": file, "command": command, "temperature_celsius": temperature}
            for file, command, temperature in frames
        ]
        self._content["series"].append({"distance_m": distance, "frames": entries})
        with replacing(self.folder / DESCRIPTION) as partial:
            partial.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")


def read_recording(folder: str | Path) -> Recording:
    """Read a folder with ``calibration.json``; its images are loaded on demand.

    Raises:
        InputError: the file is missing or an entry cannot be used; names the entry.
    """
    path = Path(folder)
    path = path if path.name == DESCRIPTION else path / DESCRIPTION
    file = convert(load_json(path, "write one as docs/calibration.md describes", LARGEST), _File, path)
    series = tuple(_series(path, each) for each in file.series)
    sizes = {photograph_size(file_inside(path, frame.file)) for each in file.series for frame in each.frames}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise InputError(f"{path} mixes images of {listed}; take all at one resolution.")
    lens = file.lens or _Lens()
    commands = [frame.command for each in series for frame in each.frames]
    device = CalibratedDevice(
        backend=lens.backend,
        identity=lens.identity,
        quantity=lens.quantity,
        unit=lens.unit,
        least=min(commands) if lens.least is None else lens.least,
        greatest=max(commands) if lens.greatest is None else lens.greatest,
    )
    return Recording(device, series)


def _series(path: Path, entries: _Series) -> CalibrationSeries:
    return CalibrationSeries(tuple(_frame(path, frame) for frame in entries.frames), entries.distance_m)


def _frame(path: Path, entries: _Frame) -> CalibrationFrame:
    image = file_inside(path, entries.file)
    return CalibrationFrame(entries.command, lambda: _grey(image), entries.temperature_celsius)


def _grey(file: Path) -> np.ndarray:
    return cv2.cvtColor(read_photograph(file).image, cv2.COLOR_RGB2GRAY)
