"""The Optotune ICC in Simple Mode: its lines, and the driver against the simulated device over a pseudo-terminal."""

from __future__ import annotations

import contextlib
import itertools
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import CommandRange, open_lens
from fossa_ros.lens import icc_protocol as icc
from fossa_ros.simulation.icc_device import SimulatedIcc
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.serial_device import LineFault

pytestmark = pytest.mark.real_time

TIMEOUT = 0.2


class Tapped(SimulatedIcc):
    received = b""

    def feed(self, data: bytes) -> bytes:
        self.received += data
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
    with open_lens("optotune_icc", port, power_offset=2.0, timeout=TIMEOUT) as lens:
        yield lens


def test_what_goes_over_the_wire(device, lens):
    assert device.received == b"START\r\nGETTEMP\r\nGETFPMIN\r\nGETFPMAX\r\n"
    device.received = b""
    lens.move_to(0.3)
    assert device.received == b"SETFP=1.333\r\n"
    device.received = b""
    lens.state()
    assert device.received == b"GETFP\r\nGETTEMP\r\n"
    device.received = b""
    lens.park()
    assert device.received == b"SETCURRENT=0.000\r\n"


def test_it_goes_where_it_is_commanded_and_stays_inside_the_range(device, lens):
    assert lens.capabilities.command == CommandRange("focal power", "D", -1.99, 2.99, 0.001)
    assert lens.capabilities.nearest == pytest.approx(1 / 4.99)
    assert lens.capabilities.measures_temperature and not lens.capabilities.measures_position
    for distance in (lens.capabilities.nearest, 0.25, 0.5, 5.0, lens.capabilities.farthest):
        move = lens.move_to(distance)
        assert 1 / move.focus_distance == pytest.approx(1 / distance, abs=0.0005 + 1e-9)
        assert device.dynamics.set_point == move.command
        assert lens.state().focus_distance == pytest.approx(move.focus_distance)
        assert move.settling_ns == 18_000_000 and move.sent_ns <= move.acknowledged_ns
    for distance in (0.2, 0.0, -1.0, math.nan):
        with pytest.raises(InputError, match=r"outside the lens's range of 0\.2004 m"):
            lens.move_to(distance)
    assert lens.state().temperature == pytest.approx(25, abs=2) and lens.state().faults == ()


def test_a_lens_that_holds_can_be_verified(device, lens):
    with pytest.raises(LensError, match="holds no focus; move it first"):
        lens.verify()
    lens.move_to(0.3)
    lens.verify()


def test_parked_without_current_and_woken_by_the_next_move(device, lens):
    lens.move_to(0.25)
    lens.park()
    assert device.dynamics.set_point == 0.0 and math.isnan(lens.state().focus_distance)
    assert lens.move_to(0.25).command == device.dynamics.set_point == 2.0


def test_a_firmware_without_current_and_thermometer():
    device = Tapped(LensDynamics(), lacking=(icc.SET_CURRENT, icc.TEMPERATURE))
    with PseudoTerminal(device) as terminal, open_lens("optotune_icc", terminal.port) as lens:
        assert not lens.capabilities.measures_temperature
        lens.move_to(0.5)
        assert lens.state().temperature is None
        lens.park()
        assert device.received.endswith(b"SETCURRENT=0.000\r\nSETFP=0.000\r\n")


def test_a_firmware_that_answers_otherwise_where_no_manual_is_certain(device):
    good = device.feed

    def feed(data):
        reply = good(data)
        return b"25 deg C\r\n" if data.startswith((b"GETTEMP", b"SETCURRENT")) else reply

    device.feed = feed
    with PseudoTerminal(device) as terminal, open_lens("optotune_icc", terminal.port, timeout=TIMEOUT) as lens:
        assert not lens.capabilities.measures_temperature
        assert lens.move_to(0.5).command == 2.0
        lens.park()
        assert device.received.endswith(b"SETFP=0.000\r\n") and device.dynamics.set_point == 0.0


def test_a_power_that_another_program_changed_is_a_fault(device, lens):
    lens.move_to(0.25)
    device.feed(b"setfp=1.0\r\n")
    assert lens.state().faults == ("commanded to a focal power of 2 D but holds 1 D",)
    with pytest.raises(
        LensError, match="commanded to a focal power of 2 D but holds 1 D; check that nothing else drives it"
    ):
        lens.verify()


@pytest.mark.parametrize(("word", "says"), [("OU", "above the range"), ("OL", "below the range"), ("NO", "done now")])
def test_a_refusal_in_words(device, lens, word, says):
    device.feed = lambda data: word.encode() + b"\r\n"
    with pytest.raises(LensError, match=f"answered SETFP=2 with {word}: .*{says}"):
        lens.move_to(0.25)
    assert not lens._line.disturbed  # a refusal is a proper reply


