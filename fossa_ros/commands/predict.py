"""``fossa predict``: a focus stack from disk, its depth to disk, and a summary."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fossa_ros.commands.option_types import PATH, POSITIVE
from fossa_ros.commands.progress import stages
from fossa_ros.core.errors import InputError, RefusedStack
from fossa_ros.estimators.factory import ESTIMATORS, create_estimator, estimator_options
from fossa_ros.pipeline.depth_limits import DepthLimits

MOST_ACCURATE = "lens_aware"  # whatever the device: nothing waits for a single stack, as a robot waits for its sweeps


@click.command("predict")
@click.argument("stack", type=PATH)
@click.option("--estimator", default=MOST_ACCURATE, show_default=True, help=f"One of {', '.join(ESTIMATORS)}.")
@click.option("--model", help="Network of the fossa estimator: vits, vitb or vitl.  [default: vits]")
@click.option("--checkpoint", help="Weights of a network: a file or a name on the hub.  [default: those shipped]")
@click.option("--device", help="Device of a network: auto, cpu, cuda or cuda:INDEX.  [default: auto]")
@click.option("--precision", help="Precision of the fossa estimator: fp32, bf16 or fp16.  [default: fp32]")
@click.option("--compile", is_flag=True, default=None, help="Use torch.compile for the fossa estimator.")
@click.option("--out", type=PATH, help="Output folder.  [default: NAME-depth]")
@click.option("--align/--no-align", default=None, help="Align the planes first.  [default: photographs yes, .npz no]")
@click.option(
    "--focus-check/--no-focus-check",
    default=True,
    help="Refuse a stack in which the blur of the planes contradicts their focus distances.  [default: refuse]",
)
@click.option("--fx", type=POSITIVE, help="Focal length in px of the input's images.")
@click.option(
    "--bits",
    type=click.IntRange(8, 16),
    help="Bits that photographs of 16 bits a channel use.  [default: those that their values need]",
)
@click.option(
    "--max-size",
    type=click.IntRange(min=0),
    default=1280,
    show_default=True,
    help="Long edge in px at which depth is estimated; 0 keeps the input's size.",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=DepthLimits.min_confidence,
    show_default=True,
    help="Depth less certain is unknown; 0 keeps all.",
)
@click.option("--min-range", type=click.FloatRange(0), default=0.0, help="Nearer depth (m) is unknown.")
@click.option("--max-range", type=click.FloatRange(0), default=0.0, help="Farther depth (m) is unknown; 0: no limit.")
def command(
    stack, estimator, out, align, focus_check, fx, bits, max_size, min_confidence, min_range, max_range, **network
):
    """Turn a focus stack into metric depth.

    STACK is an .npz file, a folder with stack.json, or that stack.json (docs/stack-files.md). The output is depth.npy
    (float32 metres, NaN unknown), depth.png, all_in_focus.png, confidence.png, cloud.ply where the intrinsics are
    known, and metrics.json where the true depth is.
    """
    from fossa_ros.evaluation.metrics import depth_metrics
    from fossa_ros.io.atomic import check_writable
    from fossa_ros.io.stack_files import load_stack
    from fossa_ros.pipeline.predict import check_outputs, predict, write_outputs

    limits = DepthLimits(min_confidence, min_range, max_range)
    options = {name: value for name, value in network.items() if value is not None}
    taken = () if estimator == "auto" else estimator_options(estimator)  # auto would drop them without a word
    if foreign := [name for name in options if name not in taken]:
        having = " or ".join(name for name in ESTIMATORS if name != "auto" and foreign[0] in estimator_options(name))
        raise click.UsageError(
            f"--{foreign[0]} is no option of {estimator}; leave it out, or give --estimator {having}."
        )
    out = out or Path(f"{default_name(stack.resolve())}-depth")
    check_writable(out)
    estimator = create_estimator(estimator, **options)
    with stages("Reading the stack", 3) as next_stage:
        source = load_stack(stack, fx, bits)
        check_outputs(out, source.files)
        next_stage("Estimating depth")
        align = source.photographs if align is None else align
        try:
            prediction = predict(
                source.stack,
                estimator,
                align=align,
                max_size=max_size,
                names=source.names,
                limits=limits,
                focus_check=focus_check,
            )
        except RefusedStack as error:
            raise InputError(f"{error} If the stack is right all the same, give --no-focus-check.") from error
        next_stage("Writing the results")
        metrics = None if source.truth is None else depth_metrics(prediction.depth, source.truth)
        written = write_outputs(out, prediction, metrics)
        next_stage("Done")
    table = Table(show_header=False, box=None, title=escape(str(stack)), title_justify="left")
    for row in _summary(source, prediction, estimator.description, limits):
        table.add_row(*row)
    if metrics is not None and np.isfinite(prediction.depth).any():
        table.add_row("errors", _errors(metrics))
    table.add_row("written", escape(f"{out}: " + ", ".join(written)))
    Console().print(table)
    if prediction.depth_map.K is None:
        click.echo("cloud.ply is not written without intrinsics; give --fx, the focal length in pixels.")


def default_name(stack: Path) -> str:
    """Return the name of a stack: of its folder, or of its file without the suffix."""
    from fossa_ros.io.stack_description import DESCRIPTION

    folder = stack.parent if stack.name == DESCRIPTION else stack
    return folder.name if folder.is_dir() else stack.stem


def _summary(source, prediction, estimator, limits):
    stack, depth = source.stack, prediction.depth
    height, width = stack.size
    distances = ", ".join(f"{distance:.3g}" for distance in stack.focus_distances)
    yield "planes", f"{len(stack)} of {width}x{height}, focused at {distances} m"
    if source.bits is not None:
        yield "pixels", f"16 bits a channel, of which {source.bits} are used; give --bits if the camera has more"
    if stack.K is not None:
        yield "intrinsics", f"fx {stack.K[0, 0]:.1f} px, from {source.intrinsics_from}"
    if stack.rectification is not None:
        view = stack.rectification
        distortion = (
            f"{view.model} {' '.join(f'{number:g}' for number in view.coefficients)}" if view.distorts else "none"
        )
        yield "distortion", f"{distortion}; the depth is that of the rectified view, fx {view.P[0, 0]:.1f} px"
    yield "alignment", _alignment(prediction)
    height, width = prediction.depth_map.depth.shape
    yield "estimator", f"{estimator}, at {width}x{height}, {prediction.seconds:.2f} s"
    known = np.isfinite(depth)
    if prediction.findings.warning:
        yield "warning", prediction.findings.warning
    yield "coverage", f"{100 * known.mean():.1f} % of the image"
    if known.any():
        low, middle, high = np.percentile(depth[known], (1, 50, 99))
        yield "depth", f"{low:.3g} to {high:.3g} m (1st to 99th percentile), median {middle:.3g} m"
    else:
        yield (
            "depth",
            f"none is as certain as --min-confidence {limits.min_confidence:g} asks and within --min-range and "
            "--max-range; --min-confidence 0 shows what there is",
        )


def _errors(metrics):
    return (
        f"AbsRel {metrics['abs_rel']:.4f}, RMSE {metrics['rmse']:.3f} m, within a factor of 1.05: "
        f"{100 * metrics['delta_1.05']:.1f} %, of 1.25: {100 * metrics['delta_1.25']:.1f} %"
    )


def _alignment(prediction):
    report = prediction.alignment
    if report is None:
        return "none; the planes are assumed to be registered"
    before, after = (np.nan_to_num(px).max() for px in (report.misalignment_px, report.residual_px))
    return (
        f"by up to {report.shift_px.max():.1f} px and {100 * np.abs(report.scale - 1).max():.1f} % of scale; "
        f"{before:.1f} px between neighbours became {after:.1f} px, {prediction.alignment_seconds:.2f} s"
    )
