"""``fossa live``: a camera and a lens on a bench, from sweeps to depth, without ROS."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from fossa_ros.commands.option_types import INTRINSICS, PATH, POSITIVE, Numbers
from fossa_ros.commands.signals import ended_by_signal
from fossa_ros.core.errors import InputError

if TYPE_CHECKING:  # slow to import: when the command runs, not for its help
    from fossa_ros.evaluation.live_outputs import LiveOutputs
    from fossa_ros.evaluation.live_view import LiveWindow
    from fossa_ros.pipeline.result import SweepResult

RATED = 8  # depth maps over which the rate is taken


@click.command("live")
@click.option("--camera", default="0", show_default=True, help="Number, device or URL that OpenCV opens.")
@click.option("--size", type=Numbers("width,height", int), help="Size of the images to ask the camera for.")
@click.option("--fx", type=POSITIVE, help="Focal length of the camera in pixels of these images.")
@click.option("--intrinsics", type=INTRINSICS, help="Intrinsics of the camera, in place of --fx.")
@click.option("--backend", help="Lens driver; see 'fossa lens list'.  [default: lens.backend]")
@click.option("--port", help="Where the lens is: serial port, video device.  [default: lens.port]")
@click.option("--calibration", type=PATH, help="Calibration file of 'fossa calibrate'.  [default: lens.calibration]")
@click.option("--params", type=PATH, help="Parameter file of fossa_node (YAML).")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Set a parameter of fossa_node.")
@click.option("--sweeps", type=click.IntRange(min=1), help="End after so many sweeps.  [default: at Ctrl-C]")
@click.option("--view", is_flag=True, help="Show planes and depth in a window; q ends.")
@click.option("--out", type=PATH, help="Write replay.json, pictures and report.html to this folder, at the end.")
@click.option(
    "--pictures", type=click.IntRange(min=0), default=5, show_default=True, help="Pictures of every Nth depth map."
)
def command(camera, size, fx, intrinsics, backend, port, calibration, params, pairs, sweeps, view, out, pictures):
    """Make depth with a camera and a lens on a bench, without ROS.

    Sweeps, motion check and estimator are those of fossa_node, with its parameters. Images are stamped when they
    arrive: sweep.delay, 0.1 s by default, is the longest that this may take after the exposure. Each sweep is a line:
    its verdict, depth and the rate, or why it has no depth. Ctrl-C ends.
    """
    if (fx is None) == (intrinsics is None):
        raise click.UsageError(
            "give --fx, the focal length in pixels, or --intrinsics; for a horizontal angle of view a, "
            "fx = width / (2 tan(a / 2))."
        )
    from fossa_ros.evaluation.live import WEBCAM, LiveRig, pinhole
    from fossa_ros.io.atomic import check_writable
    from fossa_ros.io.camera_source import is_file
    from fossa_ros.io.video import open_video
    from fossa_ros.parameters.node_config import FossaNodeConfig
    from fossa_ros.parameters.parameter_file import read_config

    given = {"lens.backend": backend, "lens.port": port, "lens.calibration": calibration}
    pairs = [*pairs, *(f"{name}={value}" for name, value in given.items() if value is not None)]
    config = read_config(
        FossaNodeConfig,
        "fossa_node",
        params,
        pairs,
        defaults=WEBCAM,
        warn=lambda remark: click.echo(f"Warning: {remark}", err=True),
    )
    if out is not None:
        check_writable(out)
    with contextlib.ExitStack() as stack:
        ended = stack.enter_context(ended_by_signal())
        window = stack.enter_context(contextlib.closing(opened)) if view and (opened := _window()) else None
        rig = LiveRig(config, open_video(camera, size), camera, partial(pinhole, fx=fx, given=intrinsics))
        if is_file(camera):
            raise InputError(
                f"--camera {camera} is a recording, whose images do not follow the lens; give a camera, or replay a "
                "bag with 'fossa replay'."
            )
        stack.enter_context(rig)
        outputs = None
        if out is not None:
            from fossa_ros.evaluation.live_outputs import LiveOutputs

            stack.callback(_report, out)
            outputs = stack.enter_context(LiveOutputs(out, f"camera {camera}", rig.estimator.name, pictures))
        _run(rig, ended, sweeps, window, outputs)


def _report(out: Path) -> None:
    from fossa_ros.commands.report import write_page

    click.echo(f"The report is {write_page([out], out / 'report.html')}.")


def _run(rig, ended, sweeps: int | None, window: LiveWindow | None, outputs: LiveOutputs | None) -> None:
    """Print, show and write every sweep until the end."""
    rate, done = _Rate(), 0
    for event in rig.events(ended):
        if isinstance(event, str):
            click.echo(event)
        elif event is not None:
            click.echo(line(event, rate.of(event, time.monotonic())))
            if outputs is not None:
                outputs.write(event)
            if window is not None:
                window.show(event)
            done += 1
        if done == sweeps or (window is not None and window.is_ended()):
            return


def _window() -> LiveWindow | None:
    """Open the window; None, and a sentence, where there can be none."""
    from fossa_ros.evaluation.live_view import LiveWindow

    try:
        return LiveWindow()
    except InputError as error:
        click.echo(f"Warning: {error}", err=True)
        return None


class _Rate:
    """The rate of depth over the last RATED depth maps."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=RATED)

    def of(self, result: SweepResult, seconds: float) -> float:
        """Return the rate (Hz) with a result at a time; NaN while there are not two depth maps."""
        if result.depth is not None:
            self._times.append(seconds)
        if len(self._times) < 2:
            return np.nan
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])


def line(result: SweepResult, rate: float) -> str:
    """Return what is printed of a sweep: verdict, depth and rate (Hz), or why there is no depth."""
    head = f"sweep {result.sweep.number}: {result.verdict}"
    if result.depth is None:
        return f"{head}: {result.reason}"
    depth = result.depth.depth
    known = np.isfinite(depth)
    what = "no pixel known"
    if known.any():
        low, middle, high = np.percentile(depth[known], (1, 50, 99))
        what = f"{low:.3g} to {high:.3g} m, median {middle:.3g} m, {known.mean():.0%} known"
    speed = "" if np.isnan(rate) else f", {rate:.2g} Hz"
    warning = "" if result.findings is None else result.findings.warning
    moved = "" if np.isnan(result.motion_px) else f", motion {result.motion_px:.1f} px"
    return f"{head}, depth {what}{moved}{speed}{'. ' if warning else ''}{warning}"
