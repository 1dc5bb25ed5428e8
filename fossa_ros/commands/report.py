"""``fossa report``: one HTML page of replays."""

from __future__ import annotations

from pathlib import Path

import click

from fossa_ros.commands.option_types import PATH
from fossa_ros.commands.progress import stages
from fossa_ros.core.errors import InputError


@click.command("report")
@click.argument("folders", nargs=-1, required=True, type=PATH)
@click.option("--out", default="report.html", show_default=True, type=PATH, help="The page.")
def command(folders, out):
    """Make one HTML page of replays, of one machine or many.

    FOLDERS are outputs of fossa replay or folders that contain some, such as the parts that several machines replayed
    (--shard).
    """
    with stages("Drawing the page", 1):
        page = write_page(folders, out)
    click.echo(f"The report is {page}.")


def write_page(folders, out: Path) -> Path:
    """Write the page of all replays below ``folders`` to ``out`` and return it.

    Raises:
        InputError: there is no replay, or one cannot be read.
    """
    from fossa_ros.evaluation.replay import SUMMARY, read_replay
    from fossa_ros.evaluation.replay_report import report_page, write_report

    found = sorted({summary for folder in folders for summary in Path(folder).rglob(SUMMARY)})
    if not found:
        raise InputError(f"There is no {SUMMARY} below {', '.join(map(str, folders))}; run fossa replay first.")
    write_report(out, report_page([(read_replay(summary), summary.parent) for summary in found]))
    return out
