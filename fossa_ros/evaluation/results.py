"""Figures image by image, as JSON: what ``fossa evaluate`` writes, and ``fossa compare`` and reports read.

The layout of the file is written down in docs/evaluation.md.
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
from typing import Any

from fossa_ros import __version__
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.metrics import mean_metrics
from fossa_ros.io.atomic import replacing

FORMAT = "fossa_ros results 1"
LARGEST_FILE = 256_000_000  # bytes
Plain = str | float | int | bool | None


@dataclass(frozen=True, eq=False)
class Run:
    """Every image of a set under one setting.

    Attributes:
        setting: what distinguishes this run from others of the same file, such as f-number and planes.
        images: of each image, by its name, the figures of ``depth_metrics`` and others by name; NaN where unknown.
        extra: what else belongs to the run, as JSON holds it.
    """

    setting: Mapping[str, Plain]
    images: Mapping[str, Mapping[str, float]]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The setting in one line; "as recorded" where it says nothing."""
        return label(self.setting)

    @cached_property
    def mean(self) -> dict[str, float]:
        """Every figure averaged over the images, each image counting alike."""
        return mean_metrics(self.images.values())


@dataclass(frozen=True, eq=False)
class Results:
    """What a model reached on a set.

    Attributes:
        benchmark: name of the set.
        model: what was evaluated: ``name``, and what else tells it from others, such as ``checkpoint``.
        runs: one a setting, at least one.
        versions: of the software that made the figures, by package.
        made: date and time, ISO 8601.
    """

    benchmark: str
    model: Mapping[str, Plain]
    runs: tuple[Run, ...]
    versions: Mapping[str, str] = field(default_factory=lambda: software_versions())
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def label(setting: Mapping[str, Plain]) -> str:
    """Put a setting into one line."""
    words = {"f_number": "F{:g}", "planes": "{} planes", "focus": "{}"}
    said = [
        words[name].format(value) if name in words else name if value is True else f"{name} {value}"
        for name, value in setting.items()
        if value is not None and value is not False
    ]
    return ", ".join(said) or "as recorded"


def software_versions() -> dict[str, str]:
    """Return the versions of what figures depend on."""
    found = {"fossa_ros": __version__, "python": platform.python_version()}
    for package in ("numpy", "opencv-python-headless", "scipy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_results(path, results: Results) -> None:
    """Write ``results`` to a JSON file, whole or not at all.

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
        partial.write_text(json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_results(path) -> Results:
    """Read what ``write_results`` wrote.

    Raises:
        InputError: no such file, or another kind of one, in a sentence.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is too large for results; give a file that fossa evaluate wrote.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file that fossa evaluate wrote.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON; give a file that fossa evaluate wrote.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not marked '{FORMAT}'; give a file that fossa evaluate of this version wrote.")
    try:
        runs = tuple(
            Run(
                _plain(run["setting"]),
                {_text(name): _figures(figures) for name, figures in _filled(run["images"], dict).items()},
                _a(run.get("extra", {}), dict),
            )
            for run in _filled(content["runs"], list)
        )
        for run in runs:
            if len({tuple(figures) for figures in run.images.values()}) != 1:
                raise TypeError
        return Results(
            _text(content["benchmark"]),
            _plain(content["model"]),
            runs,
            {name: _text(value) for name, value in _a(content["versions"], dict).items()},
            _text(content["made"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not have the layout of docs/evaluation.md; make it again.") from error


def _without_nan(value):
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _a(value, kind):
    if not isinstance(value, kind):
        raise TypeError
    return value


def _filled(value, kind):
    if not _a(value, kind):
        raise TypeError
    return value


def _text(value) -> str:
    return _a(value, str)


def _plain(value) -> dict[str, Plain]:
    return {name: _a(part, str | float | int | bool | None) for name, part in _a(value, dict).items()}


def _figures(value) -> dict[str, float]:
    return {
        name: float("nan") if part is None else float(_a(part, float | int))
        for name, part in _filled(value, dict).items()
    }
