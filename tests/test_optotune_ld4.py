"""The Optotune driver against the simulated device, through a real pseudo-terminal."""

from __future__ import annotations

import gc
import logging
import math
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import CommandRange, LensMove, open_lens
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens.ld4_line import Ld4Line
from fossa_ros.lens.optotune_ld4 import OptotuneLd4
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.serial_device import LineFault, SerialDevice

pytestmark = pytest.mark.real_time

TIMEOUT = 0.25  # seconds; a reply takes a fraction of a millisecond unless the machine is busy
MS = 1_000_000


def resources() -> tuple[int, int]:
    """Threads and open files of this process."""
    gc.collect()  # what earlier tests left behind is not ours
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


class Scripted(SerialDevice):
    """A serial device that answers every burst with the same bytes."""

    def __init__(self, reply: bytes):
        super().__init__()
        self.reply = reply

    def feed(self, data: bytes) -> bytes:
        return self.reply


class Tapped(SimulatedLd4):
    """The simulated device on a line that is recorded and can flip a bit on the way to it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.received = b""
        self.flip_next = b""

    def feed(self, data: bytes) -> bytes:
        self.received += data
        if self.flip_next and self.flip_next in data:
            place = data.index(self.flip_next) + len(self.flip_next)
            data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            self.flip_next = b""
        return super().feed(data)


@pytest.fixture
def device():
    return Tapped(LensDynamics())


@pytest.fixture
def port(device):
    with PseudoTerminal(device) as terminal:
        yield terminal.port


@pytest.fixture
def lens(port):
    with open_lens("optotune_ld4", port, power_offset=2.0, timeout=TIMEOUT) as lens:
        yield lens


def test_capabilities(lens):
    assert lens.backend == "optotune_ld4"
    assert lens.capabilities.nearest == pytest.approx(0.2, abs=1e-12)  # 1 / (3 + 2) m
    assert lens.capabilities.farthest == math.inf
    assert lens.capabilities.is_metric
    assert lens.capabilities.command == CommandRange("focal power", "D", -2.0, 3.0, 1 / 200)
    assert lens.capabilities.measures_position is False
    assert lens.capabilities.measures_temperature is True
    assert lens.capabilities.identity == "Optotune Lens Driver 4, firmware F 1.8.4711.2, 293 mA"


def test_connecting_sets_temperature_limits_before_the_mode(device, lens):
    assert device.received.startswith(b"Start" + bytes.fromhex("48 00 36"))
    limits = b"PwTA" + bytes.fromhex("02 d0 01 40")  # 45 and 20 degC in sixteenths
    assert 0 < device.received.index(limits) < device.received.index(b"MwCA")


def test_a_move_is_these_bytes(device, lens):
    before = len(device.received)
    lens.move_to(0.25)  # 4 D, of which the fixed optics have 2: 400 steps
    payload = b"PwDA" + bytes.fromhex("01 90 00 00")
    crc = ld4.crc16(payload).to_bytes(2, "little")
    assert device.received[before:] == payload + crc + bytes.fromhex("50 72 44 41 00 00 00 00 64 70")


@pytest.mark.parametrize("firmware_type", ["A", "F"])
def test_the_lens_goes_where_it_is_commanded(firmware_type):
    dynamics = LensDynamics()
    device = SimulatedLd4(dynamics, firmware_type=firmware_type)
    near_to_far = np.linspace(5.0, 0.0, 11)  # dioptres of focus distance
    with PseudoTerminal(device) as terminal, OptotuneLd4(terminal.port, power_offset=2.0) as lens:
        for vergence in np.concatenate([near_to_far, near_to_far[::-1], [5.0, 0.0, 5.0]]):
            move = lens.move_to(1.0 / vergence if vergence else math.inf)
            settled = dynamics.settled_ns(0.01)
            assert settled <= move.acknowledged_ns + 18 * MS
            for late in (0, 5 * MS, 50 * MS):
                assert dynamics.power_at(settled + late) == pytest.approx(vergence - 2.0, abs=0.01)
            power = 0.0 if move.focus_distance == math.inf else 1.0 / move.focus_distance
            assert power == pytest.approx(vergence, abs=0.0025 + 1e-9)


def test_the_command_acts_between_sent_and_acknowledged(device, lens):
    lens.move_to(math.inf)
    time.sleep(0.05)
    move = lens.move_to(0.2)
    assert device.dynamics.power_at(move.sent_ns) == pytest.approx(-2.0, abs=0.01)
    first_order = 3.0 - 5.0 * math.exp(-1.0 / 2.8)  # 1 ms later, without the ringing's 0.1 D
    assert device.dynamics.power_at(move.acknowledged_ns + MS) > first_order - 0.1
    assert move.sent_ns < move.acknowledged_ns


def test_focus_distance_is_that_of_the_commanded_power(lens):
    move = lens.move_to(0.3)  # 3.3333 D: 266.67 steps of the lens's power
    assert move.focus_distance == pytest.approx(1.0 / (2.0 + 267 / 200), abs=1e-12)
    assert lens.state().focus_distance == move.focus_distance


def test_the_command_itself_without_the_fixed_optics(device, lens):
    move = lens.move_to_command(1.3333)
    assert device.dynamics.set_point == move.command == 267 / 200
    assert move.focus_distance == pytest.approx(1.0 / (2.0 + 267 / 200), abs=1e-12)
    assert lens.state().command == move.command
    with pytest.raises(InputError, match=r"focal power of 3\.1 D is outside the lens's range of -2 to 3 D"):
        lens.move_to_command(3.1)
    assert lens.state().command == move.command


def test_by_its_current_the_lens_needs_a_calibration(device, port):
    with open_lens("optotune_ld4", port, control="current") as lens:
        assert not lens.capabilities.is_metric
        assert (lens.capabilities.nearest, lens.capabilities.farthest) == (None, None)
        command = lens.capabilities.command
        assert command.unit == "mA" and (command.least, command.greatest) == pytest.approx((-292.84, 292.84))
        with pytest.raises(InputError, match=r"current \(-292\.84 to 292\.84 mA\) .* run 'fossa calibrate'"):
            lens.move_to(0.5)
        assert math.isnan(lens.state().command)
        for current in (100.0, -100.0):
            before = len(device.received)
            move = lens.move_to_command(current)
            steps = round(current / 292.84 * 4095)
            assert device.received[before:] == ld4.SET_CURRENT.encode(steps) + bytes.fromhex("53 72 bc d5")
            assert move.command == pytest.approx(current, abs=0.04) and math.isnan(move.focus_distance)
            assert device.dynamics.set_point == pytest.approx(max(3.0 * steps / 4095, -2.0))
            state = lens.state()
            assert state.command == move.command and math.isnan(state.focus_distance)
        lens.park()
        assert device.dynamics.set_point == 0.0 and math.isnan(lens.state().command)
        device.flip_next = b"Aw"
        with pytest.raises(LensError, match="error 1: the check sum was wrong"):
            lens.move_to_command(50.0)
        assert math.isnan(lens.state().command)


def test_a_driver_without_a_lens_is_no_use_by_its_current_either():
    device = SimulatedLd4(LensDynamics(), fault_bits=1)
    with PseudoTerminal(device) as terminal, pytest.raises(LensError, match="no lens connected"):
        OptotuneLd4(terminal.port, control="current")


def test_time_stamps_are_on_the_given_clock(device, port):
    ticks = iter(range(1000, 2000))
    with OptotuneLd4(port, clock=lambda: next(ticks)) as lens:
        expected = LensMove(0.5, sent_ns=1000, acknowledged_ns=1001, settling_ns=18 * MS, command=2.0)
        assert lens.move_to(0.5) == expected
        assert lens.state().stamp_ns == 1002


def test_range_without_offset_and_with_a_farthest_distance(port):
    with OptotuneLd4(port) as lens:
        assert (lens.capabilities.nearest, lens.capabilities.farthest) == (pytest.approx(1 / 3), math.inf)
    with OptotuneLd4(port, power_offset=2.5) as lens:
        assert lens.capabilities.farthest == pytest.approx(2.0)
        assert lens.move_to(lens.capabilities.farthest).focus_distance == pytest.approx(2.0)
        assert lens.move_to(lens.capabilities.nearest).focus_distance == pytest.approx(1 / 5.5)


@pytest.mark.parametrize("distance", [0.19, 0.0, -1.0, math.nan, -math.inf])
def test_out_of_range(device, lens, distance):
    held = lens.move_to(0.5)
    sent = len(device.received)
    with pytest.raises(InputError, match=r"0\.2 m \(5\.00 D\) to inf m \(0\.00 D\)"):
        lens.move_to(distance)
    assert len(device.received) == sent
    assert lens.state().focus_distance == held.focus_distance


def test_beyond_the_farthest(port):
    with OptotuneLd4(port, power_offset=2.5) as lens, pytest.raises(InputError, match=r"to 2 m \(0\.50 D\)"):
        lens.move_to(math.inf)


CORRUPTED = {
    "silent": LineFault(silent=True),
    "one byte": LineFault(keep=1),
    "half a frame": LineFault(keep=4),
    "corrupt": LineFault(corrupt=True),
    "noise": LineFault(noise=b"\x00\x0a\xff"),
    "late": LineFault(delay=1.5 * TIMEOUT),
}


@pytest.mark.parametrize("corrupted", CORRUPTED.values(), ids=CORRUPTED)
def test_one_bad_reply_is_an_error_and_the_next_move_works(device, lens, corrupted):
    lens.move_to(0.25)
    device.inject(corrupted, replies=1)
    began = time.monotonic()
    with pytest.raises(LensError, match=r"should answer PrDA with 8 bytes but sent"):
        lens.move_to(0.5)
    assert time.monotonic() - began < 10 * TIMEOUT  # it gives up; how fast does not matter
    assert math.isnan(lens.state().focus_distance)  # the position of the lens is unknown
    for distance in (1.0, 0.5, 0.25):
        assert lens.move_to(distance).focus_distance == pytest.approx(distance)
        assert device.dynamics.set_point == pytest.approx(1.0 / distance - 2.0)


def test_replies_may_dribble_in(device, lens):
    device.inject(LineFault(dribble=0.002), replies=5)
    assert lens.move_to(0.25).command == 2.0
    assert lens.state().command == 2.0


def test_corrupt_command_is_refused_and_the_lens_stays(device, lens):
    lens.move_to(0.25)
    device.flip_next = b"PwDA"
    with pytest.raises(LensError, match=r"error 1: the check sum was wrong"):
        lens.move_to(0.5)
    assert device.dynamics.set_point == pytest.approx(2.0)
    assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)
    assert device.dynamics.set_point == pytest.approx(0.0)


def test_old_firmware_refuses_with_a_letter():
    device = Tapped(LensDynamics(), old_errors=True)
    with PseudoTerminal(device) as terminal, OptotuneLd4(terminal.port) as lens:
        device.flip_next = b"PwDA"
        with pytest.raises(LensError, match="update its firmware"):
            lens.move_to(0.5)
        assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


@pytest.mark.parametrize("power_cycled", [False, True])  # then without temperature limits, and so without a range
def test_a_reset_device_is_noticed_and_woken(device, lens, power_cycled):
    lens.move_to(0.25)
    device.power_cycle() if power_cycled else device.feed(b"Start")  # back to zero current
    with pytest.raises(LensError, match=r"commanded to 3\.000 D but holds 0\.000 D"):
        lens.move_to(0.2)
    lens.move_to(0.2)
    assert device.dynamics.set_point == 3.0 and lens.state().faults == ()


def test_a_lens_that_was_reset_after_its_move_cannot_be_verified(device, lens):
    lens.move_to(0.25)
    lens.verify()
    device.feed(b"Start")
    with pytest.raises(LensError, match="commanded to a focal power of 2 D but holds 0 D"):
        lens.verify()


def test_park_takes_the_current_away(device, lens):
    assert math.isnan(lens.state().focus_distance)  # not moved yet
    lens.move_to(0.2)
    lens.park()
    assert device.dynamics.set_point == 0.0
    assert device.received.endswith(
        bytes.fromhex("4d 77 44 41 54 46") + ld4.SET_CURRENT.encode(0) + bytes.fromhex("53 72 bc d5")
    )
    assert math.isnan(lens.state().focus_distance)
    lens.move_to(0.2)
    assert device.dynamics.set_point == 3.0
    assert lens.state().focus_distance == pytest.approx(0.2)


def test_state_in_words():
    device = SimulatedLd4(LensDynamics(LensModel(ambient=17.5)), fault_bits=1 << 4)
    with PseudoTerminal(device) as terminal, OptotuneLd4(terminal.port) as lens:
        state = lens.state()
        assert state.temperature == 17.5
        assert state.faults == ("focal power is inverted", "temperature outside the limits set")
    with PseudoTerminal(device) as terminal, OptotuneLd4(terminal.port, temperature_limits=[10, 40]) as lens:
        assert lens.state().faults == ("focal power is inverted",)


def test_driver_without_a_lens():
    device = SimulatedLd4(LensDynamics(), fault_bits=1)
    with PseudoTerminal(device) as terminal, pytest.raises(LensError, match="no lens connected"):
        OptotuneLd4(terminal.port)


def test_firmware_of_unknown_version_will_do():
    device = SimulatedLd4(LensDynamics(), lacking=(ld4.FIRMWARE_VERSION,))
    with PseudoTerminal(device) as terminal, OptotuneLd4(terminal.port) as lens:
        assert lens.capabilities.identity.endswith("firmware F of unknown version, 293 mA")
        assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_firmware_of_unknown_scale_will_not():
    reply = ld4.FIRMWARE_TYPE.encode_reply(b"Z")
    device = Scripted(ld4.READY)
    device.feed = lambda data: ld4.READY if data == b"Start" else reply
    with PseudoTerminal(device) as terminal, pytest.raises(LensError, match="firmware type 'Z'"):
        OptotuneLd4(terminal.port)


@pytest.mark.parametrize("gives_up", [True, False])
def test_half_a_command_left_by_another_program(device, port, gives_up):
    if not gives_up:
        device.on_silence = lambda: b""
    with open(port, "wb", buffering=0) as earlier:
        earlier.write(b"Mw")
        with OptotuneLd4(port, timeout=TIMEOUT) as lens:
            assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_chatter_before_the_handshake(device, port):
    device.inject(LineFault(noise=bytes(range(64))), replies=1)
    with OptotuneLd4(port, timeout=TIMEOUT) as lens:
        assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_refusal_that_arrives_before_the_next_query(port):
    line = Ld4Line(port, TIMEOUT)
    line.shake_hands()
    line.command(ld4.Command(b"Qw", ">h"), 0)
    time.sleep(0.05)  # the error frame lies unread now
    with pytest.raises(LensError, match=r"refused PrDA or what was sent before it .*unknown"):
        line.query(ld4.FOCAL_POWER)
    assert line.query(ld4.FOCAL_POWER) == (0,)
    line.close()


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (b"", "nothing;"),
        (b"Re", "52 65;"),
        (b"OK\r\n", "4f 4b 0d 0a;"),
        (b"\n" * 40, "0a 0a 0a 0a 0a 0a 0a;"),
    ],
)
def test_something_else_at_the_port(reply, shown):
    before = resources()
    unready = pytest.raises(LensError, match="should answer 'Ready'")
    with PseudoTerminal(Scripted(reply)) as terminal, unready as failure:
        OptotuneLd4(terminal.port, timeout=0.1)
    assert f"sent {shown}" in str(failure.value) and terminal.port in str(failure.value)
    assert resources() == before


def test_missing_port_names_what_there_is(tmp_path):
    with pytest.raises(LensError, match="does not exist; plug the lens in or set port to one that does"):
        OptotuneLd4(str(tmp_path / "ttyACM7"))


def test_a_file_is_no_port(tmp_path):
    (tmp_path / "notes.txt").write_text("no port")
    with pytest.raises(LensError, match="not a usable serial port"):
        OptotuneLd4(str(tmp_path / "notes.txt"))


def test_one_opener_at_a_time(port, lens):
    with pytest.raises(LensError, match="in use by another program"):
        OptotuneLd4(port)
    assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)
    lens.close()
    with OptotuneLd4(port) as second:
        assert second.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_another_process_is_refused_too(port, lens):
    program = f"from fossa_ros.lens import open_lens; open_lens('optotune_ld4', {port!r})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert result.returncode != 0
    holder = f"process {os.getpid()}, {Path('/proc/self/comm').read_text().strip()}"
    assert f"LensError: Port {port!r} is in use by another program ({holder}); close it or set" in result.stderr
    assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_closing_frees_everything():
    before = resources()
    device = SimulatedLd4(LensDynamics())
    terminal = PseudoTerminal(device)
    lens = OptotuneLd4(terminal.port)
    lens.move_to(0.5)
    assert threading.active_count() == before[0] + 1
    lens.close()
    lens.close()
    assert device.dynamics.set_point == 0.0  # parked
    with pytest.raises(LensError, match="is closed; open it again"):
        lens.move_to(0.5)
    with pytest.raises(LensError, match="is closed; open it again"):
        lens.state()
    terminal.close()
    terminal.close()
    assert resources() == before


def test_a_pulled_cable(caplog):
    terminal = PseudoTerminal(SimulatedLd4(LensDynamics()))
    lens = OptotuneLd4(terminal.port, timeout=TIMEOUT)
    lens.move_to(0.5)
    before = resources()
    terminal.close()
    with pytest.raises(LensError, match=r"failed .*; check the cable and open the lens again"):
        lens.move_to(1.0)
    with caplog.at_level(logging.WARNING):
        lens.close()
    assert "closed without being parked" in caplog.text
    threads, files = resources()
    assert threads == before[0] - 1
    assert files <= before[1] - 5  # four of the terminal, at least one of the lens


def test_a_cable_pulled_from_a_lens_that_rests_is_no_reason_for_alarm(caplog):
    device = SimulatedLd4(LensDynamics())
    with PseudoTerminal(device) as terminal, caplog.at_level(logging.WARNING):
        lens = OptotuneLd4(terminal.port, timeout=TIMEOUT)
        lens.move_to(0.5)
        lens.park()
        terminal.close()  # as the rig does on the same Ctrl-C, once it sees the lens rest
        lens.close()
    assert caplog.text == ""


def test_closing_parks_once(device, port):
    rest = ld4.SET_CURRENT.encode(0)
    lens = OptotuneLd4(port)
    lens.move_to(0.5)
    lens.park()
    lens.move_to(0.5)
    lens.park()
    sent = device.received.count(rest)
    lens.close()
    assert device.received.count(rest) == sent
    with OptotuneLd4(port) as lens:  # the state in which the last program left it is unknown
        sent = device.received.count(rest)
    assert device.received.count(rest) == sent + 1


@pytest.mark.parametrize("kept", [0, 3, 8])
def test_a_cable_pulled_in_mid_frame_and_plugged_in_again(tmp_path, kept):
    device, link = SimulatedLd4(LensDynamics()), tmp_path / "lens"
    with PseudoTerminal(device, link), OptotuneLd4(str(link), timeout=TIMEOUT) as lens:
        lens.move_to(0.5)
        device.inject(LineFault(keep=kept, unplug=True), replies=1)
        with pytest.raises(LensError):  # of the frame that ends too soon, or, after all of it, by the next move
            for _ in range(2):
                lens.move_to(1.0)
        with pytest.raises(LensError, match="check the cable and open the lens again"):
            lens.move_to(1.0)
        deadline = time.monotonic() + 5
        while link.is_symlink() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(LensError, match="does not exist"):
            OptotuneLd4(str(link))
    with PseudoTerminal(device, link), OptotuneLd4(str(link)) as lens:
        assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_a_dead_device_does_not_keep_the_port(device, port):
    lens = OptotuneLd4(port, timeout=TIMEOUT)
    device.inject(LineFault(silent=True), replies=3)
    lens.close()
    device.inject(LineFault(), replies=0)
    with OptotuneLd4(port) as again:
        assert again.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_many_threads_one_lens(device, lens):
    failures = []

    def use(distance):
        try:
            for _ in range(50):
                assert lens.move_to(distance).focus_distance == pytest.approx(distance)
                assert lens.state().faults == ()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(distance,)) for distance in (0.2, 0.25, 0.5, 1.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert device.received.count(b"PwDA") == 200


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature_limits": (40.0, 20.0)}, "temperature_limits"),
        ({"temperature_limits": 30.0}, "temperature_limits"),
        ({"temperature_limits": (20.0, 3000.0)}, "temperature_limits"),
        ({"power_offset": math.nan}, "power_offset"),
        ({"power_offset": -3.0}, "raise power_offset"),
        ({"timeout": 0.0}, "timeout"),
        ({"settling": -1.0}, "settling"),
        ({"control": "voltage"}, "focal_power, current, not 'voltage'"),
        ({"control": "current", "power_offset": 2.0}, "power_offset belongs to focal powers"),
        ({"colour": "red"}, "colour.*power_offset, control, temperature_limits, settling, timeout"),
    ],
)
def test_options_that_cannot_be(port, options, says):
    before = resources()
    with pytest.raises(InputError, match=says):
        open_lens("optotune_ld4", port, **options)
    assert resources() == before


def test_unknown_backend_names_the_known_ones(port):
    with pytest.raises(InputError, match=r"no lens backend 'optotune'; choose one of: .*optotune_ld4"):
        open_lens("optotune", port)


def test_other_packages_add_backends_but_do_not_take_over_ours(tmp_path, monkeypatch, port):
    (tmp_path / "their_lens.py").write_text(
        "class TheirLens:\n    def __init__(self, port, *, clock, steps=1):\n        self.got = port, clock(), steps\n"
    )
    metadata = tmp_path / "their_lens-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-lens\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[fossa_ros.lenses]\ntheirs = their_lens:TheirLens\nbroken = their_lens:Missing\n"
        "optotune_ld4 = their_lens:TheirLens\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert open_lens("theirs", "p", clock=lambda: 7, steps=3).got == ("p", 7, 3)
    with pytest.raises(LensError, match=r"'broken' \(their_lens:Missing\) cannot be loaded"):
        open_lens("broken", "p")
    with open_lens("optotune_ld4", port) as lens:
        assert isinstance(lens, OptotuneLd4)
    sys.modules.pop("their_lens")


def test_terminal_passes_bytes_as_they_are(device, port):
    """To a client that sets nothing up, too; half a command is answered once the rest has failed to come."""
    client = os.open(port, os.O_RDWR | os.O_NOCTTY)

    def receive(length: int) -> bytes:
        data = b""
        while len(data) < length and select.select([client], [], [], 2.0)[0]:
            data += os.read(client, 64)
        return data

    os.write(client, b"Start")
    assert receive(7) == b"Ready\r\n"
    os.write(client, ld4.TEMPERATURE_LIMITS.encode(720, 320) + ld4.FOCAL_POWER_MODE.encode())
    assert len(receive(23)) == 23
    os.write(client, ld4.SET_FOCAL_POWER.encode(0x0A))
    os.write(client, bytes.fromhex("50 72 44 41 00 00 00 00 64 70"))
    assert receive(8)[2:4] == b"\x00\x0a"
    os.write(client, b"PwDA\x00\x00")
    assert receive(6) == ld4.error_frame(1)
    os.close(client)


def test_link_to_the_port(tmp_path):
    link = tmp_path / "lens"
    link.symlink_to(tmp_path / "gone")  # left behind by a program that was killed
    with PseudoTerminal(SimulatedLd4(LensDynamics()), link) as terminal:
        assert terminal.port == str(link)
        with OptotuneLd4(terminal.port) as lens:
            assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)
        with pytest.raises(InputError, match="cannot be made"):
            PseudoTerminal(SimulatedLd4(LensDynamics()), link)
        assert link.is_symlink()
    assert not link.is_symlink()
    link.write_text("precious")
    with pytest.raises(InputError, match="File exists"):
        PseudoTerminal(SimulatedLd4(LensDynamics()), link)
    assert link.read_text() == "precious"


def test_forgotten_terminal_cleans_up(tmp_path):
    before = resources()
    terminal = PseudoTerminal(SimulatedLd4(LensDynamics()), tmp_path / "lens")
    assert os.listdir(tmp_path) == ["lens"]
    del terminal
    assert resources() == before
    assert os.listdir(tmp_path) == []
