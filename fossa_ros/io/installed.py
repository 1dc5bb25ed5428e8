"""The installed files of this package that are not Python: messages, launch files, configurations."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fossa_ros.core.errors import InputError

PACKAGE = "fossa_ros"


def share() -> Path:
    """Return the folder of this package's messages, launch files and configurations; ROS is not needed.

    Raises:
        InputError: the package is not installed.
    """
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for prefix in (*prefixes, sys.prefix):
        folder = Path(prefix) / "share" / PACKAGE
        if (folder / "package.xml").is_file():
            return folder
    raise InputError(f"The package {PACKAGE} is not installed; install it with pip or colcon, and source its setup.")
