"""The Varioptic USB-M: its frames, and the driver against the simulated device over a pseudo-terminal."""

from __future__ import annotations

import contextlib
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import CommandRange, open_lens
from fossa_ros.lens import usbm_protocol as usbm
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.serial_device import LineFault
from fossa_ros.simulation.usbm_device import SimulatedUsbM

pytestmark = pytest.mark.real_time

TIMEOUT = 0.2
MODEL = LensModel(min_power=-5.0, max_power=13.0, neutral_power=-5.0)


class Tapped(SimulatedUsbM):
    received = b""

    def feed(self, data: bytes) -> bytes:
        self.received += data
        return super().feed(data)


@pytest.fixture
def device():
    return Tapped(LensDynamics(MODEL))


@pytest.fixture
def port(device):
    with PseudoTerminal(device) as terminal:
        yield terminal.port


@pytest.fixture
def lens(port):
    with open_lens("varioptic_usbm", port, timeout=TIMEOUT) as lens:
        yield lens


def test_frames_of_the_guide():
    assert bytes.fromhex("02 37 06 3f") == usbm.ACKNOWLEDGED
    assert bytes.fromhex("02 37 15 4e") == usbm.REFUSED
    assert usbm.Write(usbm.FOCUS_LSB, bytes([0x0A, 0x20])).encode() == bytes.fromhex("02 37 00 02 0a 20 65")
    assert usbm.Read(usbm.FAULT, 1).encode() == bytes.fromhex("02 38 0a 01 45")
    assert usbm.Read(usbm.FOCUS_LSB, 2).decode_reply(bytes.fromhex("02 38 02 37 73")) == bytes.fromhex("02 37")
    assert (usbm.voltage_of(0), usbm.voltage_of(0xB3B0)) == (24.0, pytest.approx(70.0))


def test_a_voltage_is_one_frame_of_both_bytes(device, lens):
    device.received = b""
    move = lens.move_to_command(34.25)  # 10250 counts: 0x280a, a line end among the data
    assert device.received == usbm.frame(0x37, 0, 2, 0x0A, 0x28)
    assert move.command == pytest.approx(34.25, abs=1e-9) and math.isnan(move.focus_distance)
    assert move.settling_ns == 25_000_000
    assert not device.registers[usbm.MODE] & usbm.ANALOG
    assert device.dynamics.set_point == pytest.approx(-5.0 + 18.0 * 10250 / 46000)


def test_without_a_calibration_metres_are_refused_with_what_to_do(device, lens):
    assert lens.capabilities.command == CommandRange("voltage", "V", 24.0, pytest.approx(70.0), 0.001)
    assert (lens.capabilities.nearest, lens.capabilities.farthest) == (None, None)
    sent = len(device.received)
    with pytest.raises(InputError, match=r"voltage \(24 to 70 V\) .* run 'fossa calibrate' and set lens\.calibration"):
        lens.move_to(0.5)
    for voltage in (23.9, 70.1, math.nan):
        with pytest.raises(InputError, match="outside the lens's range of 24 to 70 V"):
            lens.move_to_command(voltage)
    assert len(device.received) == sent


def test_a_sweep_there_and_back_never_touches_the_eeprom(device, lens):
    for voltage in [*range(24, 71), *range(70, 23, -1)]:
        assert lens.move_to_command(voltage).command == pytest.approx(voltage)
        assert lens.state().command == pytest.approx(voltage)
    lens.park()
    assert device.eeprom_writes == 0
    assert device.dynamics.set_point == -5.0 and math.isnan(lens.state().command)


def test_faults_in_words(device, lens):
    assert lens.state().faults == ()  # analog mode is not a fault before the first move
    lens.move_to_command(40.0)
    device.registers[usbm.FAULT] = 0x04
    device.registers[usbm.MODE] |= usbm.ANALOG
    stray = "commanded to a voltage of 40 V but holds nan V"
    assert lens.state().faults == ("fault register 0x04", "follows its analog input", stray)
    device.registers[usbm.FAULT] = 0
    device.feed(usbm.Write(usbm.FOCUS_LSB, b"\0\0").encode())
    assert lens.state().faults == ("commanded to a voltage of 40 V but holds 24 V",)
    with pytest.raises(LensError, match="commanded to a voltage of 40 V but holds 24 V"):
        lens.verify()
    lens.move_to_command(40.0)
    lens.verify()


def test_the_device_itself_is_strict(device):
    assert device.feed(usbm.Write(usbm.FOCUS_LSB, b"\xb1\xb3").encode()) == usbm.REFUSED  # beyond 70 V
    assert device.feed(usbm.Write(usbm.FOCUS_LSB, b"\x10").encode()) == usbm.ACKNOWLEDGED
    assert device.dynamics.set_point == -5.0 and device.registers[usbm.MODE] == usbm.ANALOG  # not until the MSB
    assert device.feed(usbm.Write(usbm.FOCUS_MSB, b"\x10").encode()) == usbm.ACKNOWLEDGED
    assert device.dynamics.set_point == pytest.approx(-5.0 + 18.0 * 0x1010 / 46000)
    assert device.feed(usbm.Read(0x0F, 2).encode()) == usbm.REFUSED
    assert device.feed(bytes.fromhex("02 38 00 02 3d")) == usbm.REFUSED  # sum
    assert device.feed(bytes.fromhex("02 39")) == usbm.REFUSED  # command
    assert device.feed(b"\xff\x00" + usbm.Read(usbm.MODE, 1).encode()) == usbm.frame(0x38, 0)
    assert device.feed(b"\x02\x38\x00") == b"" and device.incomplete
    assert device.on_silence() == b"" and not device.incomplete


