"""Figures of every image as JSON, written by ``fossa evaluate`` and read by ``fossa compare`` and reports.

docs/evaluation.md describes the layout of the file.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import msgspec

from fossa_ros import __version__
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.metrics import mean_metrics
from fossa_ros.io.atomic import replacing
from fossa_ros.io.documents import convert, load_json, null_for_nan

FORMAT = "fossa_ros results 1"
LARGEST_FILE = 256_000_000  # bytes
Plain = str | float | int | bool | None
_ADVICE = "give a file that 'fossa evaluate' wrote"
_Figures = Annotated[dict[str, float | None], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, eq=False)
class Run:
    """All images of a set under one setting.

    Attributes:
        setting: values that differ between the runs of a file, such as f-number and planes.
        images: figures of each image, those of ``depth_metrics`` and others; NaN if unknown.
        extra: further JSON values.
    """

    setting: Mapping[str, Plain]
    images: Mapping[str, Mapping[str, float]]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The setting in one line; "as recorded" if it is empty."""
        return label(self.setting)

    @cached_property
    def mean(self) -> dict[str, float]:
        """Every figure, averaged over the images with equal weights."""
        return mean_metrics(self.images.values())


@dataclass(frozen=True, eq=False)
class Results:
    """The figures of a model on a set.

    Attributes:
        benchmark: name of the set.
        model: ``name``, and further properties such as ``checkpoint``.
        runs: one or more, one for each setting.
        versions: of the software used, by package.
        made: date and time, ISO 8601.
    """

    benchmark: str
    model: Mapping[str, Plain]
    runs: tuple[Run, ...]
    versions: Mapping[str, str] = field(default_factory=lambda: software_versions())
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def label(setting: Mapping[str, Plain]) -> str:
    """Describe a setting in one line."""
    words = {"f_number": "F{:g}", "planes": "{} planes", "focus": "{}"}
    said = [
        words[name].format(value) if name in words else name if value is True else f"{name} {value}"
        for name, value in setting.items()
        if value is not None and value is not False
    ]
    return ", ".join(said) or "as recorded"


def software_versions() -> dict[str, str]:
    """Return the versions of the software that figures depend on."""
    found = {"fossa_ros": __version__, "python": platform.python_version()}
    for package in ("numpy", "opencv-python-headless", "scipy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_results(path: str | Path, results: Results) -> None:
    """Write ``results`` to a JSON file, atomically.

    Raises:
        InputError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "benchmark": results.benchmark,
        "model": dict(results.model),
        "versions": dict(results.versions),
        "made": results.made,
        "runs": [
            {"setting": dict(run.setting), "mean": run.mean, "images": run.images, "extra": dict(run.extra)}
            for run in results.runs
        ],
    }
    with replacing(path) as partial:
        partial.write_text(json.dumps(null_for_nan(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


class _Run(msgspec.Struct):
    setting: dict[str, Plain]
    images: Annotated[dict[str, _Figures], msgspec.Meta(min_length=1)]
    extra: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if len({tuple(figures) for figures in self.images.values()}) != 1:
            raise ValueError("images must have the same figures each")


class _File(msgspec.Struct):
    """The layout of the file, as docs/evaluation.md lists it; the means are computed again."""

    benchmark: str
    model: dict[str, Plain]
    versions: dict[str, str]
    made: str
    runs: Annotated[list[_Run], msgspec.Meta(min_length=1)]


def read_results(path: str | Path) -> Results:
    """Read a file that ``write_results`` wrote.

    Raises:
        InputError: the file is missing, of another format, or an entry cannot be used; names the entry.
    """
    content = load_json(path, _ADVICE, LARGEST_FILE)
    if content.get("format") != FORMAT:
        raise InputError(f"{path} is not marked '{FORMAT}'; give a file that 'fossa evaluate' of this version wrote.")
    file = convert(content, _File, path)
    runs = (
        Run(run.setting, {name: _figures(figures) for name, figures in run.images.items()}, run.extra)
        for run in file.runs
    )
    return Results(file.benchmark, file.model, tuple(runs), file.versions, file.made)


def _figures(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in figures.items()}
