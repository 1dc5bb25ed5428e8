"""The timeline of a sweep as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fossa_ros.io.pictures import write_figure
from fossa_ros.sweep.planner import MS, Timeline


def draw(found: Timeline, path: Path) -> None:
    """Draw the position of the lens and the exposures, and mark those that are used.

    Raises:
        InputError: matplotlib does not know the format, or the file cannot be written.
    """
    figure = Figure(figsize=(9, 3.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    times = np.arange(0, found.length_ns, 100_000)
    axes.plot(times / MS, _powers(found, times), color="tab:blue", linewidth=1.2, label="lens")
    for exposure in found.exposures:
        used = exposure.slot is not None
        axes.axvspan(
            max(exposure.start_ns, 0) / MS,
            min(exposure.end_ns, found.length_ns) / MS,
            color="tab:green" if used else "0.85",
            alpha=0.45 if used else 0.7,
            linewidth=0,
        )
    for distance in found.plan.focus_distances:
        axes.axhline(1 / distance, color="0.6", linewidth=0.5, linestyle=":")
        axes.annotate(f"{distance:.2f} m", (1.003, 1 / distance), xycoords=("axes fraction", "data"), fontsize=8)
    axes.set(xlim=(0, found.length_ns / MS), xlabel="ms", ylabel="focus (dioptres)")
    axes.set_title(
        f"{found.config.mode}, {len(found.plan.focus_distances)} planes at {1e9 / found.latencies.period_ns:.0f} Hz, "
        f"{found.config.output}: {found.depth_rate:.1f} depth maps a second   "
        "(green: exposures used, grey: not used)",
        fontsize=9,
    )
    write_figure(path, figure)


def _powers(found: Timeline, times: np.ndarray) -> np.ndarray:
    """Return the focus of the lens in dioptres: an exponential approach to each command."""
    tau = found.config.response.time_constant_ns
    powers = np.empty(len(times))
    # Before its first command the lens holds the plane at which the last sweep ended.
    position = target = found.commands[0].power if found.commands else np.nan
    start = 0
    commands = iter([*found.commands, None])
    following = next(commands)
    for index, t in enumerate(times):
        while following is not None and following.acknowledged_ns <= t:
            position = target + (position - target) * np.exp(-(following.acknowledged_ns - start) / tau)
            start, target = following.acknowledged_ns, following.power
            following = next(commands)
        powers[index] = target + (position - target) * np.exp(-(t - start) / tau)
    return powers