CORRUPTED = {
    "silent": LineFault(silent=True),
    "half a frame": LineFault(keep=1),
    "no line end": LineFault(keep=3),
    "corrupt": LineFault(corrupt=True),
    "noise": LineFault(noise=b"\x00\xff"),
    "a stray line": LineFault(noise=b"1.0\r\n"),
    "late": LineFault(delay=1.3 * TIMEOUT),
}


@pytest.mark.parametrize("corrupted", CORRUPTED.values(), ids=CORRUPTED)
def test_one_bad_reply_is_an_error_and_the_next_move_works(device, lens, corrupted):
    lens.move_to(0.25)
    device.inject(corrupted, replies=1)
    with pytest.raises(LensError, match="answered SETFP= with"):
        lens.move_to(0.5)
    assert math.isnan(lens.state().focus_distance)
    for distance in (1.0, 0.25):
        assert lens.move_to(distance).focus_distance == pytest.approx(distance)
        assert device.dynamics.set_point == pytest.approx(1.0 / distance - 2.0)


def test_replies_may_dribble_in(device, lens):
    device.inject(LineFault(dribble=0.002), replies=3)
    assert lens.move_to(0.25).command == lens.state().command == 2.0


def test_half_a_line_left_by_another_program(port):
    with open(port, "wb", buffering=0) as earlier:
        earlier.write(b"SETF")
        with open_lens("optotune_icc", port, timeout=TIMEOUT) as lens:
            assert lens.move_to(0.5).command == 2.0


@pytest.mark.parametrize("kept", [0, 2])
def test_a_cable_pulled_in_mid_frame_and_plugged_in_again(device, tmp_path, kept):
    link = tmp_path / "lens"
    with PseudoTerminal(device, link), open_lens("optotune_icc", str(link), timeout=TIMEOUT) as lens:
        device.inject(LineFault(keep=kept, unplug=True), replies=1)
        for _ in range(2):
            with pytest.raises(LensError):
                lens.move_to(1.0)
    with PseudoTerminal(device, link), open_lens("optotune_icc", str(link)) as lens:
        assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_a_lens_driver_4_is_not_taken_for_an_icc(tmp_path):
    from fossa_ros.simulation.ld4_device import SimulatedLd4

    with (
        PseudoTerminal(SimulatedLd4(LensDynamics())) as terminal,
        pytest.raises(LensError, match="should answer START with OK but sent 45 03"),
    ):
        open_lens("optotune_icc", terminal.port, timeout=TIMEOUT)


def test_no_lens_on_the_driver():
    device = SimulatedIcc(LensDynamics(LensModel(min_power=0.0, max_power=0.01)))
    with PseudoTerminal(device) as terminal, pytest.raises(LensError, match="no range of focal power"):
        open_lens("optotune_icc", terminal.port)


@given(st.binary(max_size=80))
def test_no_bytes_are_taken_for_a_reply_that_they_are_not(line):
    for command in (icc.SET_POWER, icc.POWER):
        with contextlib.suppress(icc.Refusal, icc.ReplyError):
            value = command.decode(line)
            assert line == b"OK\r\n" if value is None else math.isfinite(value)


@given(power=st.floats(-2, 3), cuts=st.lists(st.integers(0, 40), max_size=6), stray=st.binary(max_size=70))
@settings(deadline=None)
def test_lines_arrive_in_any_pieces_and_a_line_end_brings_the_device_in_step(power, cuts, stray):
    device = SimulatedIcc(LensDynamics())
    device.feed(icc.START.encode())
    device.feed(stray.upper().replace(b"SETFP", b"") + icc.LINE_END)
    stream = icc.SET_POWER.encode(power) + icc.POWER.encode()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    replies = b"".join(device.feed(stream[a:b]) for a, b in itertools.pairwise(edges))
    first, second = replies.splitlines(keepends=True)
    assert icc.SET_POWER.decode(first) is None
    assert icc.POWER.decode(second) == pytest.approx(power, abs=0.0005 + 1e-9)


def test_closing_parks_and_frees(device, port):
    lens = open_lens("optotune_icc", port)
    lens.move_to(0.5)
    lens.close()
    lens.close()
    assert device.dynamics.set_point == 0.0
    with pytest.raises(LensError, match="is closed; open it again"):
        lens.state()
    os.close(os.open(port, os.O_RDWR | os.O_NOCTTY))
