"""Keep what the tests do with ROS to themselves: an own domain, no network, logs in a temporary folder.

Property tests draw the same examples in every run, so that a failure is the change's and not the draw's.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


def reserve_domain():
    """Take a ROS domain that no other test process on this machine has; return it and the lock that holds it."""
    for domain in itertools.count(1):
        try:
            lock = Path(tempfile.gettempdir(), f"fossa_ros_test_domain_{domain}").open("w")  # noqa: SIM115
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
        except OSError:  # held by another test process, or another user's file
            continue


DOMAIN, _LOCK = reserve_domain()
_ROS_HOME = tempfile.TemporaryDirectory(prefix="fossa_ros_test_")

# Before any test imports rclpy, and for the processes that tests start.
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_HOME"] = _ROS_HOME.name


@pytest.fixture
def listener():
    """A ROS node of the test."""
    from node_processes import Listener  # here, after the domain is set

    listener = Listener()
    yield listener
    listener.close()
