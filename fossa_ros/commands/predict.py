"""``fossa predict``: a focus stack from disk, its depth to disk, and a summary."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from fossa_ros.atomic import check_writable
from fossa_ros.estimator import ESTIMATORS, create_estimator
from fossa_ros.predict import predict, write_outputs
from fossa_ros.stack_files import load_stack


@click.command("predict")
@click.argument("stack", type=click.Path(path_type=Path))
@click.option("--estimator", default="classical", show_default=True, help=f"One of {', '.join(ESTIMATORS)}.")
@click.option("--model", help="Network of the fossa estimator.")
@click.option("--checkpoint", help="Weights of the fossa estimator: a file or a name on the hub.")
@click.option("--device", help="Where the fossa estimator runs: auto, cpu, cuda or cuda:INDEX.")
@click.option("--precision", help="Numbers the fossa estimator runs in: fp32, bf16 or fp16.")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.  [default: NAME-depth]")
@click.option(
    "--fx", type=click.FloatRange(min=0, min_open=True), help="Focal length in px of the input's images."
)
@click.option(
    "--max-size",
    type=click.IntRange(min=0),
    default=1280,
    show_default=True,
    help="Long edge in px at which depth is estimated; 0 is the input's own.",
)
def command(stack, estimator, out, fx, max_size, **network):
    """Turn a focus stack into metric depth.

    STACK is an .npz file or a folder with stack.json (docs/stack-files.md). Written are depth.npy (float32
    metres, NaN unknown), depth.png, all_in_focus.png, confidence.png, cloud.ply where the intrinsics are
    known, and metrics.json where the true depth is.
    """
    options = {name: value for name, value in network.items() if value is not None}
    if options and estimator != "fossa":
        raise click.UsageError(f"--{next(iter(options))} belongs to --estimator fossa.")
    out = out or Path(f"{stack.resolve().stem}-depth")
    check_writable(out)
    estimator = create_estimator(estimator, **options)
    source = load_stack(stack, fx)
    with Console(stderr=True).status("Estimating depth"):
        prediction = predict(source, estimator, max_size)
    written = write_outputs(out, prediction)
    Console().print(_summary(stack, source, estimator, prediction, out, written))
    if prediction.depth_map.K is None:
        click.echo("cloud.ply was left out because the intrinsics are unknown; give --fx.")


def _summary(path, source, estimator, prediction, out, written):
    table = Table(show_header=False, box=None, title=str(path), title_justify="left")
    stack, depth = source.stack, prediction.depth
    height, width = stack.size
    work_height, work_width = prediction.depth_map.depth.shape
    table.add_row("planes", f"{len(stack)} of {width}x{height}, " + _distances(stack.focus_distances))
    table.add_row(
        "intrinsics",
        "unknown" if stack.K is None else f"fx {stack.K[0, 0]:.1f} px, from {source.intrinsics_from}",
    )
    table.add_row("estimator", f"{estimator.name} at {work_width}x{work_height}, {prediction.seconds:.2f} s")
    known = np.isfinite(depth)
    if known.any():
        low, middle, high = np.percentile(depth[known], (1, 50, 99))
        table.add_row("depth", f"{low:.3g} to {high:.3g} m (1st to 99th percentile), median {middle:.3g} m")
    table.add_row("coverage", f"{100 * known.mean():.1f} %")
    table.add_row("written", f"{out}: " + ", ".join(written))
    return table


def _distances(distances):
    return "focused at " + ", ".join(f"{distance:.3g}" for distance in distances) + " m"
