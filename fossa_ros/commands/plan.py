"""``fossa plan``: the timeline of two sweeps with a given camera and lens."""

from __future__ import annotations

import click

from fossa_ros.commands.option_types import FILE, MILLISECONDS, FocusDistance, Number
from fossa_ros.parameters.capture_config import SweepParameters
from fossa_ros.parameters.config import parameters_of
from fossa_ros.sweep import SweepConfig, SweepMode, SweepOutput, SweepPlan, SweepTiming
from fossa_ros.sweep.lens_response import LensResponse
from fossa_ros.sweep.planner import Latencies, expectation, timeline

MODES = tuple(str(mode) for mode in SweepMode if mode.drives_lens)
PLANES = next(each for each in parameters_of(SweepParameters) if each.name == "planes")
MS = 1e6  # nanoseconds


@click.command("plan")
@click.option(
    "--near",
    default=SweepParameters.near,
    show_default=True,
    type=FocusDistance(),
    help="Nearest focus distance, metres or dioptres (2D).",
)
@click.option(
    "--far",
    default=SweepParameters.far,
    show_default=True,
    type=FocusDistance(),
    help="Farthest focus distance; inf is allowed.",
)
@click.option(
    "--planes",
    default=PLANES.default,
    show_default=True,
    type=click.IntRange(PLANES.minimum, PLANES.maximum),
    help="Planes of a sweep.",
)
@click.option("--rate", default=30.0, show_default=True, type=Number(1, 1000), help="Frames per second.")
@click.option(
    "--exposure",
    default=SweepTiming.exposure_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Exposure time, ms.",
)
@click.option(
    "--readout",
    default=SweepTiming.readout_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Rolling shutter, from the first to the last row, ms.",
)
@click.option(
    "--settling",
    default=Latencies.settling_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Time from acknowledgement until the lens has settled, ms.",
)
@click.option(
    "--time-constant",
    default=LensResponse.time_constant_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Time constant of the lens in a ramp, ms.",
)
@click.option(
    "--acknowledge",
    default=Latencies.acknowledge_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Time from a command to its acknowledgement, ms.",
)
@click.option(
    "--latency",
    default=Latencies.latency_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Time from the end of an exposure to the arrival of its image, ms.",
)
@click.option(
    "--margin",
    default=SweepTiming.clock_margin_ns / MS,
    show_default=True,
    type=MILLISECONDS,
    help="Largest disagreement of camera and lens clock, ms.",
)
@click.option(
    "--mode", default=str(SweepConfig.mode), show_default=True, type=click.Choice(MODES), help="How the lens moves."
)
@click.option(
    "--output",
    default=str(SweepConfig.output),
    show_default=True,
    type=click.Choice(list(map(str, SweepOutput))),
    help="Depth once a sweep, or with every plane.",
)
@click.option("--out", type=FILE, help="Also draw the timeline: a PNG, SVG or PDF file.")
def command(
    near,
    far,
    planes,
    rate,
    exposure,
    readout,
    settling,
    time_constant,
    acknowledge,
    latency,
    margin,
    mode,
    output,
    out,
):
    """Print the timeline of two sweeps and the depth rate to expect.

    The figures come from the sweep logic of the nodes, run with a camera and a lens without faults.
    """
    from rich.console import Console

    from fossa_ros.commands.timeline_view import printed

    if out is not None:
        from fossa_ros.io.pictures import check_figure

        check_figure(out)
    found = timeline(
        SweepPlan.evenly(near, far, planes),
        SweepTiming(
            settling_ns=_ns(settling), exposure_ns=_ns(exposure), readout_ns=_ns(readout), clock_margin_ns=_ns(margin)
        ),
        SweepConfig(
            mode=SweepMode(mode),
            output=SweepOutput(output),
            response=LensResponse(time_constant_ns=_ns(time_constant)),
        ),
        Latencies(round(1e9 / rate), _ns(latency), _ns(acknowledge), _ns(settling)),
    )
    console = Console()
    console.print(printed(found, console.width))
    distances = ", ".join(f"{distance:.2f}" for distance in found.plan.focus_distances)
    console.print(f"Planes at {distances} m.")
    console.print(expectation(found), soft_wrap=True)
    if out is not None:
        from fossa_ros.commands.timeline_plot import draw

        draw(found, out)
        console.print(f"Drawn in {out}.")


def _ns(milliseconds: float) -> int:
    return round(milliseconds * MS)
