"""``fossa compare``: two files of figures, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fossa_ros.commands.evaluation_tables import PLAIN
from fossa_ros.commands.option_types import FILE
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.comparison import LEVEL, RESAMPLES, Compared, compare_runs
from fossa_ros.evaluation.coverage import CoverageCurve, curve_of
from fossa_ros.evaluation.results import Results, Run, read_results


@click.command("compare")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--setting-a", help="Compare only this run of A, by its name in the tables.  [default: all]")
@click.option("--setting-b", help="Compare only this run of B.  [default: all]")
@click.option("--figure", "figures", multiple=True, help="Print only this figure, by its name in the file; repeatable.")
@click.option("--plot", type=FILE, help="Draw AbsRel against coverage, a line for each model.")
@click.option(
    "--resamples",
    default=RESAMPLES,
    show_default=True,
    type=click.IntRange(100, 1_000_000),
    help="Bootstrap resamples of the images.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the resamples.")
def command(a, b, setting_a, setting_b, figures, plot, resamples, seed):
    """Compare two files of figures, with confidence intervals.

    A and B are files of fossa evaluate --json for one set: of two models or two settings. Runs of the same setting are
    compared; if each file has one run, these are compared whatever their settings. The intervals are bootstrap
    intervals of the difference of the means, with the same resampled images for both.
    """
    first, second = read_results(a), read_results(b)
    if first.benchmark != second.benchmark:
        raise InputError(f"{a} is of {first.benchmark} and {b} of {second.benchmark}; compare files of the same set.")
    console = Console()
    pairs = pair(first, second, setting_a, setting_b)
    if plot is not None:
        from fossa_ros.evaluation.coverage_plot import draw_coverage
        from fossa_ros.evaluation.study_plot import check_plot

        check_plot(plot)
        draw_coverage(plot, coverage_curves(((a, first), (b, second)), pairs), first.benchmark)
    for run_a, run_b in pairs:
        compared = compare_runs(run_a, run_b, resamples, seed)
        rows = [row for row in compared if not figures or row.figure in figures]
        if not rows:
            raise InputError(f"There is no figure {', '.join(figures)} in both; there is {compared[0].figure}.")
        common = len(run_a.images.keys() & run_b.images.keys())
        label = run_a.label if run_a.label == run_b.label else f"{run_a.label} / {run_b.label}"
        console.print(escape(f"{first.benchmark}: {label}, {common} images"))
        console.print(comparison_table(rows, common))
        left_out = len(run_a.images) + len(run_b.images) - 2 * common
        if left_out:
            console.print(f"{left_out} images of only one of the two runs are left out.")
    console.print(escape(f"A: {described(first)} ({a})\nB: {described(second)} ({b})"))


def coverage_curves(
    files: Sequence[tuple[Path, Results]], pairs: Sequence[tuple[Run, Run]]
) -> dict[str, CoverageCurve]:
    """Return the curves of two files' runs by name: that of the model, with the setting where it alone differs.

    Raises:
        InputError: a file has no error by coverage.
    """
    sources = [(path, results, run) for both in pairs for (path, results), run in zip(files, both, strict=True)]
    models = [str(results.model["name"]) for _, results, _ in sources]
    if len(set(models)) < len(models):
        models = [f"{model}, {run.label}" for model, (_, _, run) in zip(models, sources, strict=True)]
    if len(set(models)) < len(models):
        models = [f"{path.name}: {model}" for model, (path, _, _) in zip(models, sources, strict=True)]
    return {model: curve_of(run, path) for model, (path, _, run) in zip(models, sources, strict=True)}


def comparison_table(rows: Sequence[Compared], images: int) -> Table:
    """Return a table of compared figures; a figure that fewer than ``images`` images have shows their number."""
    table = Table(**PLAIN)
    for name in ("", "A", "B", "B - A", f"{100 * LEVEL:.0f} % interval", "better"):
        table.add_column(name, justify="left" if name in ("", "better") else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.figure if row.images == images else f"{row.figure} ({row.images})",
            f"{row.a:.4f}",
            f"{row.b:.4f}",
            f"{row.difference:+.4f}",
            "" if math.isnan(row.low) else f"{row.low:+.4f} .. {row.high:+.4f}",
            row.better.upper(),
        )
    return table


def pair(a: Results, b: Results, setting_a: str | None, setting_b: str | None) -> list[tuple[Run, Run]]:
    """Choose the runs that are compared with each other.

    Raises:
        InputError: there are none.
    """
    chosen_a, chosen_b = chosen(a, setting_a, "--setting-a"), chosen(b, setting_b, "--setting-b")
    if len(chosen_a) == len(chosen_b) == 1:
        return [(chosen_a[0], chosen_b[0])]
    by_label = {run.label: run for run in chosen_b}
    pairs = [(run, by_label[run.label]) for run in chosen_a if run.label in by_label]
    if not pairs:
        raise InputError("The two files have no setting in common; give --setting-a and --setting-b.")
    return pairs


def chosen(results: Results, setting: str | None, option: str) -> tuple[Run, ...]:
    """Return the runs of a setting, or all of them."""
    runs = tuple(run for run in results.runs if setting is None or run.label == setting)
    if not runs:
        listed = "; ".join(run.label for run in results.runs)
        raise InputError(f"There is no run '{setting}'; {option} is one of: {listed}.")
    return runs


def described(results: Results) -> str:
    """Describe a model in words."""
    return ", ".join(
        f"{value}" if name == "name" else f"{name} {value}"
        for name, value in results.model.items()
        if value is not None and name != "checkpoint_sha256"
    )
