"""A node's life: every transition in every state, bad configurations, and signals at any moment; nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State, Transition
from rclpy.qos import QoSProfile

from fossa_ros.lens.optotune_ld4 import OptotuneLd4
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import LensState, SweepReport
from fossa_ros.ros import environment, qos
from node_processes import CONFIG, Listener, process, simulated_rig

pytestmark = pytest.mark.real_time

CYCLES = 50
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = (
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
)
ALL = (CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE)
RESTING_POWER = 2.0  # dioptres of the fixed optics alone, as config/rig.yaml has them


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with simulated_rig(tmp_path_factory.mktemp("rig"), 64, 64, 150.0) as link:
        yield link


def belongings(child):
    """Return how many threads and file descriptors a process has, and whether it has a serial port open."""
    folder, files = Path(f"/proc/{child.pid}"), []
    for file in (folder / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            files.append(os.readlink(file))
    return len(list((folder / "task").iterdir())), len(files), sum("/dev/pts/" in file for file in files)


def resident_mib(child):
    return int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_every_transition_in_every_state_fifty_times_leaves_nothing_behind(rig, listener, tmp_path):
    log, draw = tmp_path / "node.log", random.Random(9)
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    had = []
    with process("fossa_node", log, autostart=False, lens__port=rig, sweep__planes=3) as child:
        change = partial(listener.change, "fossa_node")

        def only(*allowed):
            for transition in draw.sample(ALL, len(ALL)):
                if transition not in allowed:
                    assert not change(transition), transition

        def depth():
            seen = len(listener.heard["sweep"])
            listener.wait_until(lambda: any(one.accepted for one in listener.heard["sweep"][seen:]), "depth")

        assert change(CONFIGURE) and change(ACTIVATE)
        depth()  # what the first one loads and allocates stays
        assert change(DEACTIVATE) and change(CLEANUP)
        for cycle in range(CYCLES):
            only(CONFIGURE)
            assert change(CONFIGURE)
            for _ in range(1 + cycle % 2):
                only(ACTIVATE, CLEANUP)
                assert change(ACTIVATE)
                only(DEACTIVATE)
                time.sleep(draw.uniform(0.0, 0.15))  # any moment of a sweep
                assert change(DEACTIVATE)
            assert change(CLEANUP)
            had.append((*belongings(child), resident_mib(child)))
        assert change(CONFIGURE) and change(ACTIVATE)
        depth()
        assert change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert listener.state("fossa_node") == State.PRIMARY_STATE_FINALIZED
        assert belongings(child)[2] == 0
    settled, last = had[0], had[-1]
    print(f"threads, files, ports, MiB after the first cycle: {settled}; after {CYCLES}: {last}")
    assert all(ports == 0 for _, _, ports, _ in had), had
    assert last[0] <= settled[0] and last[1] <= settled[1], had
    assert last[3] < settled[3] + 20.0, had
    assert "Traceback" not in log.read_text()


def bad_configurations(folder):
    """Return parameters that cannot work together or with the lens, and what of the sentence names the cure."""
    broken, text = folder / "broken.yaml", folder / "notes.txt"
    broken.write_text("focus: [1, 2\n")
    text.write_text("not a port")
    return [
        ({"lens.port": ""}, "lens.port is empty"),
        ({"lens.port": "/dev/no_such_port"}, "Port '/dev/no_such_port' does not exist; plug the lens in or set port"),
        ({"lens.port": str(text)}, "set port"),
        ({"lens.port": "usb:nonsense"}, "usb:VID:PID"),
        ({"lens.backend": "no_such_lens"}, "lens backend 'no_such_lens'; choose one of"),
        ({"lens.options": "no_such_option=1"}, "cannot take these options"),
        ({"lens.options": "timeout=-1"}, "timeout"),
        ({"lens.options": "nonsense"}, "NAME=VALUE"),
        ({"lens.power_offset": -40.0}, "power_offset"),
        ({"lens.calibration": str(folder / "absent.yaml")}, "absent.yaml"),
        ({"lens.calibration": str(broken)}, "broken.yaml"),
        (
            {"sweep.near": 5.0, "sweep.far": 1.0},
            "sweep.near, sweep.far, sweep.planes: "
            "The nearest plane (5 m) must lie before the farthest (1 m); swap or widen",
        ),
        ({"sweep.near": 0.02}, "sweep.near"),
        ({"sweep.near": 0.05}, "sweep.near"),
        ({"sweep.focus_distances": [1.0]}, "sweep.focus_distances"),
        ({"sweep.focus_distances": [1.0, -2.0]}, "sweep.focus_distances"),
        ({"sweep.focus_distances": [1.0, 1.0]}, "sweep.focus_distances"),
        ({"camera.focal_length": 1.2}, "in metres (12 mm is 0.012)"),
        ({"sweep.exposure_topic": "no topic"}, "sweep.exposure_topic"),
        ({"estimator": "fossa", "model": "vits"}, "checkpoint"),
        ({"estimator": "fossa", "checkpoint": str(folder / "absent.pth")}, "absent.pth"),
        ({"estimator": "fossa", "checkpoint": str(text)}, "notes.txt"),
        ({"estimator": "fossa", "checkpoint": str(text), "device": "cuda:99"}, "device"),
        ({"estimator": "fossa", "checkpoint": str(text), "device": "abacus"}, "device"),
    ]


def test_every_bad_configuration_fails_with_a_sentence_that_names_the_cure_and_costs_nothing(rig, listener, tmp_path):
    log = tmp_path / "node.log"
    with process("fossa_node", log, autostart=False, lens__port=rig) as child:
        change, had = partial(listener.change, "fossa_node"), []
        cases = bad_configurations(tmp_path)
        names = {name for bad, _ in cases for name in bad}
        good = {name: listener.get("fossa_node", name) for name in names - {"sweep.focus_distances"}}
        good["sweep.focus_distances"] = []
        for _ in range(2):  # what the first round loads, torch for one, stays
            for bad, words in cases:
                before = len(log.read_text())
                for name, value in bad.items():
                    assert listener.set("fossa_node", name, value).successful, name
                assert not change(CONFIGURE), bad
                assert listener.state("fossa_node") == State.PRIMARY_STATE_UNCONFIGURED
                said = log.read_text()[before:]
                assert words in said and "Traceback" not in said, (bad, said)
                for name in bad:
                    assert listener.set("fossa_node", name, good[name]).successful
            had.append(belongings(child))
        assert change(CONFIGURE) and change(ACTIVATE)
    assert had[0] == had[1], had


# Seconds after the port was opened: the handshake, a plane, a pause between planes.
MOMENTS = {signal.SIGINT: (0.0, 0.1, 0.35), signal.SIGTERM: (0.3,)}


@pytest.mark.parametrize("number", MOMENTS)
def test_a_signal_at_any_moment_leaves_the_lens_parked_and_the_port_free(rig, listener, tmp_path, number):
    frames = []
    listener.node.create_subscription(
        LensState, "truth/lens", lambda s: frames.append((nanoseconds(s.header.stamp), s.power)), QoSProfile(depth=100)
    )
    command = [sys.executable, "-m", "fossa_ros.ros.fossa_node", "--ros-args", "--params-file", str(CONFIG)]
    command += ["-p", f"lens.port:={rig}", "-p", "autostart:=true"]
    pts = os.path.realpath(rig)
    for moment in MOMENTS[number]:
        with (tmp_path / "node.log").open("wb") as output:
            child = subprocess.Popen(command, stdout=output, stderr=output, env=environment.child_environment())
            try:
                listener.wait_until(lambda child=child: belongings(child)[2] > 0, f"port {pts} open")
                time.sleep(moment)
                child.send_signal(number)
                assert child.wait(20) == 0, (tmp_path / "node.log").read_text()
            finally:
                child.kill()
        assert "Traceback" not in (tmp_path / "node.log").read_text()
        since = time.time_ns() + 10**8
        listener.wait_until(lambda since=since: frames and frames[-1][0] > since, "a frame exposed since then")
        assert frames[-1][1] == pytest.approx(RESTING_POWER, abs=0.02), moment
        with OptotuneLd4(str(rig)) as lens:  # refused to a second program, so nobody has it
            assert lens.capabilities.identity


def test_one_ctrl_c_for_rig_and_node_parks_the_lens_before_it_is_taken_away(tmp_path):
    link, log = tmp_path / "lens", tmp_path / "rig.log"
    small = {"camera__width": 64, "camera__height": 64, "camera__fx": 150.0}
    listener = Listener()
    listener.subscribe(SweepReport, "together/sweep", qos.REPORTS)
    with (
        process("sim_rig_node", log, "together", lens__link=link, **small) as rig,
        process("fossa_node", tmp_path / "node.log", "together", lens__port=link) as node,
    ):
        listener.wait_for("together/sweep", 2)
        for child in (rig, node):  # as a terminal or launch does
            child.send_signal(signal.SIGINT)
        assert (rig.wait(20), node.wait(20)) == (0, 0)
    assert "without being parked" not in (tmp_path / "node.log").read_text()
    assert "nobody has parked" not in log.read_text()
    listener.close()
