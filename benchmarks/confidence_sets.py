"""Stacks with known depth by which confidence is fitted and measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fossa_ros.core.stack import FocusStack
from fossa_ros.evaluation.datasets import open_set

F_NUMBERS = (1.4, 2.8, 4.0)  # of photographs


def samples(kind: str, folder: str) -> Iterator[tuple[str, FocusStack, np.ndarray]]:
    """Yield name, stack and (H, W) truth in metres of a set of ``fossa evaluate``."""
    data = open_set(kind, Path(folder))
    for f_number in F_NUMBERS if kind == "photographs" else (data.protocol.f_number,):
        for index, name in enumerate(data.names):
            sample = data.sample(index, replace(data.protocol, f_number=f_number))
            if sample is not None:
                yield name, sample.stack, sample.truth
