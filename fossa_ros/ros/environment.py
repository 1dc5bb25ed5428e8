"""Environment variables of ROS: what the ROS wheels of PyPI do not set, and a domain of one's own."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fossa_ros.core.errors import InputError
from fossa_ros.io.installed import share

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_NEEDED = 512 * 2**20  # bytes: 64 MiB for each process of a small robot
DOMAINS = range(100, 0, -1)  # to reserve one of; from the highest, because users number theirs from 0


def complete() -> None:
    """Set where packages are, and a transport for large images, before rclpy is initialised.

    Variables that are set already are left alone. Child processes inherit them.
    """
    find_packages()
    os.environ.update(transport())


def find_packages() -> None:
    """Set where packages are, unless that is set already."""
    prefix = Path(sys.prefix)
    if not os.environ.get("AMENT_PREFIX_PATH") and (prefix / "share" / "ament_index").is_dir():
        os.environ["AMENT_PREFIX_PATH"] = str(prefix)


def transport() -> dict[str, str]:
    """Return the variables that give a process a transport for large images; none where they are set already.

    Each process with it reserves 64 MiB of shared memory, so only those that send or receive images should have it.
    """
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return {}
    # The profile needs shared memory; where there is too little, the default transport is slow but works.
    if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= SHARED_MEMORY_NEEDED:
        return {PROFILE_VARIABLES[0]: str(share() / "config" / "fastdds_large_images.xml")}
    return {}


@contextmanager
def isolated() -> Iterator[None]:
    """Give this process and its children a ROS domain of their own, on this machine only, before rclpy is initialised.

    A ``ROS_DOMAIN_ID`` that is set already is left alone, and so is the network then.

    Raises:
        InputError: other processes hold every domain.
    """
    if os.environ.get("ROS_DOMAIN_ID"):
        yield
        return
    domain, lock = _reserve_domain()
    variables = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with lock:
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment for a child process; the mark that the ROS wheels set for this one is removed."""
    environment = {**os.environ, **more}
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment


def _reserve_domain() -> tuple[int, IO[str]]:
    """Return a domain that no other process of this machine has reserved, and the open file whose lock reserves it."""
    for domain in DOMAINS:
        with suppress(OSError):  # another process's lock, or another user's file
            lock = Path(tempfile.gettempdir(), f"fossa_ros_domain_{domain}").open("w")  # noqa: SIM115
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                raise
            return domain, lock
    raise InputError(f"Every ROS domain from {min(DOMAINS)} to {max(DOMAINS)} is reserved; set ROS_DOMAIN_ID.")
