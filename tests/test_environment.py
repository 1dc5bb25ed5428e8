"""What a process of a node sets up: a ROS domain of its own, and how threads wait; never in place of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.ros import environment

NAMES = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")


@pytest.fixture(autouse=True)
def no_domain(monkeypatch, tmp_path):
    """Clear the domain of the tests, and reserve in a folder of this test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in NAMES:
        monkeypatch.delenv(name)


def test_processes_have_different_domains_and_discover_this_machine_only():
    program = "import os; from fossa_ros.ros import environment\nwith environment.isolated(): print("
    program += ", ".join(f"os.environ[{name!r}]" for name in NAMES) + ")"
    with environment.isolated():
        first = [os.environ.pop(name) for name in NAMES]
        other = environment.child_environment(TMPDIR=tempfile.gettempdir())
        second = subprocess.check_output([sys.executable, "-c", program], env=other, text=True).split()
    assert first[1] == second[1] == "LOCALHOST"
    assert {int(first[0]), int(second[0])} <= set(environment.DOMAINS) and first[0] != second[0]
    assert not set(NAMES) & set(os.environ)


def test_a_domain_is_given_back():
    with environment.isolated():
        first = os.environ["ROS_DOMAIN_ID"]
    with environment.isolated():
        assert os.environ["ROS_DOMAIN_ID"] == first


def test_the_domain_and_network_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    with environment.isolated():
        assert os.environ["ROS_DOMAIN_ID"] == "7" and "ROS_AUTOMATIC_DISCOVERY_RANGE" not in os.environ
    assert os.environ["ROS_DOMAIN_ID"] == "7"


def test_no_free_domain_is_a_sentence(monkeypatch):
    monkeypatch.setattr(environment, "DOMAINS", range(3, 2, -1))
    with environment.isolated():
        monkeypatch.delenv("ROS_DOMAIN_ID")
        with pytest.raises(InputError, match="Every ROS domain from 3 to 3 is reserved; set ROS_DOMAIN_ID"):
            environment.isolated().__enter__()


def test_the_transport_for_images_is_for_those_who_ask_and_never_replaces_the_users(monkeypatch):
    for name in environment.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    environment.find_packages()
    assert not any(name in os.environ for name in environment.PROFILE_VARIABLES)
    monkeypatch.setattr(environment, "SHARED_MEMORY_NEEDED", 0)
    (file,) = environment.transport().values()
    assert file.endswith("config/fastdds_large_images.xml") and os.path.exists(file)
    monkeypatch.setattr(environment, "SHARED_MEMORY_NEEDED", 2**60)  # more than there is
    assert environment.transport() == {}
    monkeypatch.setattr(environment, "SHARED_MEMORY_NEEDED", 0)
    monkeypatch.setenv(environment.PROFILE_VARIABLES[1], "mine.xml")
    assert environment.transport() == {}


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_of_pytorch_sleep_while_they_wait_unless_the_user_says_otherwise(given):
    code = "from fossa_ros.ros.lifecycle import prepare_process; prepare_process(); import torch"
    known = {**os.environ, "OMP_DISPLAY_ENV": "TRUE"}
    known.pop("OMP_WAIT_POLICY", None)
    if given:
        known["OMP_WAIT_POLICY"] = given
    done = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, timeout=100)
    assert f"OMP_WAIT_POLICY = '{given or 'PASSIVE'}'" in done.stderr, done.stderr
