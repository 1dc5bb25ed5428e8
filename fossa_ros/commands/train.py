"""``fossa train``: train a network on synthetic focus stacks."""

from __future__ import annotations

import dataclasses
import signal
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fossa_ros.core.errors import InputError

PICTURE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("train")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, help="Folder of the run.")
@click.option("--preview", type=PICTURE, help="Write a picture of some of the run's stacks, .png or .jpg, and end.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")
@click.option("--workers", type=click.IntRange(0, 256), help="Processes that render.  [default: 0 on a GPU, else 1]")
@click.option("--steps", type=click.IntRange(1), help="Stop at this step, to go on another time.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after so long, to go on another time.")
@click.option("--log-every", default=50, show_default=True, type=click.IntRange(1), help="Steps between log rows.")
@click.option("--save-every", default=500, show_default=True, type=click.IntRange(1), help="Steps between states.")
@click.option("--validate", "validation", type=FOLDER, help="Folder of .npz stacks with depth to report on.")
def command(config, out, preview, device, workers, steps, minutes, log_every, save_every, validation):
    """Train a network on synthetic focus stacks, as CONFIG says.

    The folder of the run gets its state, from which the same command goes on; log.csv with the losses; figures.csv and
    unseen.jpg, how it does on stacks kept back; and weights.safetensors, the averaged weights. With torchrun, several
    processes train together.
    """
    from fossa_ros.training.config import load_config
    from fossa_ros.training.loop import Run, make_block_of
    from fossa_ros.training.report import PICTURED, UNSEEN_BLOCK, Reporter, picture_stacks

    settings = load_config(config)
    if preview is not None:
        few = dataclasses.replace(settings, block=PICTURED)
        picture_stacks(make_block_of(few, 0, "cpu", UNSEEN_BLOCK), preview)
        return
    if out is None:
        raise click.UsageError("Give --out, the folder of the run.")
    run = Run(settings, out, device)
    if run.step >= settings.steps:
        raise InputError(f"The run in '{out}' has come to its last step, {run.step}; give another --out.")
    if workers is None:
        workers = 0 if run.device.type == "cuda" else 1
    end = min(steps or settings.steps, settings.steps)
    console = Console(stderr=True, quiet=run.rank != 0)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Reporter(run, validation, log_every) as report, Progress(*columns, console=console) as bar:
        task = bar.add_task("rendering", total=end, completed=run.step)
        started = time.monotonic()

        def after_step(losses) -> bool:
            speed = report.step(losses)
            bar.update(task, completed=run.step, description=f"loss {losses['total']:.3f}, {speed:.1f} stacks/s")
            if run.step % save_every == 0 and run.step < end:
                run.save()
                console.print(report.figures())
            return minutes is None or time.monotonic() - started < 60 * minutes

        # A supervisor's way to say stop; the state is written then too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            run.train(end, workers=workers, after_step=after_step)
        finally:
            run.save()
        console.print(report.figures())
