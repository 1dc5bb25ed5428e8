"""Plot error over f-number, number of planes and choice of focus."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.comparison import mean_interval
from fossa_ros.evaluation.results import Results
from fossa_ros.io.pictures import write_figure

AXES = {"f_number": "f-number", "planes": "planes", "focus": "focus distances"}
FORMATS = (".png", ".svg", ".pdf")
_FIGURES = (("abs_rel", "AbsRel", "#c23b22"), ("delta_1.05", "delta < 1.05", "#1f5fa8"))


def draw_study(path: Path, results: Results, title: str) -> None:
    """Draw AbsRel (left scale) and delta < 1.05 (right) against each kind of setting that varies.

    Whiskers are the bootstrap interval of the mean over the images.

    Args:
        path: picture to write, one that ``check_plot`` accepts.
        results: runs of one model with different settings.
        title: of the picture.

    Raises:
        InputError: the file cannot be written.
    """
    panels = {kind: _varied(results, kind) for kind in AXES}
    panels = {kind: runs for kind, runs in panels.items() if len(runs) > 1}
    figure = Figure(figsize=(1.2 + 3.4 * len(panels), 3.6), dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    twins = [axis.twinx() for axis in axes]
    for index, (kind, runs) in enumerate(panels.items()):
        left, right = axes[index], twins[index]
        for axis, (figure_name, label, colour) in zip((left, right), _FIGURES, strict=True):
            means = [run.mean[figure_name] for run in runs]
            intervals = [mean_interval([image[figure_name] for image in run.images.values()]) for run in runs]
            # A single image has no interval.
            reach = [
                [0.0 if end != end else abs(end - mean) for (mean, end) in zip(means, ends, strict=True)]
                for ends in zip(*intervals, strict=True)
            ]
            marker = "o" if axis is left else "s"
            line = "none" if kind == "focus" else "-"
            offset = 0.06 if axis is right else -0.06  # whiskers beside each other
            places = [place + offset for place in range(len(runs))]
            axis.errorbar(
                places, means, reach, marker=marker, linestyle=line, color=colour, capsize=3, label=label, linewidth=1.4
            )
        left.set_xticks(range(len(runs)), [_tick(kind, run.setting[kind]) for run in runs])
        left.set_xlim(-0.4, len(runs) - 0.6)
        left.set_xlabel(AXES[kind])
        left.grid(axis="y", color="#dddddd")
        left.tick_params(axis="y", colors=_FIGURES[0][2])
        right.tick_params(axis="y", colors=_FIGURES[1][2])
    _share_scale(axes, _FIGURES[0][0], panels)
    _share_scale(twins, _FIGURES[1][0], panels)
    axes[0].set_ylabel(f"{_FIGURES[0][1]} (lower is better)", color=_FIGURES[0][2])
    twins[-1].set_ylabel(f"{_FIGURES[1][1]} (higher is better)", color=_FIGURES[1][2])
    write_figure(path, figure)


def check_plot(path: Path) -> None:
    """Check the file format of a plot, before the evaluation.

    Raises:
        InputError: the format is not one of ``FORMATS``.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"A plot is a {', '.join(FORMATS)} file, not '{path.name}'; give --plot another suffix.")


def _varied(results: Results, kind: str) -> list:
    """Return the largest group of runs that differ in one kind of setting only."""
    groups: dict[tuple, dict] = {}
    for run in results.runs:
        if kind in run.setting:
            others = tuple(sorted((name, str(value)) for name, value in run.setting.items() if name != kind))
            groups.setdefault(others, {})[run.setting[kind]] = run
    largest = max(groups.values(), key=len, default={})
    if kind == "focus":
        return list(largest.values())
    return [largest[value] for value in sorted(largest)]


def _tick(kind: str, value) -> str:
    return f"F{value:g}" if kind == "f_number" else str(value)


def _share_scale(axes, figure_name, panels) -> None:
    values = [run.mean[figure_name] for runs in panels.values() for run in runs]
    ends = [axis.get_ylim() for axis in axes]
    high = max(end for _, end in ends)
    low = 0.0 if min(values) >= 0 else min(end for end, _ in ends)
    for axis in axes:
        axis.set_ylim(low, high)
