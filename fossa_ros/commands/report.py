"""``fossa report``: one HTML page of what replays made."""

from __future__ import annotations

from pathlib import Path

import click

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.replay import SUMMARY, read_replay
from fossa_ros.evaluation.replay_report import report_page, write_report


@click.command("report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", default="report.html", show_default=True, type=click.Path(path_type=Path), help="The page.")
def command(folders, out):
    """Make one HTML page of replays, of one machine or many.

    FOLDERS are outputs of fossa replay, or hold some: of several machines, each of which replayed a part (--shard).
    """
    click.echo(f"{write_page(folders, out)} shows it all.")


def write_page(folders, out: Path) -> Path:
    """Write the page of all replays below ``folders`` to ``out`` and return it.

    Raises:
        InputError: there is none, or one that cannot be read.
    """
    found = sorted({summary for folder in folders for summary in Path(folder).rglob(SUMMARY)})
    if not found:
        raise InputError(f"There is no {SUMMARY} below {', '.join(map(str, folders))}; run fossa replay first.")
    write_report(out, report_page([(read_replay(summary), summary.parent) for summary in found]))
    return out
