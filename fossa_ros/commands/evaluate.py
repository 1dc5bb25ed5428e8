"""``fossa evaluate``: a model on a benchmark, beside the published figures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn

from fossa_ros.commands.option_types import FILE, PATH, Number, Values, ValuesCommand, finite_number, one_of
from fossa_ros.commands.progress import counted, progress_bar, stages
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.evaluation.coverage import curve_of
from fossa_ros.evaluation.datasets import SETS, WITHOUT_DATA, open_set
from fossa_ros.evaluation.disturbance import Disturbance
from fossa_ros.evaluation.evaluate import INTERRUPTED, evaluate, vary
from fossa_ros.evaluation.protocol import FOCUS
from fossa_ros.evaluation.published import CHECKPOINTS
from fossa_ros.evaluation.results import Results, write_results
from fossa_ros.io.atomic import check_files

MODELS = ("classical", "lens_aware", "vits", "vitb", "vitl")
NUMBERS, COUNTS, WORDS = Values("numbers", finite_number), Values("counts", int), Values("words", one_of(*FOCUS))


@click.command("evaluate", cls=ValuesCommand)
@click.argument("set_name", metavar="SET", type=click.Choice(list(SETS)))
@click.option("--data", type=PATH, help="Folder of the set.")
@click.option("--model", default="classical", show_default=True, type=click.Choice(MODELS), help="Model to evaluate.")
@click.option("--checkpoint", help="Its weights: a file or a hub name.  [default: the published ones of vits and vitb]")
@click.option("--device", help="Device of a network: auto, cpu, cuda or cuda:INDEX.  [default: auto]")
@click.option("--precision", help="Precision of a network: fp32, bf16 or fp16.  [default: fp32]")
@click.option("--apertures", type=NUMBERS, default=(), help="F-numbers, such as 1.4,2.8,4.")
@click.option("--planes", type=COUNTS, default=(), help="Numbers of planes, such as 3,5,7,9.")
@click.option("--focus", type=WORDS, default=(), help=f"How focus distances are chosen: {', '.join(FOCUS)}.")
@click.option("--shuffle", is_flag=True, help="Shuffle the order of the planes.")
@click.option(
    "--misstate",
    default=0.0,
    show_default=True,
    type=Number(0, 1, max_open=True),
    help="Largest relative error of the focus distances that the model gets.",
)
@click.option("--blind", is_flag=True, help="Withhold f-number and focal length from the model.")
@click.option(
    "--misstate-aperture",
    default=0.0,
    show_default=True,
    type=Number(-1, 10, min_open=True),
    help="Relative error of the f-number that the model gets.",
)
@click.option(
    "--noise", default=0.0, show_default=True, type=Number(0, 255), help="White noise on the planes, grey levels."
)
@click.option(
    "--soften",
    default=0.0,
    show_default=True,
    type=Number(0, 50),
    help="Gaussian blur of all planes, px, before noise.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of order, errors and noise."
)
@click.option("--limit", type=click.IntRange(1), help="Evaluate the first N images only.")
@click.option("--images", "each", is_flag=True, help="Print the figures of every image too.")
@click.option("--json", "json_file", type=FILE, help="Write every figure to this file.")
@click.option("--plot", type=FILE, help="Draw error against the varied setting, or against coverage.")
@click.option("--zedd-submission", type=FILE, help="Write the zip of the test split for the test server of zedd.")
@click.option("--check-submission", type=FILE, help="Check such a zip, and do nothing else.")
def command(set_name, data, model, checkpoint, device, precision, json_file, plot, each, limit, **options):
    """Score a model on a benchmark under its published protocol.

    SET is zedd, infinigen, ibims, diode, hammer or ddff12 in its published layout; stacks, a folder of your own stacks;
    photographs with depth, refocused; or simulated (docs/evaluation.md). Several --apertures, --planes or --focus make
    a study: each is varied while the others stay as in the protocol.
    """
    submission, check = options.pop("zedd_submission"), options.pop("check_submission")
    if (submission or check) and set_name != "zedd":
        raise click.UsageError("Submissions go to the test server of zedd only; give the set zedd.")
    if check is not None:
        click.echo(check_zip(check))
        return
    if data is None and set_name not in WITHOUT_DATA:
        raise click.UsageError(f"Give --data, the folder of {set_name}.")
    files = [file for file in (submission, json_file, plot) if file is not None]
    check_files(files)
    for file in files:
        if data is not None and file.exists() and Path(data).resolve() in file.resolve().parents:
            raise click.UsageError(f"{file} is among the data and would be replaced; give another path.")
    if len({file.resolve() for file in files}) < len(files):
        raise click.UsageError("--json, --plot and --zedd-submission cannot write one file; give each its own.")
    if submission is not None:
        click.echo(submit(submission, data, make_estimator(model, checkpoint, device, precision)[0]))
        return
    with stages("Opening the set and the model", 1):
        # Data first: a checkpoint may have to be downloaded.
        benchmark = open_set(set_name, data, device=rendering_device(model, device))
        settings = vary(benchmark.protocol, options["apertures"], options["planes"], options["focus"])
        for setting in settings:
            benchmark.check(setting)
        if plot is not None:
            from fossa_ros.evaluation.study_plot import check_plot

            check_plot(plot)
        estimator, described = make_estimator(model, checkpoint, device, precision)
    disturbance = Disturbance(
        shuffled=options["shuffle"],
        misstated=options["misstate"],
        blind=options["blind"],
        seed=options["seed"],
        aperture=options["misstate_aperture"],
        noise=options["noise"],
        softness=options["soften"],
    )
    with progress_bar(MofNCompleteColumn()) as bar:
        what = f"{benchmark.title}, {model}"
        task = bar.add_task(what, total=len(settings) * len(benchmark.names[:limit]))

        def on_image(name: str) -> None:
            bar.update(task, advance=1, description=f"{what}: {escape(name)}")

        runs = evaluate(benchmark, settings, estimator, limit=limit, disturbance=disturbance, progress=on_image)
        bar.update(task, description=what)
    results = Results(set_name, described, tuple(runs))
    if json_file is not None:
        write_results(json_file, results)
    if plot is not None:
        from fossa_ros.evaluation.coverage_plot import draw_coverage
        from fossa_ros.evaluation.study_plot import draw_study

        images = f"{benchmark.title}, {len(runs[0].images)} images"
        if len(runs) > 1:
            draw_study(plot, results, f"{model} on {images}")
        else:
            draw_coverage(plot, {model: curve_of(runs[0], "the evaluation")}, images)
    from fossa_ros.commands.evaluation_tables import tables

    out = Console()
    in_protocol = settings == [benchmark.protocol] and not disturbance.as_dict()
    for table in tables(results, benchmark, in_protocol, each):
        out.print(table)
    if in_protocol and limit is not None and limit < len(benchmark.names):
        out.print(f"The first {limit} of {len(benchmark.names)} images; do not compare them with published figures.")
    if INTERRUPTED in runs[0].extra:
        out.print(f"Interrupted after {len(runs[0].images)} of {len(benchmark.names[:limit])} images.")
        click.get_current_context().exit(130)


def check_zip(path: Path) -> str:
    """Check the zip for the test server and return a sentence about it."""
    from fossa_ros.evaluation.zedd_submission import check_submission

    with stages("Checking the submission", 1):
        check_submission(path)
    return f"{path} is a valid submission: 50 arrays of 1216x1824, all finite."


def submit(path: Path, data: Path, estimator) -> str:
    """Write the zip for the test server and return a sentence about it."""
    from fossa_ros.evaluation.zedd_submission import SCENES, write_submission

    with counted("ZEDD test", SCENES) as advance:
        filled = write_submission(path, data, estimator, progress=lambda _: advance())
    return (
        f"{path} is a valid submission; {100 * filled:.2f} % of the pixels had no depth and got that of the nearest "
        "pixel that has one."
    )


def rendering_device(model: str, device: str | None) -> str:
    """Return the device that RGB-D sets are rendered on, that of the network."""
    if model == "classical":
        return "cpu"
    from fossa_ros.estimators.fossa.devices import resolve_device

    return str(resolve_device(device or "auto"))


def make_estimator(model: str, checkpoint: str | None, device: str | None, precision: str | None):
    """Return an estimator, and its entry in the results."""
    options = {"checkpoint": checkpoint, "device": device, "precision": precision}
    if model == "classical":
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise click.UsageError(f"--{given[0]} belongs to a network; choose another --model.")
        return create_estimator("classical"), {"name": model}
    if model == "lens_aware":
        if precision is not None:
            raise click.UsageError("--precision belongs to a FOSSA network; choose another --model.")
        options = {"checkpoint": checkpoint, "device": device}
        estimator = create_estimator(model, **options)
    else:
        options["checkpoint"] = checkpoint or CHECKPOINTS.get(model)
        estimator = create_estimator("fossa", model=model, **options)
    described = {"name": model, **options}
    if options["checkpoint"] is not None and Path(options["checkpoint"]).is_file():
        with open(options["checkpoint"], "rb") as file:
            described["checkpoint_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return estimator, described