CORRUPTED = {
    "silent": LineFault(silent=True),
    "half a frame": LineFault(keep=2),
    "corrupt": LineFault(corrupt=True),
    "noise": LineFault(noise=b"\x00\x0a\x02"),
    "late": LineFault(delay=1.3 * TIMEOUT),
}


@pytest.mark.parametrize("corrupted", CORRUPTED.values(), ids=CORRUPTED)
def test_one_bad_reply_is_an_error_and_the_next_move_works(device, lens, corrupted):
    lens.move_to_command(30.0)
    device.inject(corrupted, replies=1)
    with pytest.raises(LensError, match=r"should answer 02 37 00 02 .* with 4 bytes but sent"):
        lens.move_to_command(50.0)
    assert math.isnan(lens.state().command)
    for voltage in (60.0, 30.0):
        assert lens.move_to_command(voltage).command == pytest.approx(voltage)
        assert lens.state().command == pytest.approx(voltage)


def test_replies_may_dribble_in(device, lens):
    device.inject(LineFault(dribble=0.002), replies=3)
    lens.move_to_command(40.0)
    assert lens.state().command == pytest.approx(40.0) and lens.state().faults == ()


def test_a_refusal_is_a_sentence(device, lens):
    device.feed = lambda data: usbm.REFUSED
    with pytest.raises(LensError, match=r"refused 02 37 00 02 .* \(NACK\)"):
        lens.move_to_command(30.0)
    with pytest.raises(LensError, match=r"refused 02 38 00 04 .* \(NACK\)"):
        lens.state()
    del device.feed
    assert lens.move_to_command(30.0).command == pytest.approx(30.0)


def test_half_a_frame_left_by_another_program(port):
    with open(port, "wb", buffering=0) as earlier:
        earlier.write(b"\x02\x37\x00\x09")
        with open_lens("varioptic_usbm", port, timeout=TIMEOUT) as lens:
            assert lens.move_to_command(30.0).command == pytest.approx(30.0)


def test_the_first_handshake_is_swallowed(device, port):
    """As by half a frame that the device has not yet dropped when the first command comes."""
    device.inject(LineFault(silent=True), replies=1)
    with open_lens("varioptic_usbm", port, timeout=TIMEOUT) as lens:
        assert lens.move_to_command(30.0).command == pytest.approx(30.0)
    device.inject(LineFault(silent=True), replies=2)
    with pytest.raises(LensError, match="sent nothing"):
        open_lens("varioptic_usbm", port, timeout=TIMEOUT)


@pytest.mark.parametrize("kept", [0, 3])
def test_a_cable_pulled_in_mid_frame_and_plugged_in_again(device, tmp_path, kept):
    link = tmp_path / "lens"
    with PseudoTerminal(device, link), open_lens("varioptic_usbm", str(link), timeout=TIMEOUT) as lens:
        device.inject(LineFault(keep=kept, unplug=True), replies=1)
        for _ in range(2):
            with pytest.raises(LensError):
                lens.move_to_command(30.0)
    with PseudoTerminal(device, link), open_lens("varioptic_usbm", str(link)) as lens:
        assert lens.move_to_command(30.0).command == pytest.approx(30.0)


@given(reply=st.binary(max_size=12))
def test_no_bytes_are_taken_for_a_reply_that_they_are_not(reply):
    for command in (usbm.Write(0, b"\0\0"), usbm.Read(0, 2)):
        with contextlib.suppress(usbm.Refusal, usbm.FrameError):
            data = command.decode_reply(reply)
            assert reply == (usbm.frame(usbm.READ, *data) if data else usbm.ACKNOWLEDGED)


@given(reply=st.binary(min_size=2, max_size=2).map(lambda data: usbm.frame(usbm.READ, *data)), bit=st.integers(0, 39))
def test_a_flipped_bit_is_always_noticed(reply, bit):
    wrong = bytearray(reply)
    wrong[bit // 8] ^= 1 << bit % 8
    with pytest.raises(usbm.FrameError):
        usbm.Read(0, 2).decode_reply(bytes(wrong))


@given(
    count=st.integers(0, usbm.GREATEST_COUNT),
    cuts=st.lists(st.integers(0, 12), max_size=6),
    stray=st.binary(max_size=40),
)
@settings(deadline=None)
def test_frames_arrive_in_any_pieces_and_silence_brings_the_device_in_step(count, cuts, stray):
    device = SimulatedUsbM(LensDynamics(MODEL))
    device.feed(stray)
    device.on_silence()
    focus = count.to_bytes(2, "little")
    stream = usbm.Write(usbm.FOCUS_LSB, focus).encode() + usbm.Read(usbm.FOCUS_LSB, 2).encode()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    replies = b"".join(device.feed(stream[a:b]) for a, b in itertools.pairwise(edges))
    assert replies == usbm.ACKNOWLEDGED + usbm.frame(usbm.READ, *focus)
