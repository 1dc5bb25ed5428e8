"""Serial ports by USB id. There is no USB here: what pyserial finds on the bus is given."""

from __future__ import annotations

import os
import random
import threading
import time
import tty

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import open_lens
from fossa_ros.lens.serial_port import find_serial_port, open_serial_port, usb_address
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal

pytestmark = pytest.mark.real_time


def usb_port(device: str, vid: int, pid: int, serial_number: str | None = None, product: str | None = None):
    info = ListPortInfo(device)
    info.vid, info.pid, info.serial_number, info.product = vid, pid, serial_number, product
    return info


@pytest.fixture
def bus(monkeypatch):
    ports = [
        usb_port("/dev/ttyACM1", 0x03EB, 0x2018, "B7", "Lens Driver"),
        usb_port("/dev/ttyACM0", 0x03EB, 0x2018, "A3"),
        usb_port("/dev/ttyUSB0", 0x10C4, 0xEA60),
        ListPortInfo("/dev/ttyS0"),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: ports)
    return ports


def test_by_ids_and_serial_number(bus):
    assert find_serial_port("usb:10c4:ea60") == "/dev/ttyUSB0"
    assert find_serial_port("USB:10C4:EA60") == "/dev/ttyUSB0"
    assert find_serial_port("usb:03eb:2018:B7") == "/dev/ttyACM1"
    assert find_serial_port("/dev/ttyACM9") == "/dev/ttyACM9"
    assert [usb_address(info) for info in bus] == ["usb:03eb:2018:B7", "usb:03eb:2018:A3", "usb:10c4:ea60", ""]


def test_two_of_a_kind_need_the_serial_number(bus):
    with pytest.raises(InputError, match=r"usb:03eb:2018:A3 \(/dev/ttyACM0\), usb:03eb:2018:B7 \(/dev/ttyACM1\)"):
        find_serial_port("usb:03eb:2018")


def test_none_matches_and_the_sentence_lists_what_there_is(bus):
    with pytest.raises(LensError) as failure:
        open_lens("optotune_ld4", "usb:0483:a31e")
    assert str(failure.value) == (
        "No serial port is at 'usb:0483:a31e'; plug the lens in or set port to one of: /dev/ttyACM0 "
        "(usb:03eb:2018:A3), /dev/ttyACM1 (usb:03eb:2018:B7, Lens Driver), /dev/ttyS0, /dev/ttyUSB0 (usb:10c4:ea60)."
    )


@pytest.mark.parametrize("address", ["usb:", "usb:03eb", "usb:3eb:2018", "usb:03eb:2018:", "usb:zzzz:2018"])
def test_no_address(bus, address):
    with pytest.raises(InputError, match="write usb:VID:PID"):
        find_serial_port(address)


def test_a_lens_at_a_usb_address_moves(bus):
    with PseudoTerminal(SimulatedLd4(LensDynamics())) as terminal:
        bus.append(usb_port(terminal.port, 0x03EB, 0x2018, "C1"))
        with open_lens("optotune_ld4", "usb:03eb:2018:C1") as lens:
            assert lens.move_to(0.5).focus_distance == pytest.approx(0.5)


def test_a_cable_pulled_while_the_port_is_opened_is_a_sentence_too():
    """At some instants pyserial lets a termios.error through, which is not an OSError, once in some hundred calls."""
    rng, opened, refused = random.Random(0), 0, 0
    for _ in range(600):
        master, slave = os.openpty()
        tty.setraw(slave)
        port, after = os.ttyname(slave), 3e-4 * rng.random()
        cable = threading.Thread(target=lambda master=master, after=after: (time.sleep(after), os.close(master)))
        cable.start()
        try:
            open_serial_port(port, 115200, 0.1).close()
            opened += 1
        except LensError as error:
            assert port in str(error)
            refused += 1
        cable.join()
        os.close(slave)
    assert opened and opened + refused == 600


def test_a_command_that_a_busy_machine_sends_late_was_sent(monkeypatch):
    """As if the process stood still for three timeouts while it wrote."""
    timeout, written = 0.1, os.write

    def late(descriptor, data):
        monkeypatch.setattr(os, "write", written)
        sent = written(descriptor, data)
        time.sleep(3 * timeout)
        return sent

    device = PseudoTerminal(SimulatedLd4(LensDynamics()))
    with device as terminal, open_lens("optotune_ld4", terminal.port, timeout=timeout) as lens:
        monkeypatch.setattr(os, "write", late)
        assert lens.move_to_command(1.0).command == pytest.approx(1.0, abs=0.01)
