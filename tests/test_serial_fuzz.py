"""Whatever bytes come from a serial lens, a driver returns or says LensError in bounded time, and works afterwards."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.errors import FossaError, LensError
from fossa_ros.lens import icc_protocol as icc
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens import open_lens
from fossa_ros.lens import usbm_protocol as usbm
from fossa_ros.simulation.icc_device import SimulatedIcc
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.serial_device import LineFault
from fossa_ros.simulation.usbm_device import SimulatedUsbM

pytestmark = pytest.mark.real_time

TIMEOUT = 0.08  # seconds for one reply
LONGEST = 16 * TIMEOUT  # connecting is the longest call: two handshakes, and every reply at the last moment
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
SLACK = 2.0  # for a busy machine; a driver that hangs hangs for ever


def ld4_lie(reply: bytes, noise: bytes) -> bytes:
    """A frame whose check sum is right and whose fields are anything."""
    payload = reply[: -ld4.CRC_LENGTH - len(ld4.LINE_END)]
    return ld4.frame(payload[:1] + _filled(noise, len(payload) - 1)) + ld4.LINE_END if len(reply) > 5 else reply


def icc_lie(reply: bytes, noise: bytes) -> bytes:
    """A number that may be any, or a refusal."""
    words = [*icc.REFUSALS, icc.OK, f"{int.from_bytes(noise[:4], 'little', signed=True) / 1e4:.3f}"]
    return words[len(noise) % len(words)].encode() + icc.LINE_END


def usbm_lie(reply: bytes, noise: bytes) -> bytes:
    """Registers that hold anything, or a refusal."""
    if len(noise) % 4 == 0:
        return usbm.REFUSED
    return usbm.frame(usbm.READ, *_filled(noise, len(reply) - usbm.OVERHEAD)) if len(reply) > 4 else reply


def _filled(noise: bytes, length: int) -> bytes:
    return (noise + bytes(length))[: max(length, 0)]


@dataclass(frozen=True)
class Kind:
    """A backend, its simulated device, and how that lies."""

    backend: str
    make: Callable
    lie: Callable[[bytes, bytes], bytes]
    commands: tuple[float, float]


KINDS = (
    Kind("optotune_ld4", SimulatedLd4, ld4_lie, (1.0, 2.5)),
    Kind("optotune_icc", SimulatedIcc, icc_lie, (1.0, 2.5)),
    Kind("varioptic_usbm", SimulatedUsbM, usbm_lie, (30.0, 50.0)),
)
NOISE = st.binary(max_size=24)
WRONG = {
    "instead": lambda kind, reply, noise, at: noise,
    "before": lambda kind, reply, noise, at: noise + reply,
    "inside": lambda kind, reply, noise, at: reply[:at] + noise + reply[at:],
    "after": lambda kind, reply, noise, at: reply + noise,
    "cut": lambda kind, reply, noise, at: reply[:at],
    "twice": lambda kind, reply, noise, at: reply * 2,
    "a lie": lambda kind, reply, noise, at: kind.lie(reply, noise),
    "right": lambda kind, reply, noise, at: reply,
}
SCRIPT = st.lists(st.tuples(st.sampled_from(sorted(WRONG)), NOISE, st.integers(0, 11)), min_size=1, max_size=6)
CALLS = {
    "near": lambda lens, kind: lens.move_to_command(kind.commands[0]),
    "far": lambda lens, kind: lens.move_to_command(kind.commands[1]),
    "state": lambda lens, kind: lens.state(),
    "verify": lambda lens, kind: lens.verify(),
    "park": lambda lens, kind: lens.park(),
}


def scripted(kind: Kind):
    """Return a device whose next replies are corrupted by the contents of the queue."""
    device = kind.make(LensDynamics())
    good, script = device.feed, deque()

    def feed(data: bytes) -> bytes:
        reply = good(data)
        if not (reply and script):
            return reply
        wrong, noise, at = script.popleft()
        return WRONG[wrong](kind, reply, noise, at)

    device.feed = feed
    return device, script


def connected(kind: Kind, terminal: PseudoTerminal):
    """Open the lens while nothing is wrong with it, however busy the machine."""
    for tries_left in (2, 1, 0):
        try:
            return open_lens(kind.backend, terminal.port, timeout=TIMEOUT)
        except LensError:
            assert tries_left


@contextlib.contextmanager
def bounded():
    """Only sentences may be raised, and nothing may last."""
    began = time.monotonic()
    with contextlib.suppress(FossaError):
        yield
    assert time.monotonic() - began < LONGEST + SLACK


def goes_on(lens, kind: Kind) -> None:
    """Hold the lens to its word for two moves; a machine so busy that a reply is late may need another try."""
    for command in kind.commands:
        for tries_left in (2, 1, 0):
            try:
                moved_to, held = lens.move_to_command(command).command, lens.state().command
                break
            except LensError:
                assert tries_left
        assert moved_to == pytest.approx(command, abs=0.003) and held == pytest.approx(moved_to, abs=0.003)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.backend)
@settings(max_examples=EXAMPLES, deadline=None)
@given(script=SCRIPT, calls=st.lists(st.sampled_from(sorted(CALLS)), min_size=1, max_size=4))
def test_any_replies_to_a_lens_in_use(kind, script, calls):
    device, corrupted = scripted(kind)
    with PseudoTerminal(device) as terminal, connected(kind, terminal) as lens:
        corrupted.extend(script)
        for call in calls:
            with bounded():
                CALLS[call](lens, kind)
        corrupted.clear()
        goes_on(lens, kind)  # nothing is left that a reply could be mistaken for


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.backend)
@settings(max_examples=EXAMPLES, deadline=None)
@given(script=SCRIPT)
def test_any_replies_while_connecting(kind, script):
    device, corrupted = scripted(kind)
    corrupted.extend(script)
    with PseudoTerminal(device) as terminal:
        with bounded():
            open_lens(kind.backend, terminal.port, timeout=TIMEOUT).close()
        corrupted.clear()
        with connected(kind, terminal) as lens:  # the port is free again
            goes_on(lens, kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.backend)
def test_a_device_that_babbles_without_end(kind):
    device = kind.make(LensDynamics())
    with PseudoTerminal(device) as terminal, connected(kind, terminal) as lens:
        lens.move_to_command(kind.commands[0])
        device.inject(LineFault(babble=b"\x00\n\x02\xff Ready?\r\n"), replies=1000)
        with bounded():
            lens.state()  # it begins with the next thing that it is sent
        for call in (CALLS["far"], CALLS["verify"], CALLS["state"]):
            began = time.monotonic()
            with pytest.raises(LensError):
                call(lens, kind)
            assert time.monotonic() - began < LONGEST + SLACK
        with pytest.raises(LensError, match="in use by another program"):  # it is held all the same
            open_lens(kind.backend, terminal.port)
        device.inject(LineFault(), replies=0)
        goes_on(lens, kind)
