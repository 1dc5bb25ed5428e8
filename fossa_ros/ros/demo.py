"""The whole package in one command: a simulated rig and the real node in processes of their own, over DDS."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fossa_ros.core.errors import FossaError, InputError
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.io.atomic import replacing_files
from fossa_ros.io.installed import share
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
from fossa_ros.ros import environment
from fossa_ros.ros.recorder import Recorder, Run

READY_TIMEOUT_S = 180.0  # to render the scene on a busy single core
BUMP_AT = 0.5  # share of the run
BUMP_AGAIN_S = 2.0  # after a knock that met a sweep which had lost a plane anyway, or the gap between two
LONGER_S = 10.0  # for a machine so busy that no knock of the run met a whole sweep
TICK_S = 0.1
SHUTDOWN_TIMEOUT_S = 10.0
FILES = ("summary.json", "overview.jpg", "depth.png", "all_in_focus.png", "confidence.png", "cloud.ply")


class DemoFailed(FossaError):
    """The demo could not be run to its end."""


def run_demo(
    out: Path, seconds: float = 20.0, scene: int = 0, parameters: dict[str, str] | None = None, raw: bool = False
) -> dict:
    """Sweep a simulated scene with real nodes, knock the camera, and write what came of it to ``out``.

    Args:
        out: folder for summary.json, pictures, cloud, bag and logs.
        seconds: how long to sweep; up to ten more until a knock has been noticed.
        scene: seed of the rig's scene.
        parameters: of fossa_node, beside config/rig.yaml.
        raw: whether the bag holds every frame and lens state, not what the node makes of them.

    Returns:
        The figures of ``summary.json``.

    Raises:
        FossaError: a node died, or nothing was heard of it.
    """
    if not seconds > 0:
        raise InputError(f"The demo must run for a positive number of seconds, not {seconds:g}.")
    environment.complete()
    out = Path(out)
    with _interrupted_by_sigterm(), replacing_files(out, FILES) as work:
        run = _record(work, seconds, scene, parameters or {}, raw)
        summary = summarise(run, seconds)
        if not summary["sweeps_scored"]:
            raise DemoFailed(
                f"No sweep of {summary['sweeps']} gave depth of the camera at rest ({summary['not_accepted']}); "
                f"run it for longer. Last words:\n{_last_words(work)}"
            )
        _write(run, summary, work)
    _print(summary, out)
    return summary


def summarise(run: Run, seconds: float) -> dict:
    """Return the figures of a run: counts, mean errors against the truth, median times."""
    accepted = run.accepted()
    scored = [depth_metrics(depth, truth) for depth, truth in run.scored()]
    metrics = mean_metrics(scored) if scored else {}
    verdicts = run.verdicts()

    def mean(name: str) -> float | None:
        return round(metrics[name], 4) if metrics else None

    def median(values) -> float | None:
        values = [value for value in values if value == value]
        return round(float(np.median(values)), 1) if values else None

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


@dataclass(frozen=True)
class _Nodes:
    """The node processes of a run, and the folder of their logs."""

    processes: list[subprocess.Popen]
    logs: Path

    def check(self) -> None:
        """Raise DemoFailed if one of them has ended."""
        if any(process.poll() is not None for process in self.processes):
            raise DemoFailed(f"A node ended by itself; last words:\n{_last_words(self.logs)}")


def _record(work: Path, seconds: float, scene: int, parameters: dict[str, str], raw: bool) -> Run:
    with contextlib.ExitStack() as stack:
        link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fossa-rig-"))) / "lens"
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.try_shutdown)
        recorder = stack.enter_context(Recorder(work / "bag", raw))
        overrides = {
            "sim_rig_node": {"scene": scene, "lens.link": link},
            "fossa_node": {"lens.port": link, **parameters},
        }
        nodes = _Nodes([stack.enter_context(_process(name, overrides[name], work)) for name in overrides], work)
        with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console()) as bar:
            _await_first_sweep(recorder, nodes, bar)
            _sweep(recorder, nodes, bar, seconds)
        return recorder.run


@contextlib.contextmanager
def _process(name: str, overrides: dict[str, object], logs: Path) -> Iterator[subprocess.Popen]:
    """Run a node until the block ends, whatever ends it."""
    config = share() / "config" / "rig.yaml"
    command = [sys.executable, "-m", f"fossa_ros.ros.{name}", "--ros-args", "--params-file", str(config)]
    for key, value in {"autostart": "true", **overrides}.items():
        command += ["-p", f"{key}:={value}"]
    with (logs / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment.child_environment())
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(SHUTDOWN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_first_sweep(recorder: Recorder, nodes: _Nodes, bar: Progress) -> None:
    rendering = bar.add_task("Rendering the rig's scene at every focus", total=1.0)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not recorder.run.reports:
        nodes.check()
        if time.monotonic() > deadline:
            raise DemoFailed(f"No sweep within {READY_TIMEOUT_S:.0f} s; last words:\n{_last_words(nodes.logs)}")
        bar.update(rendering, completed=recorder.run.rendered)
        time.sleep(TICK_S)
    bar.update(rendering, completed=1.0)


def _sweep(recorder: Recorder, nodes: _Nodes, bar: Progress, seconds: float) -> None:
    sweeping = bar.add_task("Sweeping", total=seconds)
    recorder.run.restart()
    began, bumped, noticed, next_bump = time.monotonic(), False, False, BUMP_AT * seconds
    while (elapsed := time.monotonic() - began) < (seconds if noticed else seconds + LONGER_S):
        nodes.check()
        accepted, verdicts = len(recorder.run.accepted()), recorder.run.verdicts()
        noticed = bumped and verdicts["rejected"] > 0
        if elapsed >= next_bump and not noticed:
            recorder.bump()
            bumped, next_bump = True, elapsed + BUMP_AGAIN_S
        told = ", ".join([f"{accepted} accepted", *(f"{count} {verdict}" for verdict, count in verdicts.items())])
        bar.update(sweeping, completed=elapsed, description=f"Sweeping: {told}{' (bumped)' if bumped else ''}")
        time.sleep(TICK_S)
    bar.update(sweeping, completed=seconds)


def _last_words(logs: Path) -> str:
    return "\n".join(line for log in sorted(logs.glob("*.log")) for line in log.read_text().splitlines()[-5:])


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that no child outlives this process."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _overview(run: Run) -> np.ndarray:
    """Return one picture of what went in and what came out, beside the truth."""
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


def _write(run: Run, summary: dict, folder: Path) -> None:
    write_picture(folder / "overview.jpg", _overview(run))
    write_picture(folder / "depth.png", depth_picture(run.depths[max(run.depths)]))
    write_picture(folder / "all_in_focus.png", run.all_in_focus)
    write_picture(folder / "confidence.png", confidence_picture(run.confidence))
    write_ply(folder / "cloud.ply", run.cloud)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def _print(summary: dict, out: Path) -> None:
    table = Table(title=f"{summary['seconds']:g} s of sweeps, written to {out}", show_header=False)
    table.add_row("sweeps accepted", str(summary["sweeps_accepted"]))
    for verdict, count in summary["not_accepted"].items():
        table.add_row(f"sweeps {verdict}", str(count))
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
