"""``fossa calibrate print``, ``board`` and ``check``: calibration with one printed board."""

from __future__ import annotations

import click

from fossa_ros.commands.option_types import PATH, POSITIVE

PAPERS = click.Choice(["a4", "a3", "letter"])


@click.command("print")
@click.option("--paper", default="a4", show_default=True, type=PAPERS, help="Size of the sheet, landscape.")
@click.option("--out", type=PATH, help="PDF to write.  [default: board-PAPER.pdf]")
@click.option(
    "--measured",
    type=POSITIVE,
    help="Length of the bar that this printer printed, mm: the board is drawn larger by what was lost.",
)
def print_sheet(paper, out, measured):
    """Write a board to print: a ChArUco pattern with fine texture, a bar to measure, and its description."""
    from pathlib import Path

    from fossa_ros.calibration.board.board import BOARDS
    from fossa_ros.calibration.board.sheet import write_sheet
    from fossa_ros.io.atomic import check_writable

    board = BOARDS[paper]
    enlarged = 1.0 if measured is None else 1 / board.as_measured(measured).scale
    out = out or Path(f"board-{paper}.pdf")
    check_writable(out.absolute().parent)
    write_sheet(out, board, enlarged)
    click.echo(
        f"{board.described()} is written to {out}. Print it at 100 % on {paper} and glue it onto something flat; then "
        f"measure the bar, which should be {board.bar_mm:g} mm long."
    )
