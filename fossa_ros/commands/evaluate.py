"""``fossa evaluate``: a model over a benchmark, beside the published figures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fossa_ros.estimators.estimator import create_estimator
from fossa_ros.evaluation.datasets import SETS, WITHOUT_DATA, open_set
from fossa_ros.evaluation.disturbance import Disturbance
from fossa_ros.evaluation.evaluate import INTERRUPTED, TENTHS, evaluate, vary
from fossa_ros.evaluation.metrics import DELTA_THRESHOLDS
from fossa_ros.evaluation.protocol import FOCUS
from fossa_ros.evaluation.published import CHECKPOINTS, PUBLISHED
from fossa_ros.evaluation.results import Results, write_results
from fossa_ros.io.atomic import check_writable

MODELS = ("classical", "vits", "vitb", "vitl", "nano")
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
PROGRESS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
PLAIN = {"box": None, "padding": (0, 2, 0, 0)}
FEW = ("delta_1.05", "delta_1.25", "abs_rel", "rmse", "boundary_f1", "coverage", "seconds")


class ValuesCommand(click.Command):
    """A command whose lists may be written ``--planes 3,5`` or ``--planes 3 5``."""

    def parse_args(self, ctx, args):
        """Join the values that follow an option of several, then parse as ever."""
        kinds = {option: parameter.type for parameter in self.params for option in parameter.opts}
        joined = []
        args = list(args)
        while args:
            word = args.pop(0)
            joined.append(word)
            kind = kinds.get(word)
            if isinstance(kind, Values) and args:
                values = [args.pop(0)]
                while args and kind.holds(args[0]):
                    values.append(args.pop(0))
                joined.append(",".join(values))
        return super().parse_args(ctx, joined)


class Values(click.ParamType):
    """Values with commas between them."""

    def __init__(self, name, kind):
        self.name, self._kind = name, kind

    def holds(self, word) -> bool:
        """Return whether a word is made of such values."""
        try:
            return bool([self._one(part) for part in word.split(",") if part])
        except ValueError:
            return False

    def convert(self, value, param, ctx):
        """Return them in order, each once."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(dict.fromkeys(self._one(part.strip()) for part in value.split(",") if part.strip()))
        except ValueError:
            found = ()
        if not found:
            self.fail(f"'{value}' is no list of {self.name}.", param, ctx)
        return found

    def _one(self, word):
        if isinstance(self._kind, tuple):
            if word not in self._kind:
                raise ValueError
            return word
        return self._kind(word)


FILE = click.Path(dir_okay=False, path_type=Path)
NUMBERS, COUNTS, WORDS = Values("numbers", float), Values("counts", int), Values("words", FOCUS)


