"""Plot AbsRel against coverage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fossa_ros.evaluation.coverage import CoverageCurve
from fossa_ros.io.pictures import write_figure


def draw_coverage(path: Path, curves: Mapping[str, CoverageCurve], title: str) -> None:
    """Draw AbsRel by confidence as a line for each name, and that of the best possible ranking dashed.

    Args:
        path: picture to write, one that ``check_plot`` accepts.
        curves: by the name of the model.
        title: of the picture.

    Raises:
        InputError: the file cannot be written.
    """
    figure = Figure(figsize=(5.4, 3.8), dpi=130, layout="constrained")
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        coverage = 100 * np.array(curve.coverage)
        axes.plot(coverage, np.array(curve.by_confidence, float), color=f"C{index}", label=name)
        axes.plot(coverage, np.array(curve.best, float), color=f"C{index}", linestyle="--", linewidth=1)
    axes.plot([], [], color="0.4", linestyle="--", linewidth=1, label="best possible ranking")
    axes.set(xlabel="coverage: share of the pixels with known truth (%)", ylabel="AbsRel (lower is better)")
    axes.set(xlim=(0, 100), ylim=(0, None))
    axes.set_title(title, fontsize=10)
    axes.grid(color="#dddddd")
    axes.legend(loc="upper left", frameon=False)
    write_figure(path, figure)
