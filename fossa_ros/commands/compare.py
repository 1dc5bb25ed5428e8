"""``fossa compare``: two files of figures side by side."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fossa_ros.commands.evaluate import PLAIN
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.comparison import LEVEL, RESAMPLES, compare_runs
from fossa_ros.evaluation.results import Results, Run, read_results

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("compare")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--setting-a", help="Take this run of A alone, as its tables call it.")
@click.option("--setting-b", help="Take this run of B alone.")
@click.option("--figure", "figures", multiple=True, help="Only this figure, by its name in the file; repeatable.")
@click.option("--resamples", default=RESAMPLES, show_default=True, type=click.IntRange(100, 1_000_000), help="Draws.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the draws.")
def command(a, b, setting_a, setting_b, figures, resamples, seed):
    """Compare two files of figures, with confidence intervals.

    A and B are files that fossa evaluate --json wrote of the same set: two models, or two settings. Runs of the same
    setting are compared; two single runs are, whatever their settings. Intervals are those of the difference of the
    means when images are drawn anew, the same ones for both.
    """
    first, second = read_results(a), read_results(b)
    if first.benchmark != second.benchmark:
        raise InputError(f"{a} is of {first.benchmark} and {b} of {second.benchmark}; compare files of the same set.")
    console = Console()
    for run_a, run_b in pair(first, second, setting_a, setting_b):
        compared = compare_runs(run_a, run_b, resamples, seed)
        wanted = [row for row in compared if not figures or row.figure in figures]
        if not wanted:
            raise InputError(f"There is no figure {', '.join(figures)} in both; there is {compared[0].figure}.")
        common = run_a.images.keys() & run_b.images.keys()
        label = run_a.label if run_a.label == run_b.label else f"{run_a.label} / {run_b.label}"
        console.print(escape(f"{first.benchmark}: {label}, {len(common)} images"))
        table = Table(**PLAIN)
        for name in ("", "A", "B", "B - A", f"{100 * LEVEL:.0f} % interval", "better"):
            table.add_column(name, justify="left" if name in ("", "better") else "right", no_wrap=True)
        for row in wanted:
            interval = "" if row.low != row.low else f"{row.low:+.4f} .. {row.high:+.4f}"
            table.add_row(
                row.figure if row.images == len(common) else f"{row.figure} ({row.images})",
                f"{row.a:.4f}",
                f"{row.b:.4f}",
                f"{row.difference:+.4f}",
                interval,
                row.better.upper(),
            )
        console.print(table)
        left_out = len(run_a.images) + len(run_b.images) - 2 * len(common)
        if left_out:
            console.print(f"{left_out} images of only one of the two runs are left out.")
    console.print(escape(f"A: {described(first)} ({a})\nB: {described(second)} ({b})"))


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
        raise InputError("The two files have no setting in common; choose one of each by --setting-a and --setting-b.")
    return pairs


def chosen(results: Results, setting: str | None, option: str) -> tuple[Run, ...]:
    """Return the runs of a setting, or all of them."""
    runs = tuple(run for run in results.runs if setting is None or run.label == setting)
    if not runs:
        listed = "; ".join(run.label for run in results.runs)
        raise InputError(f"There is no run '{setting}'; {option} is one of: {listed}.")
    return runs


def described(results: Results) -> str:
    """Put a model into words."""
    return ", ".join(
        f"{value}" if name == "name" else f"{name} {value}"
        for name, value in results.model.items()
        if value is not None and name != "checkpoint_sha256"
    )
