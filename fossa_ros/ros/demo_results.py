"""The results of a demo: figures, pictures and a cloud."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.io.pictures import (
    colour_depth,
    confidence_picture,
    contact_sheet,
    depth_picture,
    depth_range,
    error_picture,
    write_picture,
)
from fossa_ros.io.ply import write_ply
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.ros.recorder import Run

SUMMARY = "summary.json"
FILES = (SUMMARY, "overview.jpg", "depth.png", "all_in_focus.png", "confidence.png", "cloud.ply")
# What to change where most sweeps without depth have a verdict.
REMEDIES = {
    "rejected": "run the demo for longer (--seconds), so that sweeps follow the knock",
    "failed": "mend what the estimator reports in the log",
    "incomplete": "stop other programs, which leave it too little processor time to handle every frame",
    "superseded": "stop other programs, or choose a faster estimator",
    "stale": "stop other programs, or choose a faster estimator",
    "inconsistent": "let the parameters of the camera and the lens of node and rig be the same",
}


def summarise(run: Run, seconds: float) -> dict[str, Any]:
    """Return the figures of a run: numbers of sweeps, mean errors against the truth, median times."""
    accepted = run.accepted()
    scored = [depth_metrics(depth, truth) for depth, truth in run.scored()]
    metrics = mean_metrics(scored) if scored else {}
    verdicts = run.verdicts()

    def mean(name: str) -> float | None:
        return round(metrics[name], 4) if metrics else None

    def median(values: Iterable[float]) -> float | None:
        known = [value for value in values if np.isfinite(value)]
        return round(float(np.median(known)), 1) if known else None

    return {
        "sweeps": len(run.reports),
        "sweeps_accepted": len(accepted),
        "sweeps_rejected": verdicts["rejected"],
        "not_accepted": dict(verdicts),
        "rejections": {str(report.sweep): report.reason for report in run.reports if report.verdict == "rejected"},
        "sweeps_scored": len(scored),
        "abs_rel": mean("abs_rel"),
        "delta_1_25": mean("delta_1.25"),
        "coverage": mean("coverage"),
        "depth_rate_hz": round(len(accepted) / seconds, 2),
        "sweep_ms": median(report.sweep_ms for report in accepted),
        "motion_ms": median(report.motion_ms for report in accepted),
        "inference_ms": median(report.inference_ms for report in accepted),
        "seconds": seconds,
    }


def write_results(run: Run, summary: dict[str, Any], folder: Path) -> None:
    """Write the ``FILES`` of a run."""
    write_picture(folder / "overview.jpg", _overview(run))
    write_picture(folder / "depth.png", depth_picture(run.depths[max(run.depths)]))
    write_picture(folder / "all_in_focus.png", run.all_in_focus)
    write_picture(folder / "confidence.png", confidence_picture(run.confidence))
    write_ply(folder / "cloud.ply", run.cloud)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def describe_failure(summary: dict[str, Any], domain: str) -> str:
    """Return one sentence: why no depth of a run can be compared with the truth, and what to change.

    Args:
        summary: figures of the run, by ``summarise``.
        domain: the ``ROS_DOMAIN_ID`` that the user has set, which other nodes may use too; may be empty.
    """
    verdicts = summary["not_accepted"]
    counts = {"accepted": summary["sweeps_accepted"], **verdicts}
    seen = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    most = max(verdicts, key=verdicts.get, default=None)
    if summary["sweeps_accepted"]:
        change = "run the demo for longer (--seconds), so that a sweep ends before the knock"
    elif most in REMEDIES:
        change = REMEDIES[most]
    else:
        change = "stop other programs, which leave it too little processor time"
    if domain:
        change += f", or unset ROS_DOMAIN_ID ({domain}), in case other nodes of that domain took part"
    return f"No depth could be scored in {summary['seconds']:g} s ({summary['sweeps']} sweeps: {seen}): {change}."


def print_summary(summary: dict[str, Any], out: Path) -> None:
    """Print the figures as a table."""
    table = Table(title=f"{summary['seconds']:g} s of sweeps, written to {out}", show_header=False)
    table.add_row("sweeps accepted", str(summary["sweeps_accepted"]))
    for verdict, count in {"rejected": 0, **summary["not_accepted"]}.items():
        table.add_row(f"sweeps {verdict}", str(count))
    if not summary["rejections"]:
        table.add_row("  the knock", "met no complete sweep")
    for sweep, reason in summary["rejections"].items():
        table.add_row(f"  sweep {sweep}", reason)
    table.add_row("depth AbsRel", f"{summary['abs_rel']:.3f}")
    table.add_row("depth delta < 1.25", f"{summary['delta_1_25']:.3f}")
    table.add_row("depth known", f"{summary['coverage']:.1%} of the view")
    table.add_row("sweep", f"{summary['sweep_ms']:.0f} ms")
    table.add_row("motion check", f"{summary['motion_ms']:.0f} ms")
    table.add_row("inference", f"{summary['inference_ms']:.0f} ms")
    table.add_row("depth rate", f"{summary['depth_rate_hz']:.1f} Hz")
    Console().print(table)


def _overview(run: Run) -> np.ndarray:
    """Return one picture of three planes, the all-in-focus image, the depth and its error."""
    depth, truth = run.scored()[-1]
    planes = sorted(zip(run.stack.focus_distances, run.stack.planes, strict=True), key=lambda plane: plane[0])
    shown = [planes[0], planes[len(planes) // 2], planes[-1]]
    near, far = depth_range(truth)
    return contact_sheet(
        [
            *((f"focused at {distance:.2f} m", rgb_from_message(image)) for distance, image in shown),
            ("all in focus", run.all_in_focus),
            (f"depth, {near:.1f} m red to {far:.1f} m blue", colour_depth(depth, near, far)),
            ("relative error, black 0 to bright 25 %", error_picture(depth, truth)),
        ],
        columns=3,
    )
