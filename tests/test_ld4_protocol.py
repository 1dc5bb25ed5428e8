"""The Lens Driver 4 protocol, byte for byte against the manual."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossa_ros.lens import ld4_protocol as ld4


def bitwise_crc(data: bytes) -> bytes:
    """CRC-16/ARC computed bit by bit, independently of the table under test; low byte first."""
    crc = 0
    for bit in (byte >> shift & 1 for byte in data for shift in range(8)):
        crc = (crc >> 1) ^ (0xA001 if (crc ^ bit) & 1 else 0)
    return struct.pack("<H", crc)


def reply(payload: bytes) -> bytes:
    return payload + bitwise_crc(payload) + b"\r\n"


def test_crc_check_vector():
    assert ld4.crc16(b"123456789") == 0xBB3D
    assert ld4.crc16(b"") == 0


# The command table: what is sent, and how long the reply is.
TABLE = [
    (ld4.FIRMWARE_TYPE, (), "48 00 36", 6),
    (ld4.FIRMWARE_VERSION, (), "56 80 3e", 11),
    (ld4.MAX_CURRENT, (), "43 72 4d 41 00 00 71 80", 9),
    (ld4.FOCAL_POWER_MODE, (), "4d 77 43 41 56 76", 12),
    (ld4.CURRENT_MODE, (), "4d 77 44 41 54 46", 7),
    (ld4.TEMPERATURE_LIMITS, (560, 320), "50 77 54 41 02 30 01 40 32 37", 11),
    (ld4.SET_FOCAL_POWER, (2000,), "50 77 44 41 07 d0 00 00 31 fd", 0),
    (ld4.FOCAL_POWER, (), "50 72 44 41 00 00 00 00 64 70", 8),
    (ld4.TEMPERATURE, (), "54 43 41 b0 d0", 9),
    (ld4.STATUS, (), "53 72 bc d5", 9),
]


@pytest.mark.parametrize(("command", "values", "sent", "reply_length"), TABLE)
def test_command_table(command, values, sent, reply_length):
    sent = bytes.fromhex(sent)
    assert command.encode(*values) == sent
    assert command.length == len(sent)
    assert command.decode(sent) == values
    assert command.reply_length == reply_length


@pytest.mark.parametrize("steps", [-4095, -1, 0, 0x0A0A, 4095])
def test_set_current(steps):
    payload = b"Aw" + struct.pack(">h", steps)
    assert ld4.SET_CURRENT.encode(steps) == payload + bitwise_crc(payload)
    assert ld4.SET_CURRENT.reply_length == 0


def test_handshake():
    assert bytes.fromhex("53 74 61 72 74") == ld4.HANDSHAKE
    assert bytes.fromhex("52 65 61 64 79 0d 0a") == ld4.READY


REPLIES = [
    (ld4.FIRMWARE_TYPE, b"HA", (b"A",)),
    (ld4.FIRMWARE_VERSION, b"V\x01\x08\x12\x67\x00\x02", (1, 8, 4711, 2)),
    (ld4.MAX_CURRENT, b"CMA\x72\x64", (29284,)),
    (ld4.CURRENT_MODE, b"MDA", ()),
    (ld4.FOCAL_POWER_MODE, b"MCA\x04\x06\x40\x02\x58", (4, 1600, 600)),
    (ld4.TEMPERATURE_LIMITS, b"PT\x00\x02\x58\xfe\x70", (0, 600, -400)),
    (ld4.FOCAL_POWER, b"PD\x0a\x0a", (0x0A0A,)),  # a reply read by line would end here
    (ld4.TEMPERATURE, b"TCA\x01\x98", (408,)),
    (ld4.STATUS, b"S\x00\x00\x00\x28", (0x28,)),
]


@pytest.mark.parametrize(("command", "payload", "values"), REPLIES)
def test_replies(command, payload, values):
    assert command.decode_reply(reply(payload)) == values
    assert command.encode_reply(*values) == reply(payload)


def test_example_of_the_manual():
    """5 D on a driver of type A, and the same bytes mean 10 D on type F."""
    example = bytes.fromhex("50 77 44 41 07 d0 00 00 31 fd")
    assert ld4.SET_FOCAL_POWER.encode(ld4.PowerScale.of("A").steps(5.0)) == example
    assert ld4.PowerScale.of("F").steps(5.0) == 1000
    assert ld4.PowerScale.of("F").power(2000) == 10.0


@given(st.sampled_from("ABCDEFH"), st.floats(-10.0, 10.0))
def test_scale_round_trip(firmware_type, power):
    scale = ld4.PowerScale.of(firmware_type)
    assert abs(scale.power(scale.steps(power)) - power) <= 0.0025 + 1e-9


def test_unknown_firmware_type_has_no_scale():
    with pytest.raises(KeyError):
        ld4.PowerScale.of("G")


@given(st.binary(min_size=1, max_size=40))
def test_frames_round_trip(payload):
    framed = ld4.frame(payload)
    assert framed == payload + bitwise_crc(payload)
    assert ld4.unframe(framed) == payload


@given(st.sampled_from(REPLIES), st.data())
def test_one_flipped_bit_is_noticed(row, data):
    command, payload, _ = row
    good = reply(payload)
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ld4.FrameError):
        command.decode_reply(bytes(bad))


@given(st.sampled_from(REPLIES), st.data())
def test_cut_replies_are_noticed(row, data):
    command, payload, _ = row
    good = reply(payload)
    with pytest.raises(ld4.FrameError, match=f"of {len(good)} bytes"):
        command.decode_reply(good[: data.draw(st.integers(0, len(good) - 1))])


def test_replies_to_another_command_are_noticed():
    with pytest.raises(ld4.FrameError, match="another command"):
        ld4.TEMPERATURE.decode_reply(reply(b"S\x00\x00\x00\x00"))


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_error_frames(code):
    assert ld4.error_frame(code) == reply(b"E" + bytes([code]))
    assert len(ld4.error_frame(code)) == ld4.ERROR_LENGTH == 6
    assert ld4.decode_error(reply(b"E" + bytes([code]))) == code
    with pytest.raises(ld4.FrameError):
        ld4.decode_error(reply(b"HA"))


def test_status_words():
    assert ld4.status_words(0) == ()
    assert ld4.status_words(1 << 0) == ("no lens connected",)
    assert ld4.status_words(1 << 3 | 1 << 7) == (
        "focal power cannot be reached",
        "temperature outside the limits set",
    )
    assert len(ld4.status_words(0xFFFFFFFF)) == 8
