"""Blur and depth error over distance, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fossa_ros.io.pictures import write_figure
from fossa_ros.sweep.working_range import IN_FOCUS_PX, WorkingRange

TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # m
LARGEST_ERROR = 0.3  # of the distance, the end of the axis


def draw(lens: WorkingRange, relative_error: float, path: Path) -> None:
    """Draw the blur of every plane and the error of depth over distance.

    Raises:
        InputError: matplotlib does not know the format, or the file cannot be written.
    """
    figure = Figure(figsize=(11, 4.2), dpi=90, layout="constrained")
    blurs, errors = figure.subplots(1, 2)
    far = min(lens.farthest, 50.0)
    distances = np.geomspace(0.7 * lens.nearest, max(3 * far, 1.5 * min(lens.reach(relative_error), 10 * far)), 1200)
    _blurs(blurs, lens, distances)
    _errors(errors, lens, distances, relative_error)
    for axes in (blurs, errors):
        axes.set(xscale="log", xlim=(distances[0], distances[-1]), xlabel="distance [m]")
        axes.set_xticks([tick for tick in TICKS if distances[0] <= tick <= distances[-1]])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(which="both", lw=0.3)
    figure.suptitle(
        f"{1e3 * lens.focal_length:g} mm, F/{lens.f_number:g}, pixels of {1e6 * lens.pixel_size:.3g} um: "
        f"{float(lens.blur_per_dioptre(lens.farthest)):.2f} px per dioptre",
        fontsize=11,
    )
    write_figure(path, figure)


def _blurs(axes, lens: WorkingRange, distances) -> None:
    for number, plane in enumerate(lens.plan.focus_distances):
        line = axes.plot(distances, lens.blur(distances, plane), lw=1.2, color=f"C{number % 10}")[0]
        if np.isfinite(plane):
            axes.plot(plane, 0, "o", ms=5, color=line.get_color(), clip_on=False, zorder=3)
    axes.axhspan(0, IN_FOCUS_PX, color="0.9", lw=0)
    axes.set(title="blur of each plane (dot: its focus; grey: in focus)", ylabel="diameter of blur [px]")
    axes.set_ylim(0, 1.05 * float(lens.blur(distances[-1], lens.nearest)))


def _errors(axes, lens: WorkingRange, distances, relative_error: float) -> None:
    axes.plot(distances, 100 * lens.depth_error(distances) / distances, color="tab:red", lw=1.5)
    axes.axhline(100 * relative_error, color="0.4", lw=0.8, ls="--")
    axes.axvspan(lens.nearest, min(lens.farthest, distances[-1]), color="0.92", lw=0)
    axes.set(
        title=f"depth error, blur measured to {lens.blur_error:g} px (grey: in the sweep)",
        ylabel="% of the distance",
        ylim=(0, 100 * LARGEST_ERROR),
    )
