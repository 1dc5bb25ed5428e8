"""Progress bars of the commands, on standard error, so that standard output holds results only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(*columns: ProgressColumn, quiet: bool = False, transient: bool = False) -> Progress:
    """Return a bar with ``columns`` between the bar itself and the times.

    A ``transient`` one vanishes at its end, and is not written to anything but a terminal.
    """
    console = Console(stderr=True, quiet=quiet)
    disable = transient and not console.is_terminal
    console.quiet = quiet or disable  # before rich 14 (Ubuntu 24.04) a disabled bar still ends with an empty line
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=disable,
    )


@contextmanager
def counted(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar of ``total`` steps for the length of the block, and give what advances it by one."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def stages(description: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of ``total`` stages until the block ends, and give what names the next; the first is ``description``.

    With one stage the bar pulses, as the length of the work is not known.
    """
    with progress_bar(transient=True) as bar:
        task = bar.add_task(description, total=total if total > 1 else None)
        yield lambda name: bar.update(task, description=name, advance=1)
