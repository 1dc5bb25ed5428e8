"""Environment variables that ROS needs and that the ROS wheels of PyPI do not set."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from fossa_ros.io.installed import share

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_NEEDED = 512 * 2**20  # bytes: 64 MiB for each process of a small robot


def complete() -> None:
    """Set where packages are, and a transport for large images, before rclpy is initialised.

    Variables that are set already are left alone. Child processes inherit them.
    """
    prefix = Path(sys.prefix)
    if not os.environ.get("AMENT_PREFIX_PATH") and (prefix / "share" / "ament_index").is_dir():
        os.environ["AMENT_PREFIX_PATH"] = str(prefix)
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return
    # The profile needs shared memory; where there is too little, the default transport is slow but works.
    if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= SHARED_MEMORY_NEEDED:
        os.environ[PROFILE_VARIABLES[0]] = str(share() / "config" / "fastdds_large_images.xml")


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment for a child process; the mark that the ROS wheels set for this one is removed."""
    environment = {**os.environ, **more}
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment
