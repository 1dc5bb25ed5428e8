"""``fossa train``: train a network on synthetic focus stacks."""

from __future__ import annotations

import dataclasses
import signal
import time

import click
from rich.progress import MofNCompleteColumn

from fossa_ros.commands.option_types import FILE, FOLDER
from fossa_ros.commands.progress import progress_bar, stages
from fossa_ros.core.errors import InputError
from fossa_ros.io.documents import load_yaml


@click.command("train")
@click.argument("config", type=FILE)
@click.option("--out", type=FOLDER, help="Folder of the run, required without --preview.")
@click.option("--rooms", type=FOLDER, help="Folder of .npz stacks with depth that lens_aware is trained on.")
@click.option("--preview", type=FILE, help="Only draw some stacks of the run, to a .png or .jpg file.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")
@click.option("--workers", type=click.IntRange(0, 256), help="Rendering processes.  [default: 0 on a GPU, else 1]")
@click.option("--steps", type=click.IntRange(1), help="Stop at this step; the same command continues.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="Stop after this time; the same command continues."
)
@click.option(
    "--log-every", default=50, show_default=True, type=click.IntRange(1), help="Steps between rows of log.csv."
)
@click.option(
    "--save-every", default=500, show_default=True, type=click.IntRange(1), help="Steps between saved states."
)
@click.option("--validate", "validation", type=FOLDER, help="Folder of .npz stacks with depth, scored in figures.csv.")
def command(config, out, rooms, preview, device, workers, steps, minutes, log_every, save_every, validation):
    """Train a network on synthetic focus stacks, as CONFIG says.

    The folder of the run gets the state, from which the same command continues; log.csv with the losses; figures.csv
    and unseen.jpg, results on held-out stacks; and weights.safetensors, the averaged weights. Started by torchrun,
    several processes train together.
    """
    if load_yaml(config, "give a configuration such as those in config/training").get("model") == "lens_aware":
        if preview is not None:
            raise click.UsageError(
                "--preview draws procedural stacks, and lens_aware is trained on rooms; draw those with "
                "python -m fossa_ros.evaluation.path_traced --sheet."
            )
        train_on_evidence(config, rooms, out, device, workers, steps, minutes, log_every, save_every, validation)
        return
    if rooms is not None:
        raise click.UsageError("--rooms is for model: lens_aware; other models are trained on procedural stacks.")
    from fossa_ros.training.config import load_config
    from fossa_ros.training.loop import Run, render_block
    from fossa_ros.training.report import PICTURED, UNSEEN_BLOCK, Reporter, picture_stacks

    settings = load_config(config)
    if preview is not None:
        few = dataclasses.replace(settings, block=PICTURED)
        with stages("Rendering stacks", 1):
            picture_stacks(render_block(few, 0, "cpu", UNSEEN_BLOCK), preview)
        return
    if out is None:
        raise click.UsageError("Give --out, the folder of the run.")
    run = Run(settings, out, device)
    if run.step >= settings.steps:
        raise InputError(f"The run in '{out}' has reached its last step, {run.step}; give another --out.")
    if workers is None:
        workers = 0 if run.device.type == "cuda" else 1
    end = min(steps or settings.steps, settings.steps)
    with (
        Reporter(run, validation, log_every) as report,
        progress_bar(MofNCompleteColumn(), quiet=run.rank != 0) as bar,
    ):
        task = bar.add_task("rendering", total=end, completed=run.step)
        started = time.monotonic()

        def after_step(losses) -> bool:
            speed = report.step(losses)
            bar.update(task, completed=run.step, description=f"loss {losses['total']:.3f}, {speed:.1f} stacks/s")
            if run.step % save_every == 0 and run.step < end:
                run.save()
                bar.console.print(report.figures())
            return minutes is None or time.monotonic() - started < 60 * minutes

        # A supervisor ends a run with SIGTERM; the state is saved as after Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            run.train(end, workers=workers, after_step=after_step)
        finally:
            run.save()
        bar.console.print(report.figures())


def train_on_evidence(config, rooms, out, device, workers, steps, minutes, log_every, save_every, validation):
    """Train the lens-aware network: compute and cache the evidence of all stacks first, then train on it."""
    from fossa_ros.training.evidence_cache import EvidenceCache, fill_cache
    from fossa_ros.training.evidence_config import load_evidence_config
    from fossa_ros.training.evidence_report import EvidenceReporter
    from fossa_ros.training.evidence_run import EvidenceRun
    from fossa_ros.training.evidence_sources import find_sources

    settings = load_evidence_config(config)
    if out is None or rooms is None:
        raise click.UsageError("Give --out, the folder of the run, and --rooms, the stacks to train on.")
    sources = find_sources(rooms, settings)
    names = [source.name for source in sources]
    run = EvidenceRun(settings, out, device)
    if run.step >= settings.steps:
        raise InputError(f"The run in '{out}' has reached its last step, {run.step}; give another --out.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    cache = out / "evidence"
    with progress_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("computing evidence", total=len(sources))
        for done in fill_cache(cache, settings, sources, 1 if workers is None else max(workers, 1)):
            bar.update(task, completed=done)
    end = min(steps or settings.steps, settings.steps)
    seen, unseen = names[: -settings.held_out], names[-settings.held_out :]
    with (
        EvidenceReporter(run, cache, unseen, validation, log_every) as report,
        progress_bar(MofNCompleteColumn()) as bar,
    ):
        task = bar.add_task("training", total=end, completed=run.step)

        def after_step(losses) -> bool:
            report.step(losses)
            bar.update(task, completed=run.step, description=f"loss {losses['total']:.3f}")
            if run.step % save_every == 0 and run.step < end:
                run.save()
                bar.console.print(report.figures())
            return minutes is None or time.monotonic() - started < 60 * minutes

        try:
            run.train(EvidenceCache(cache, seen, settings.hardest), end, after_step)
        finally:
            run.save()
        bar.console.print(report.figures())
