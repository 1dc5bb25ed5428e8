"""Benchmarks in their published layouts, by name.

Files are not trusted. Incomplete data is refused, with its source, because figures over a part of a set would pass for
figures over the set.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.datasets.benchmark import Benchmark

SETS = {
    "zedd": ("zedd:Zedd", "ZEDD, the validation split: real stacks"),
    "infinigen": ("infinigen:Infinigen", "Infinigen Defocus: rendered stacks"),
    "ibims": ("uniformat:Ibims", "iBims-1: real images, synthetic defocus"),
    "diode": ("uniformat:Diode", "DIODE: real images, synthetic defocus"),
    "hammer": ("hammer:Hammer", "HAMMER: real images, synthetic defocus"),
    "ddff12": ("ddff12:Ddff12", "DDFF-12: real stacks of a light-field camera"),
    "photographs": ("photographs:Photographs", "photographs with depth, refocused past occlusions"),
    "simulated": ("simulated:Simulated", "scenes of the simulator; needs no data"),
    "stacks": ("stacks:Stacks", "your own stacks: docs/stack-files.md"),
}


WITHOUT_DATA = ("simulated",)


def open_set(name: str, folder: str | Path | None = None, **options) -> Benchmark:
    """Open a set by name.

    Args:
        name: one of ``SETS``.
        folder: of the data; None for one of ``WITHOUT_DATA``.
        options: of the set: ``device`` that renders RGB-D sets; ``split`` of zedd.

    Raises:
        InputError: the name is unknown, the folder does not exist, or the data has another layout.
    """
    if name not in SETS:
        raise InputError(f"There is no set '{name}'; choose one of {', '.join(SETS)}.")
    if name in WITHOUT_DATA:
        folder = None
    elif folder is None or not Path(folder).exists():
        raise InputError(f"{folder} does not exist; give the folder of the data.")
    module, kind = SETS[name][0].split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), kind)(folder and Path(folder), **options)
