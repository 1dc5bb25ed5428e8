"""``fossa replay``: bags to depth, figures and pictures."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import TextColumn
from rich.table import Table

from fossa_ros.commands.option_types import NOT_NEGATIVE, PATH
from fossa_ros.commands.progress import progress_bar
from fossa_ros.commands.signals import ended_by_signal
from fossa_ros.core.errors import FossaError, InputError

if TYPE_CHECKING:  # slow to import: when the command runs, not for its help
    from fossa_ros.evaluation.replay import Replay, ReplayOptions

RATE = TextColumn("{task.fields[rate]}")
INTERRUPTED = 130
SHOWN = 4  # reasons in the table


@click.command("replay")
@click.argument("bag", type=PATH)
@click.option("--out", type=PATH, help="Output folder.  [default: NAME-replay]")
@click.option("--params", type=PATH, help="Parameter file of fossa_node (YAML).")
@click.option("--namespace", help="Namespace of fossa_node in that file.  [default: the one the file names]")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Set a parameter of fossa_node.")
@click.option(
    "--remap",
    "remaps",
    multiple=True,
    metavar="NAME:=TOPIC",
    help="Topic for image, lens/state ...; repeatable.",
)
@click.option(
    "--frames/--stacks", default=None, help="Replay frames or focus_stack.  [default: focus_stack if the bag has it]"
)
@click.option("--rate", type=NOT_NEGATIVE, default=0.0, help="Times real time; 0 is as fast as possible.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Bags replayed in parallel.")
@click.option("--shard", metavar="I/N", help="Replay only part I of N bags, from 0; auto: as torchrun or Slurm says.")
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Pictures of every Nth depth map.",
)
@click.option("--bag/--no-bag", "write_bag", default=True, show_default=True, help="Write a bag of the results.")
@click.option("--compress", is_flag=True, help="Compress that bag.")
@click.option("--rerun", "rerun_file", type=PATH, help="Write a log for the rerun viewer, an .rrd file.")
def command(
    bag, out, params, namespace, pairs, remaps, frames, rate, jobs, shard, pictures, write_bag, compress, rerun_file
):
    """Turn recorded bags into depth, figures and pictures.

    The results are those of fossa_node; ROS is not needed.

    BAG is a ROS 2 bag (mcap or sqlite3) or a folder of bags. It holds focus_stack, or image, camera_info and
    lens/state, or lens/trigger with sweep.mode counted. OUT gets a bag of the results, replay.json, pictures, and
    report.html. Ctrl-C ends the replay and keeps the results so far.
    """
    from fossa_ros.evaluation.replay import ReplayOptions
    from fossa_ros.evaluation.replay_many import is_bag
    from fossa_ros.io.atomic import check_writable
    from fossa_ros.messages.bag_files import bag_folder, bag_name
    from fossa_ros.parameters.node_config import FossaNodeConfig
    from fossa_ros.parameters.parameter_file import read_config

    options = ReplayOptions(
        read_config(
            FossaNodeConfig,
            "fossa_node",
            params,
            pairs,
            namespace=namespace,
            warn=lambda remark: click.echo(f"Warning: {remark}", err=True),
        ),
        _remapped(remaps),
        frames,
        rate,
        picture_every=pictures,
        bag=write_bag,
        compress=compress,
    )
    out = out or Path(f"{bag_name(bag)}-replay")
    check_writable(out)
    if not bag.exists():
        raise InputError(f"{bag} does not exist; give the folder of a bag, or one that holds some.")
    bag = bag_folder(bag)
    many = not is_bag(bag)
    if shard is not None and not many:
        raise click.UsageError("--shard divides a folder of bags; replay a single bag without it.")
    if many and rerun_file:
        raise click.UsageError("--rerun logs one bag; replay a single bag.")
    from fossa_ros.commands.report import write_page

    with ended_by_signal() as ended:
        failed = bags = 0
        if many:
            failed, bags = _replay_folder(bag, out, options, jobs, shard, ended)
        else:
            _replay_one(bag, out, options, rerun_file, ended)
        if not many or shard is None:
            click.echo(f"The report is {write_page([out], out / 'report.html')}.")
    if ended.is_set():
        click.get_current_context().exit(INTERRUPTED)
    if failed:
        raise FossaError(f"{failed} of {bags} bags could not be replayed; see above.")


def _replay_one(bag: Path, out: Path, options: ReplayOptions, rerun_file, ended: threading.Event) -> None:
    import cv2

    from fossa_ros.core.freed_memory import keep_freed_memory
    from fossa_ros.evaluation.replay import replay

    keep_freed_memory()
    cv2.setNumThreads(1)  # sweeps are processed in parallel, which is more efficient
    with contextlib.ExitStack() as stack:
        watch = None
        if rerun_file is not None:
            from fossa_ros.evaluation.rerun_log import RerunLog

            watch = stack.enter_context(RerunLog(rerun_file)).log
        bar = stack.enter_context(progress_bar(RATE))
        task = bar.add_task("Replaying", total=None, rate="")

        def progress(done: Replay, total: float) -> None:
            verdicts = Counter("accepted" if sweep.accepted else sweep.verdict for sweep in done.sweeps)
            counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
            speed = done.seconds / done.wall_seconds if done.wall_seconds else 0.0
            rate = f"{speed:.1f}x real time"
            bar.update(task, total=total, completed=done.seconds, description=f"Replaying: {counts}", rate=rate)

        done = replay(bag, out, options, progress=progress, ended=ended, watch=watch)
    Console().print(_table(done, out))


def _replay_folder(folder, out, options, jobs, shard, ended) -> tuple[int, int]:
    """Return how many bags failed, and of how many."""
    from fossa_ros.evaluation.replay_many import find_bags, replay_many, shard_of

    bags = find_bags(folder)
    index, count = shard_of(shard) if shard else (0, 1)
    bags = bags[index::count]
    if not bags:
        click.echo(f"Part {index} of {count} has no bag.")
        return 0, 0
    outs = [out / bag.relative_to(folder) for bag in bags]
    failed = 0
    options = replace(options, workers=1 if jobs > 1 else 0)
    with progress_bar(RATE) as bar:
        task = bar.add_task(f"Replaying {len(bags)} bags", total=len(bags), rate="")

        def on_done(bag: Path, done: Replay | str) -> None:
            nonlocal failed
            failed += isinstance(done, str)
            bar.console.print(escape(done if isinstance(done, str) else _line(done)), highlight=False)
            bar.advance(task)

        replay_many(bags, outs, options, jobs, on_done, ended)
    return failed, len(bags)


def _line(done: Replay) -> str:
    accepted = sum(sweep.accepted for sweep in done.sweeps)
    metrics = done.metrics()
    scored = f", AbsRel {metrics['abs_rel']:.3f}" if metrics else ""
    ended = " interrupted" if done.interrupted else f" {done.damage}" if done.damage else ""
    why = done.fault or next((reason for _, reason, _ in done.reasons()), "")
    why = "" if accepted or not why else f", {why}"
    return f"{done.source}: {len(done.sweeps)} sweeps, {accepted} accepted{scored}{why}{ended}"


def _table(done: Replay, out: Path) -> Table:
    table = Table(show_header=False, box=None, title=escape(done.source), title_justify="left")
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in done.verdicts().most_common())
    table.add_row("sweeps", f"{len(done.sweeps)}: {verdicts}" if verdicts else "none")
    speed = done.seconds / max(done.wall_seconds, 1e-9)
    table.add_row("time", f"{done.seconds:.1f} s of the bag in {done.wall_seconds:.1f} s, {speed:.1f}x real time")
    if done.image:
        table.add_row("images", escape(done.image))
    if done.interrupted:
        table.add_row("interrupted", f"after {done.seconds:.1f} s of the bag")
    if done.damage:
        table.add_row("bag", escape(done.damage))
    if done.fault:
        table.add_row("no frame", escape(done.fault))
    for verdict, reason, count in done.reasons()[:SHOWN]:
        table.add_row(verdict, escape(f"{reason} ({count} of {len(done.sweeps)} sweeps)"))
    if warnings := done.warnings():
        table.add_row("warning", escape(f"{warnings[-1]} ({len(warnings)} of {len(done.sweeps)} sweeps)"))
    metrics = done.metrics()
    if metrics:
        table.add_row(
            "depth", f"AbsRel {metrics['abs_rel']:.4f}, within a factor of 1.25: {100 * metrics['delta_1.25']:.1f} %"
        )
    table.add_row("written", escape(str(out)))
    return table


def _remapped(remaps) -> dict[str, str]:
    pairs = dict(remap.partition(":=")[::2] for remap in remaps)
    if not all(pairs.values()):
        raise InputError("--remap takes NAME:=TOPIC, for example --remap image:=/camera/image_raw.")
    return pairs
