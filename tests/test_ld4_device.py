"""The simulated Lens Driver 4 checks what it is sent; most bytes are written out, not computed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.serial_device import LineFault

START, READY = b"Start", b"Ready\r\n"
CURRENT_MODE = bytes.fromhex("4d 77 44 41 54 46")
FOCAL_POWER_MODE = bytes.fromhex("4d 77 43 41 56 76")
LIMITS_20_35 = bytes.fromhex("50 77 54 41 02 30 01 40 32 37")
SET_2000 = bytes.fromhex("50 77 44 41 07 d0 00 00 31 fd")  # 5 D on type A, 10 D on type F
GET_POWER = bytes.fromhex("50 72 44 41 00 00 00 00 64 70")
TEMPERATURE, STATUS = bytes.fromhex("54 43 41 b0 d0"), bytes.fromhex("53 72 bc d5")
ERROR_1, ERROR_2, ERROR_3 = (ld4.error_frame(code) for code in (1, 2, 3))


class Clock:
    def __init__(self):
        self.ns = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock():
    return Clock()


def device(clock, model=None, **options) -> SimulatedLd4:
    made = SimulatedLd4(LensDynamics(model), clock, **options)
    assert made.feed(START) == READY
    return made


def status(lens: SimulatedLd4) -> int:
    reply = lens.feed(STATUS)
    assert len(reply) == 9 and reply[:1] == b"S"
    return int.from_bytes(reply[1:5], "big")


def held(lens: SimulatedLd4) -> int:
    reply = lens.feed(GET_POWER)
    assert len(reply) == 8
    return int.from_bytes(reply[2:4], "big", signed=True)


def test_answers_about_itself(clock):
    lens = device(clock, firmware_type="C", max_current=290.0)
    assert lens.feed(bytes.fromhex("48 00 36"))[:2] == b"HC"
    assert lens.feed(bytes.fromhex("43 72 4d 41 00 00 71 80"))[3:5] == bytes.fromhex("71 48")  # 29000
    assert len(lens.feed(bytes.fromhex("56 80 3e"))) == 11
    assert lens.feed(TEMPERATURE)[3:5] == bytes.fromhex("01 90")  # 25 degC in sixteenths


def test_range_is_in_the_replies(clock):
    lens = device(clock)
    without_limits = lens.feed(FOCAL_POWER_MODE)
    assert without_limits[3] == 0b100 and without_limits[4:8] == bytes(4)
    limits = lens.feed(LIMITS_20_35)
    mode = lens.feed(FOCAL_POWER_MODE)
    assert limits[2:7] == mode[3:8] == bytes.fromhex("00 02 58 fe 70")  # 600 and -400 steps


def test_type_a_counts_from_minus_five_dioptres(clock):
    lens = device(clock, LensModel(min_power=-2.0, max_power=6.0), firmware_type="A")
    lens.feed(LIMITS_20_35)
    assert lens.feed(FOCAL_POWER_MODE)[4:8] == bytes.fromhex("08 98 02 58")  # (6 + 5) * 200, (-2 + 5) * 200
    assert lens.feed(SET_2000) == b""
    assert lens.dynamics.set_point == 5.0
    assert held(lens) == 2000


def test_unreachable_power_is_clipped_and_reported(clock):
    lens = device(clock)
    lens.feed(FOCAL_POWER_MODE + LIMITS_20_35)
    lens.feed(SET_2000)
    assert held(lens) == 600 and lens.dynamics.set_point == 3.0
    assert ld4.status_words(status(lens)) == ("focal power cannot be reached",)
    lens.feed(ld4.SET_FOCAL_POWER.encode(-400))
    assert held(lens) == -400 and lens.dynamics.set_point == -2.0
    assert status(lens) == 0


def test_set_points_of_the_other_mode_are_ignored(clock):
    lens = device(clock)
    assert lens.feed(SET_2000) == b"" and lens.dynamics.set_point == 0.0 and held(lens) == 0
    lens.feed(ld4.SET_CURRENT.encode(2047))
    assert lens.dynamics.set_point == pytest.approx(3.0 * 2047 / 4095)
    lens.feed(FOCAL_POWER_MODE + ld4.SET_CURRENT.encode(0))
    assert lens.dynamics.set_point == pytest.approx(3.0 * 2047 / 4095)
    lens.feed(CURRENT_MODE + ld4.SET_CURRENT.encode(-4095))
    assert lens.dynamics.set_point == -2.0  # its least power, which takes less than the greatest current
    assert lens.feed(START) == READY and lens.dynamics.set_point == 0.0


def test_temperature_limits_are_watched(clock):
    lens = device(clock, LensModel(heating=20.0))
    lens.feed(LIMITS_20_35 + FOCAL_POWER_MODE + ld4.SET_FOCAL_POWER.encode(600))
    assert status(lens) == 0
    clock.ns += 1_200_000_000_000
    assert lens.feed(TEMPERATURE)[3:5] == bytes.fromhex("02 d0")  # 45 degC
    assert ld4.status_words(status(lens)) == ("temperature outside the limits set",)


def test_wrong_check_sum(clock):
    lens = device(clock)
    lens.feed(FOCAL_POWER_MODE)
    for index in range(4, len(SET_2000)):
        bad = bytearray(SET_2000)
        bad[index] ^= 0x01
        assert lens.feed(bytes(bad)) == ERROR_1
    assert held(lens) == 0 and lens.dynamics.set_point == 0.0


def test_unknown_and_missing_commands(clock):
    lens = device(clock, lacking=(ld4.FIRMWARE_VERSION,))
    assert lens.feed(b"Q\x00\x00") == ERROR_3
    assert lens.feed(bytes.fromhex("56 80 3e")) == ERROR_2
    assert lens.feed(b"start") == ERROR_3
    old = device(clock, old_errors=True)
    assert old.feed(b"Q\x00\x00") == b"N\r\n"
    assert lens.feed(START) == old.feed(START) == READY


def test_wrong_length(clock):
    lens = device(clock)
    assert lens.feed(STATUS + b"\x00") == lens.feed(STATUS) + ERROR_3  # one byte too many
    assert lens.feed(SET_2000[:6]) == b"" and lens.incomplete
    assert lens.on_silence() == ERROR_1 and not lens.incomplete and lens.on_silence() == b""
    assert held(lens) == 0


def test_bytes_may_come_one_by_one(clock):
    burst = START + LIMITS_20_35 + FOCAL_POWER_MODE + ld4.SET_FOCAL_POWER.encode(0x0A) + GET_POWER + STATUS
    whole = device(clock).feed(burst)
    lens = device(clock)
    assert b"".join(lens.feed(bytes([byte])) for byte in burst) == whole
    assert len(whole) == 7 + 11 + 12 + 8 + 9
    assert whole[32:34] == b"\x00\x0a"


@pytest.mark.parametrize(
    ("wrong", "reply"),
    [
        (LineFault(silent=True), b""),
        (LineFault(keep=4), b"Read"),
        (LineFault(noise=b"\xff\x0a"), b"\xff\x0aReady\r\n"),
        (LineFault(corrupt=True), b"Ruady\r\n"),
        (LineFault(delay=0.5), READY),
    ],
)
def test_misbehaviour_passes(clock, wrong, reply):
    lens = device(clock)
    lens.inject(wrong, replies=2)
    for _ in range(2):
        assert lens.feed(START) == reply
        assert lens.delay == wrong.delay
    assert lens.feed(START) == READY
    assert lens.delay == 0.0


GOOD = st.sampled_from([START, CURRENT_MODE, FOCAL_POWER_MODE, LIMITS_20_35, SET_2000, GET_POWER, STATUS])


@given(st.lists(st.one_of(st.binary(max_size=64), GOOD, GOOD.map(lambda good: good[:-1])), max_size=12))
def test_nothing_breaks_it(chunks):
    clock = Clock()
    lens = device(clock)
    for chunk in chunks:
        clock.ns += 1_000_000
        reply = lens.feed(chunk)
        assert reply == b"" or reply.endswith(b"\r\n")
    lens.on_silence()
    assert lens.feed(START + LIMITS_20_35 + FOCAL_POWER_MODE)[:9] == READY + b"PT"
    lens.feed(ld4.SET_FOCAL_POWER.encode(-123))
    assert held(lens) == -123 and lens.dynamics.set_point == -0.615


@given(
    steps=st.integers(-400, 600),
    cuts=st.lists(st.integers(0, 20), max_size=6),
    stray=st.binary(max_size=40).filter(lambda data: b"Start" not in data),
)
@settings(deadline=None)
def test_commands_arrive_in_any_pieces_and_silence_brings_the_device_in_step(steps, cuts, stray):
    device = SimulatedLd4(LensDynamics())
    device.feed(LIMITS_20_35 + FOCAL_POWER_MODE)
    device.feed(stray)
    device.on_silence()
    stream = ld4.SET_FOCAL_POWER.encode(steps) + ld4.FOCAL_POWER.encode()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    replies = b"".join(device.feed(stream[a:b]) for a, b in pairwise(edges))
    assert replies == ld4.FOCAL_POWER.encode_reply(steps)