@click.command("evaluate", cls=ValuesCommand)
@click.argument("set_name", metavar="SET", type=click.Choice(list(SETS)))
@click.option("--data", type=click.Path(path_type=Path), help="Where the set lies.")
@click.option("--model", default="classical", show_default=True, type=click.Choice(MODELS), help="What is evaluated.")
@click.option("--checkpoint", help="Its weights: a file or a hub name.  [default: the published ones of vits and vitb]")
@click.option("--device", help="Where a network runs: auto, cpu, cuda or cuda:INDEX.")
@click.option("--precision", help="Numbers a network runs in: fp32, bf16 or fp16.")
@click.option("--apertures", type=NUMBERS, default=(), help="F-numbers, such as 1.4,2.8,4.")
@click.option("--planes", type=COUNTS, default=(), help="Numbers of planes, such as 3,5,7,9.")
@click.option("--focus", type=WORDS, default=(), help=f"How focus distances are chosen: {', '.join(FOCUS)}.")
@click.option("--shuffle", is_flag=True, help="Mix the order of the planes.")
@click.option("--misstate", default=0.0, type=click.FloatRange(0, 1, max_open=True), help="Misstate focus by so much.")
@click.option("--blind", is_flag=True, help="Forget f-number and focal length.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of --shuffle and --misstate.")
@click.option("--limit", type=click.IntRange(1), help="Take only so many images, the first ones.")
@click.option("--images", "each", is_flag=True, help="Print the figures of every image too.")
@click.option("--json", "json_file", type=FILE, help="Write every figure to this file.")
@click.option("--plot", type=FILE, help="Draw error against what varies: a PNG, SVG or PDF.")
@click.option("--zedd-submission", type=FILE, help="Write the zip for the test server from the test split instead.")
@click.option("--check-submission", type=FILE, help="Check such a zip, and do nothing else.")
def command(set_name, data, model, checkpoint, device, precision, json_file, plot, each, limit, **options):
    """Score a model on a benchmark under its published protocol.

    SET is zedd, infinigen, ibims, diode, hammer or ddff12 in the layout it is published in; stacks, a folder of your
    own; photographs with depth, refocused; or simulated (docs/evaluation.md). Several --apertures, --planes or
    --focus are a study: each kind is varied while the others stay as the protocol has them.
    """
    submission, check = options.pop("zedd_submission"), options.pop("check_submission")
    if (submission or check) and set_name != "zedd":
        raise click.UsageError("Submissions are those to the test server of zedd.")
    if check is not None:
        from fossa_ros.evaluation.zedd_submission import check_submission

        check_submission(check)
        click.echo(f"{check} is as the test server wants it: 50 arrays of 1216x1824, all finite.")
        return
    if data is None and set_name not in WITHOUT_DATA:
        raise click.UsageError(f"Give --data, the folder of {set_name}.")
    for file in (submission, json_file, plot):
        if file is not None:
            check_writable(file.parent)
    console = Console(stderr=True)
    if submission is not None:
        click.echo(submit(submission, data, make_estimator(model, checkpoint, device, precision)[0], console))
        return
    with console.status("Opening the set and the model"):
        # Data first: a checkpoint may have to be fetched.
        benchmark = open_set(set_name, data, device=rendering_device(model, device))
        settings = vary(benchmark.protocol, options["apertures"], options["planes"], options["focus"])
        for setting in settings:
            benchmark.check(setting)
        if plot is not None:
            from fossa_ros.evaluation.study_plot import check_plot

            check_plot(plot, settings)
        estimator, described = make_estimator(model, checkpoint, device, precision)
    disturbance = Disturbance(options["shuffle"], options["misstate"], options["blind"], options["seed"])
    with Progress(*PROGRESS, console=console) as bar:
        what = f"{benchmark.title}, {model}"
        task = bar.add_task(what, total=len(settings) * len(benchmark.names[:limit]))

        def done(name):
            bar.update(task, advance=1, description=f"{what}: {escape(name)}")

        runs = evaluate(benchmark, settings, estimator, limit=limit, disturbance=disturbance, progress=done)
        bar.update(task, description=what)
    results = Results(set_name, described, tuple(runs))
    if json_file is not None:
        write_results(json_file, results)
    if plot is not None:
        from fossa_ros.evaluation.study_plot import draw_study

        draw_study(plot, results, f"{model} on {benchmark.title}, {len(runs[0].images)} images")
    out = Console()
    in_protocol = settings == [benchmark.protocol] and not disturbance.as_dict()
    for table in tables(results, benchmark, in_protocol, each):
        out.print(table)
    if in_protocol and limit is not None and limit < len(benchmark.names):
        out.print(f"The first {limit} of {len(benchmark.names)} images: not to be compared with published figures.")
    if INTERRUPTED in runs[0].extra:
        out.print(f"Interrupted after {len(runs[0].images)} of {len(benchmark.names[:limit])} images.")
        click.get_current_context().exit(130)


def submit(path: Path, data: Path, estimator, console: Console) -> str:
    """Write the zip for the test server and return what to say about it."""
    from fossa_ros.evaluation.zedd_submission import SCENES, write_submission

    with Progress(*PROGRESS, console=console) as bar:
        task = bar.add_task("ZEDD test", total=SCENES)
        filled = write_submission(path, data, estimator, progress=lambda _: bar.advance(task))
    return (
        f"{path} is as the test server wants it; {100 * filled:.2f} % of the pixels had no depth and were given that "
        "of the nearest one that has."
    )


def rendering_device(model: str, device: str | None) -> str:
    """Return where RGB-D sets are rendered: where the network runs."""
    if model == "classical":
        return "cpu"
    from fossa_ros.estimators.fossa.devices import resolve_device

    return str(resolve_device(device or "auto"))


def make_estimator(model: str, checkpoint: str | None, device: str | None, precision: str | None):
    """Return an estimator and what the results say of it."""
    options = {"checkpoint": checkpoint, "device": device, "precision": precision}
    if model == "classical":
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise click.UsageError(f"--{given[0]} belongs to a network; choose another --model.")
        return create_estimator("classical"), {"name": model}
    options["checkpoint"] = checkpoint or CHECKPOINTS.get(model)
    estimator = create_estimator("fossa", model=model, **options)
    described = {"name": model, **options}
    if options["checkpoint"] is not None and Path(options["checkpoint"]).is_file():
        with open(options["checkpoint"], "rb") as file:
            described["checkpoint_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return estimator, described


def tables(results: Results, benchmark, in_protocol: bool, each: bool):
    """Give the tables to print: one of all runs, or one beside the published figures; and every image if asked for."""
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
        if each or len(results.runs) == 1:
            tenths = " ".join("-" if error != error else f"{error:.3f}" for error in run.extra[TENTHS])
            yield f"AbsRel by tenths of confidence, least first: {tenths}"


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


def figures_table(first: str, rows) -> Table:
    """Return a table of the main figures, a row each."""
    table = Table(**PLAIN)
    table.add_column(first)
    for figure in FEW:
        table.add_column(COLUMNS[figure], justify="right", no_wrap=True, min_width=len(COLUMNS[figure]))
    for name, figures in rows.items():
        table.add_row(escape(name), *(f"{figures[figure]:.{3 if figure == 'seconds' else 4}f}" for figure in FEW))
    return table
