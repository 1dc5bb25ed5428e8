"""The tables that ``fossa evaluate`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from fossa_ros.evaluation.coverage import SHOWN, CoverageCurve, curve_of
from fossa_ros.evaluation.datasets import Benchmark
from fossa_ros.evaluation.metrics import DELTA_THRESHOLDS
from fossa_ros.evaluation.published import PUBLISHED
from fossa_ros.evaluation.results import Results

COLUMNS = {
    **{name: name.replace("delta_", "d<") for name in DELTA_THRESHOLDS},
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "mse": "MSE",
    "rmse": "RMSE",
    "rmse_log": "RMSE log",
    "log10": "log10",
    "silog_0.5": "SiLog",
    "boundary_f1": "edge F1",
    "coverage": "coverage",
    "seconds": "seconds",
}
FEW = ("delta_1.05", "delta_1.25", "abs_rel", "rmse", "boundary_f1", "coverage", "seconds")
PLAIN: dict[str, Any] = {"box": None, "padding": (0, 2, 0, 0)}


def tables(results: Results, benchmark: Benchmark, in_protocol: bool, each: bool) -> Iterator[str | Table]:
    """Yield titles and tables: one of all runs, or one beside the published figures; with ``each``, of every image."""
    title = f"{benchmark.title}{', of disparity in px' if benchmark.in_disparity else ''}"
    if len(results.runs) == 1:
        run = results.runs[0]
        yield escape(f"{title}: {run.label}, {len(run.images)} images")
        yield beside_published(results)
        if results.benchmark in PUBLISHED:
            yield f"* published, of all images{'' if in_protocol else ' and another setting'}"
    else:
        yield escape(f"{title}, {results.model['name']}")
        yield figures_table("setting", {run.label: run.mean for run in results.runs})
    for run in results.runs:
        if each:
            yield escape(f"\n{run.label}")
            yield figures_table("image", run.images)
    yield "\nAbsRel of the most confident pixels, as a share of all with known depth (of the best possible ranking)"
    yield coverage_table({run.label: curve_of(run, "the evaluation") for run in results.runs})


def beside_published(results: Results) -> Table:
    """Return a table of one run, with what others have published for the set."""
    run, published = results.runs[0], PUBLISHED.get(results.benchmark, {})
    table = Table(**PLAIN)
    table.add_column("")
    for name in (results.model["name"], *(f"{name}*" for name in published)):
        table.add_column(escape(name), justify="right")
    for figure, label in COLUMNS.items():
        row = [f"{other[figure]:.4f}" if figure in other else "" for other in published.values()]
        table.add_row(label, f"{run.mean[figure]:.4f}", *row)
    return table


def figures_table(first: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table of the main figures, a row each."""
    table = Table(**PLAIN)
    table.add_column(first)
    for figure in FEW:
        table.add_column(COLUMNS[figure], justify="right", no_wrap=True, min_width=len(COLUMNS[figure]))
    for name, figures in rows.items():
        table.add_row(escape(name), *(f"{figures[figure]:.{3 if figure == 'seconds' else 4}f}" for figure in FEW))
    return table


def coverage_table(rows: Mapping[str, CoverageCurve]) -> Table:
    """Return a table of AbsRel at some coverages, a row each; "-" where fewer pixels have a depth."""
    table = Table(**PLAIN)
    table.add_column("setting")
    for share in SHOWN:
        table.add_column(f"{share:.0%}".replace("%", " %"), justify="right", no_wrap=True)
    for name, curve in rows.items():
        errors = [curve.at(share) for share in SHOWN]
        table.add_row(escape(name), *("-" if a is None else f"{a:.3f} ({best:.3f})" for a, best in errors))
    return table
