"""The console scripts of the nodes: a Ctrl-C ends one quietly, also while it imports what it needs."""

from __future__ import annotations

import os
import signal
from importlib import import_module


def depth_node() -> int:
    """Run depth_node; return the exit status."""
    return _run("depth_node")


def fossa_node() -> int:
    """Run fossa_node; return the exit status."""
    return _run("fossa_node")


def sim_rig_node() -> int:
    """Run sim_rig_node; return the exit status."""
    return _run("sim_rig_node")


def sweep_node() -> int:
    """Run sweep_node; return the exit status."""
    return _run("sweep_node")


def _run(name: str) -> int:
    # Importing takes a second or more. Nothing is open that would have to be closed; the node sets its own handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    status: int = import_module(f"fossa_ros.ros.{name}").main()
    return status
