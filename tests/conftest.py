"""Isolate the tests' use of ROS (domain, network, logs), and distribute the tests over the workers of pytest-xdist.

``make test`` runs three workers. Tests marked ``real_time`` depend on the clock, and mostly wait: two workers run them,
each its share of the files, while the third runs the tests that compute, at a lower priority. Numerical libraries use
one thread in each test process, so that the processes fit two cores. Property tests draw the same examples in every
run: a failure then comes from a change of the code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import hypothesis
import pytest

from fossa_ros.ros import environment

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
GROUPS = ("real_time", None, "build")
NICENESS = 10  # of the tests that compute, while others depend on the clock
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


_ROS_HOME = tempfile.TemporaryDirectory(prefix="fossa_ros_test_")

# A shell without job control starts background commands with SIGINT ignored. Processes inherit that, and those that
# tests interrupt would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any test imports numpy, OpenCV, torch or rclpy, and for the processes that tests start.
os.environ.update(dict.fromkeys(THREADS, "1"))
os.environ.pop("ROS_DOMAIN_ID", None)  # of the user, or of the process that started this worker
_NETWORK = ExitStack()  # until this process ends
_NETWORK.enter_context(environment.isolated())
os.environ["ROS_HOME"] = _ROS_HOME.name


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Group the real-time tests, which run first, and the tests of builds, which run last."""
    items.sort(key=lambda item: GROUPS.index(group(item)))
    if WORKER is not None:
        real_time = sorted({item.path for item in items if group(item) == "real_time"})
        # There and back, 0 1 1 0, so that neither has the larger file of each pair.
        share = {path: ((number + 1) // 2) % 2 for number, path in enumerate(real_time)}
        for item in items:
            name = group(item)
            if name == "real_time":
                name += f"_{share[item.path]}"
            if name is not None:
                item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session", autouse=True)
def background_builds(request):
    """Build in the background what the tests of builds need. They wait where it is not ready (builds.py)."""
    if WORKER != "gw0" or not any(group(item) == "build" for item in request.session.items):
        yield
        return
    command = [sys.executable, str(Path(__file__).with_name("builds.py"))]
    building = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    with suppress(ProcessLookupError):
        os.killpg(building.pid, signal.SIGKILL)
    building.wait()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Lower the priority of this worker once its real-time tests are over, or from the start where it has none."""
    if WORKER is not None and group(item) != "real_time":
        os.nice(max(NICENESS - os.nice(0), 0))


def group(item) -> str | None:
    return next((name for name in filter(None, GROUPS) if item.get_closest_marker(name)), None)


@pytest.fixture
def listener():
    """Provide a ROS node that subscribes and calls services for the test."""
    from node_processes import Listener  # here, after the domain is set

    listener = Listener()
    yield listener
    listener.close()
