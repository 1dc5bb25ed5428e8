"""The options that select a lens, shared by ``fossa lens`` and ``fossa calibrate live``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from fossa_ros.commands.option_types import FILE, NUMBER
from fossa_ros.commands.signals import interrupted_by_sigterm
from fossa_ros.core.errors import FossaError
from fossa_ros.lens.options import parse_options

if TYPE_CHECKING:  # imported when a lens is opened, not for its help
    from fossa_ros.lens import FocusLens

PORT = "Serial port, usb:VID:PID[:SERIAL], video device, or camera node."


_OF_LENS = (
    click.option("--power-offset", type=NUMBER, help="Dioptres that the fixed optics add to the power of the lens."),
    click.option("--option", "pairs", multiple=True, metavar="NAME=VALUE", help="Option of the backend; repeatable."),
)


def sets_lens(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a lens beside its backend and port: ``power_offset`` and ``pairs`` of ``opened_lens``."""
    for option in reversed(_OF_LENS):
        function = option(function)
    return function


def opens_lens(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select a lens; ``function`` gets the open lens, not calibrated, as its first argument."""

    @click.option("--backend", default="optotune_ld4", show_default=True, help="Lens driver; see 'fossa lens list'.")
    @click.option("--port", required=True, help=PORT)
    @sets_lens
    @wraps(function)
    def command(backend, port, power_offset, pairs, **arguments):
        with opened_lens(backend, port, power_offset, pairs) as lens:
            function(lens, **arguments)

    return command


@contextmanager
def opened_lens(backend: str, port: str, power_offset: float | None, pairs: Sequence[str]) -> Iterator[FocusLens]:
    """Open a lens for the length of the block; it is parked at the end, of Ctrl-C and of SIGTERM too."""
    from fossa_ros.lens import open_lens

    options = parse_options(pairs)
    if power_offset is not None:
        options["power_offset"] = power_offset
    with interrupted_by_sigterm():
        try:
            opened = open_lens(backend, port, **options)
        except FossaError as error:  # names the parameter of the node
            raise type(error)(re.sub(r"\bset (another )?port\b", r"set \1--port", str(error))) from error
        with opened as lens:
            yield lens


def opens_calibrated_lens(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options and ``--calibration``, which makes the lens metric."""

    @click.option("--calibration", type=FILE, help="Calibration file of 'fossa calibrate', for focus in metres.")
    @wraps(function)
    def command(lens, calibration, **arguments):
        if calibration is not None:
            from fossa_ros.calibration.calibrated_lens import CalibratedLens
            from fossa_ros.calibration.calibration_file import read_calibration

            lens = CalibratedLens(lens, read_calibration(calibration))
        function(lens, **arguments)

    return opens_lens(command)
