"""Run the simulated rig and fossa_node in processes of their own, connected by DDS, and record the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fossa_ros.core.errors import FossaError, InputError
from fossa_ros.io.atomic import check_replaceable, replacing_files
from fossa_ros.io.installed import share
from fossa_ros.ros import environment
from fossa_ros.ros.demo_results import FILES, SUMMARY, describe_failure, print_summary, summarise, write_results
from fossa_ros.ros.recorder import Recorder, Run

READY_TIMEOUT_S = 180.0  # to render the scene on a busy single core
BUMP_AT = 0.5  # share of the run
BUMP_AGAIN_S = 2.0  # after a knock between two sweeps, or within one that was incomplete anyway
EXTENSION_S = 30.0  # of the run, for a busy machine on which no knock has met a complete sweep yet
TICK_S = 0.1
BAG = "bag"
DISTORTION = (-0.35, 0.12, 0.001, -0.001, 0.0)
"""Of the rig's lens, plumb_bob: a corner of the raw image shows what a lens without it would show 87 px outside."""
SHUTDOWN_TIMEOUT_S = 10.0


class DemoFailed(FossaError):
    """The demo could not be completed."""


def run_demo(
    out: Path,
    seconds: float = 20.0,
    scene: int = 0,
    parameters: dict[str, str] | None = None,
    raw: bool = False,
    distortion: bool = False,
) -> dict[str, Any]:
    """Sweep a simulated scene with real nodes, knock the camera, and write the results to ``out``.

    The nodes get a ROS domain of their own on this machine, unless ``ROS_DOMAIN_ID`` is set.

    Args:
        out: folder for summary.json, pictures, cloud, bag and logs.
        seconds: duration of the run; up to ``EXTENSION_S`` more until a sweep has been rejected because of a knock.
        scene: seed of the rig's scene.
        parameters: of fossa_node, in addition to config/rig.yaml.
        raw: whether the bag holds every frame and lens state in place of the node's results.
        distortion: whether the rig's lens distorts by DISTORTION.

    Returns:
        The figures of ``summary.json``.

    Raises:
        FossaError: a node ended, or published nothing, or ``out`` holds a bag that is of no demo.
    """
    if not seconds > 0:
        raise InputError(f"The demo must run for a positive number of seconds, not {seconds:g}.")
    environment.complete()
    check_replaceable(Path(out), (BAG,), SUMMARY, "demo")
    out, domain = Path(out), os.environ.get("ROS_DOMAIN_ID", "")
    with environment.isolated(), replacing_files(out, FILES) as work:
        run = _record(work, seconds, scene, parameters or {}, raw, distortion)
        summary = summarise(run, seconds)
        if not summary["sweeps_scored"]:
            raise _failure(describe_failure(summary, domain), work)
        write_results(run, summary, work)
    print_summary(summary, out)
    return summary


@dataclass(frozen=True)
class _Nodes:
    """The node processes of a run, and the folder of their logs."""

    processes: list[subprocess.Popen[bytes]]
    logs: Path

    def check(self) -> None:
        """Raise DemoFailed if one of them has ended."""
        if any(process.poll() is not None for process in self.processes):
            raise _failure("A node ended unexpectedly.", self.logs)


def _record(work: Path, seconds: float, scene: int, parameters: dict[str, str], raw: bool, distortion: bool) -> Run:
    with contextlib.ExitStack() as stack:
        link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fossa-rig-"))) / "lens"
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.try_shutdown)
        recorder = stack.enter_context(Recorder(work / BAG, raw))
        overrides: dict[str, dict[str, object]] = {
            "sim_rig_node": {"autostart": "true", "scene": scene, "lens.link": link},
            "fossa_node": {"lens.port": link, **parameters},
        }
        if distortion:
            overrides["sim_rig_node"]["camera.distortion"] = str(list(DISTORTION))
        nodes = _Nodes([stack.enter_context(_process(name, overrides[name], work)) for name in overrides], work)
        with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console()) as bar:
            _await_first_sweep(recorder, nodes, link, bar)
            _sweep(recorder, nodes, bar, seconds)
        return recorder.run


@contextlib.contextmanager
def _process(name: str, overrides: dict[str, object], logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node until the block ends."""
    config = share() / "config" / "rig.yaml"
    command = [sys.executable, "-m", f"fossa_ros.ros.{name}", "--ros-args", "--params-file", str(config)]
    for key, value in overrides.items():
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


def _await_first_sweep(recorder: Recorder, nodes: _Nodes, lens: Path, bar: Progress) -> None:
    """Activate fossa_node once the lens of the rig exists and the rig can be knocked.

    A node that activates itself could sweep before the recorder is connected, and the bag would lack its first sweep.
    """
    rendering = bar.add_task("Rendering the rig's scene at every focus", total=1.0)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not recorder.run.reports:
        nodes.check()
        if time.monotonic() > deadline:
            raise _failure(f"No sweep within {READY_TIMEOUT_S:.0f} s.", nodes.logs)
        bar.update(rendering, completed=recorder.run.rendered)
        if lens.exists() and recorder.can_bump() and not recorder.fossa_node.advance():
            raise _failure("fossa_node does not start.", nodes.logs)
        time.sleep(TICK_S)
    bar.update(rendering, completed=1.0)


def _sweep(recorder: Recorder, nodes: _Nodes, bar: Progress, seconds: float) -> None:
    sweeping = bar.add_task("Sweeping", total=seconds)
    recorder.run.restart()
    start, noticed, next_bump = time.monotonic(), False, BUMP_AT * seconds
    while (elapsed := time.monotonic() - start) < (seconds if noticed else seconds + EXTENSION_S):
        nodes.check()
        accepted, verdicts = len(recorder.run.accepted()), recorder.run.verdicts()
        knocked = recorder.run.knocks > 0
        noticed = knocked and verdicts["rejected"] > 0
        if elapsed >= next_bump and not noticed:
            recorder.bump()
            next_bump = elapsed + BUMP_AGAIN_S
        counts = ", ".join([f"{accepted} accepted", *(f"{count} {verdict}" for verdict, count in verdicts.items())])
        bar.update(sweeping, completed=elapsed, description=f"Sweeping: {counts}{' (knocked)' if knocked else ''}")
        time.sleep(TICK_S)
    bar.update(sweeping, completed=seconds)


def _failure(sentence: str, logs: Path) -> DemoFailed:
    """Return the error with the ends of the nodes' logs, which say more."""
    ends = "\n".join(line for log in sorted(logs.glob("*.log")) for line in log.read_text().splitlines()[-5:])
    return DemoFailed(f"{sentence} End of the logs:\n{ends}")
