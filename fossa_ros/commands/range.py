"""``fossa range``: the depth range and error to expect of a lens and a camera."""

from __future__ import annotations

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from fossa_ros.commands.option_types import FILE, NUMBER, FocusDistance
from fossa_ros.commands.plan import PLANES
from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.parameters.capture_config import SweepParameters
from fossa_ros.sweep import SweepPlan
from fossa_ros.sweep.working_range import BLUR_ERROR_PX, IN_FOCUS_PX, WorkingRange

ROWS = 8  # distances shown where none are given


@click.command("range")
@click.option("--focal-length", required=True, type=NUMBER, help="Focal length, mm.")
@click.option("--f-number", required=True, type=NUMBER, help="Focal length over aperture diameter.")
@click.option(
    "--pixel-size", type=NUMBER, help="Pixel size of the images used, um; larger than the sensor's if binned."
)
@click.option("--fx", type=NUMBER, help="Focal length in px of these images, instead of the pixel size.")
@click.option(
    "--near",
    default=str(SweepParameters.near),
    show_default=True,
    type=FocusDistance(),
    help="Nearest plane of a sweep.",
)
@click.option(
    "--far", default=str(SweepParameters.far), show_default=True, type=FocusDistance(), help="Farthest plane."
)
@click.option(
    "--planes",
    default=PLANES.default,
    show_default=True,
    type=click.IntRange(PLANES.minimum, PLANES.maximum),
    help="Planes of a sweep.",
)
@click.option("--distance", "distances", multiple=True, type=FocusDistance(), help="Distance to show; repeatable.")
@click.option(
    "--blur-error",
    default=BLUR_ERROR_PX,
    show_default=True,
    help="Standard deviation of measured blur, px (docs/optics.md).",
)
@click.option(
    "--error", "percent", default=5.0, show_default=True, type=NUMBER, help="Largest error of usable depth, percent."
)
@click.option("--out", type=FILE, help="Also draw it: a PNG, SVG or PDF file.")
def command(focal_length, f_number, pixel_size, fx, near, far, planes, distances, blur_error, percent, out):
    """Print blur, depth of field and the depth error to expect of a lens and a camera.

    Distances are in metres or in dioptres (2D). Blur is that of a thin lens; depth error is the error of a blur
    measured to --blur-error.
    """
    if (pixel_size is None) == (fx is None):
        raise InputError("Give either --pixel-size or --fx; blur in px depends on the pixel size.")
    if not percent > 0:
        raise InputError(f"--error must be a positive number of percent, not {percent:g}.")
    if out is not None:
        from fossa_ros.io.pictures import check_figure

        check_figure(out)
    metres = focal_length / 1e3
    size = pixel_size / 1e6 if fx is None else optics.pixel_size(metres, fx) if fx > 0 else fx
    lens = WorkingRange(metres, f_number, size, SweepPlan.evenly(near, far, planes), blur_error)
    console = Console()
    console.print(_table(lens, sorted(distances) or _shown(lens)))
    for sentence in _sentences(lens, percent / 100):
        console.print(sentence, soft_wrap=True)
    if out is not None:
        from fossa_ros.commands.range_plot import draw

        draw(lens, percent / 100, out)
        console.print(f"Drawn in {out}.")


def _shown(lens: WorkingRange) -> list[float]:
    """Return distances evenly spaced in dioptres over the range of the planes, and two beyond it."""
    between = optics.dioptre_space(lens.nearest, min(lens.farthest, 100.0), ROWS - 2).tolist()
    return [*between, 2 * between[-1], 4 * between[-1]]


def _table(lens: WorkingRange, distances: list[float]) -> Table:
    nearest, farthest = (f"{plane:.3g} m" for plane in (lens.nearest, lens.farthest))
    table = Table(
        "m",
        "D",
        "in focus (m)",
        caption=f"Distance, range in focus there, blur (px) with the focus at {nearest} and {farthest}, depth error.",
        caption_justify="left",
    )
    for heading in (f"px at {nearest}", f"px at {farthest}", "error (m)", "%"):
        table.add_column(heading, justify="right")
    for distance in distances:
        low, high = (float(end) for end in lens.in_focus(distance))
        error = float(lens.depth_error(distance))
        known = np.isfinite(error) and np.isfinite(distance)
        table.add_row(
            f"{distance:.3g}",
            f"{float(optics.dioptres(distance)):.2f}",
            f"{low:.3g} to {high:.3g}",
            f"{float(lens.blur(distance, lens.nearest)):.1f}",
            f"{float(lens.blur(distance, lens.farthest)):.1f}",
            f"+- {error:.2g}" if known else "unbounded",
            f"{100 * error / distance:.1f}" if known else "",
        )
    return table


def _sentences(lens: WorkingRange, relative_error: float):
    scale = float(lens.blur_per_dioptre(lens.farthest))
    step = float(np.abs(np.diff(optics.dioptres(lens.plan.focus_distances))).max())
    yield (
        f"Blur grows by {scale:.2f} px per dioptre; measured to {lens.blur_error:g} px, it gives depth to "
        f"{lens.blur_error / scale:.3f} D."
    )
    yield (
        f"{len(lens.plan.focus_distances)} planes from {lens.nearest:.3g} to {lens.farthest:.3g} m are {step:.2f} D "
        f"apart, {step * scale:.1f} px of blur; around each, {2 * IN_FOCUS_PX / scale:.2f} D are in focus, with less "
        f"than {IN_FOCUS_PX:g} px of blur."
    )
    reach = lens.reach(relative_error)
    share = f"{100 * relative_error:g}%"
    if not reach:
        yield (
            f"Depth is not accurate to {share} anywhere from {lens.nearest:.3g} m on; use a longer focal length, a "
            "smaller f-number or smaller pixels, or go nearer."
        )
    elif reach < lens.farthest:
        yield f"Depth is accurate to {share} up to {reach:.2f} m, and less up to the farthest plane."
    else:
        yield f"Depth is accurate to {share} up to {reach:.2f} m."
