"""docs/lenses.md: its example is a lens that works, its tables are true."""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import icc_protocol as icc
from fossa_ros.lens import ld4_protocol as ld4
from fossa_ros.lens import lens_backends, open_lens
from fossa_ros.lens import usbm_protocol as usbm
from fossa_ros.lens import v4l2_protocol as v4l2
from fossa_ros.lens.registry import BUILT_IN
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.serial_device import LineFault, SerialDevice

TESTS = Path(__file__).parent
DOCS = (TESTS.parent / "docs" / "lenses.md").read_text()


class Acme(SerialDevice):
    """What the example drives."""

    position = 500

    def feed(self, data: bytes) -> bytes:
        with self.lock:
            for line in data.split():
                if line.startswith(b"P"):
                    self.position = int(line[1:])
            return self.apply_fault(b"%d\n" % self.position)


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)[1]


@pytest.mark.real_time
def test_the_example_is_found_by_its_entry_point_and_drives_its_device(tmp_path, monkeypatch):
    (tmp_path / "acme_lens.py").write_text(block("python"))
    metadata = tmp_path / "acme_lens-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-lens\nVersion: 1.0\n")
    name, target = re.search(r'"fossa_ros.lenses"\]\n(\w+) = "(\S+)"', block("toml")).groups()
    (metadata / "entry_points.txt").write_text(f"[fossa_ros.lenses]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    device = Acme()
    with PseudoTerminal(device) as terminal:
        with open_lens("acme", terminal.port, timeout=0.2) as lens:
            move = lens.move_to_command(120.2)
            assert move.command == device.position == 120 and move.settling_ns == 50_000_000
            lens.verify()
            with pytest.raises(InputError, match="fossa calibrate"):
                lens.move_to(0.5)
            device.inject(LineFault(keep=1), replies=1)
            with pytest.raises(LensError, match="answered P300 with 33; check it"):
                lens.move_to_command(300)
            assert lens.move_to_command(400).command == lens.state().command == 400
        assert device.position == 0
    sys.modules.pop("acme_lens")


def test_the_built_in_backends_are_the_entry_points():
    table = ConfigParser()
    table.read(TESTS.parent / "entry_points.txt")
    assert {point.name: point.value for point in BUILT_IN} == dict(table["fossa_ros.lenses"])


def test_every_backend_is_described():
    table = DOCS.split("## On the bench")[0]
    for name, point in lens_backends().items():
        assert f"| `{name}` |" in table and f"- **{name}**" in DOCS
        for usb_id in point.load().usb_ids:
            assert f"`{usb_id}`" in DOCS


COMMANDS = {  # of the conformance table, as the drivers send them
    "optotune_ld4": {
        "handshake": ld4.HANDSHAKE,
        "firmware type": ld4.FIRMWARE_TYPE.encode(),
        "firmware version": ld4.FIRMWARE_VERSION.encode(),
        "greatest current": ld4.MAX_CURRENT.encode(),
        "set current": ld4.SET_CURRENT.encode(0x1234),
        "focal-power mode": ld4.FOCAL_POWER_MODE.encode(),
        "current mode": ld4.CURRENT_MODE.encode(),
        "temperature limits": ld4.TEMPERATURE_LIMITS.encode(0x1234, 0x1234),
        "set focal power": ld4.SET_FOCAL_POWER.encode(0x1234),
        "read focal power": ld4.FOCAL_POWER.encode(),
        "temperature": ld4.TEMPERATURE.encode(),
        "status": ld4.STATUS.encode(),
    },
    "optotune_icc": {
        "handshake": icc.START.encode(),
        "range": icc.LEAST_POWER.encode() + icc.GREATEST_POWER.encode(),
        "set focal power": icc.SET_POWER.encode(1.333),
        "read focal power": icc.POWER.encode(),
        "current off": icc.SET_CURRENT.encode(0),
        "temperature": icc.TEMPERATURE.encode(),
    },
    "varioptic_usbm": {
        "set voltage": usbm.Write(usbm.FOCUS_LSB, b"\x34\x12").encode(),
        "read registers": usbm.Read(0x34, 0x12).encode(),
    },
    "v4l2": {
        "QUERYCAP": v4l2.QUERYCAP.to_bytes(4, "big"),
        "QUERYCTRL": v4l2.QUERYCTRL.to_bytes(4, "big"),
        "S_CTRL, G_CTRL": v4l2.S_CTRL.to_bytes(4, "big") + v4l2.G_CTRL.to_bytes(4, "big"),
    },
}
FIELDS = {"i16": 2, "high": 2, "low": 2, "LSB": 1, "MSB": 1, "address": 1, "count": 1, "CR": 1, "LF": 1}


def pattern(cell: str) -> re.Pattern:
    """Return what matches the bytes that a cell of the table stands for: hexadecimal, text, fields, + for a sum."""
    parts = []
    for word in cell.replace("`", " ").replace(",", " ").split():
        if word == "+":
            parts.append(b".{1,2}")
        elif word in FIELDS:
            parts.append(b".{%d}" % FIELDS[word])
        elif re.fullmatch(r"[0-9a-f]{2}|[0-9a-f]{8}", word):
            parts.append(re.escape(bytes.fromhex(word)))
        else:
            parts.append(re.escape(word.encode()))
    return re.compile(b"(\r\n)?".join(parts) + b"(\r\n)?", re.DOTALL)


def test_the_conformance_table_holds_the_bytes_that_are_sent():
    backend, unseen = "", {(backend, name) for backend, commands in COMMANDS.items() for name in commands}
    for row in re.findall(r"^\| .*", DOCS.split("## Protocol conformance")[1], re.MULTILINE):
        first, name, cell, *_ = (column.strip() for column in row.strip("|").split("|"))
        backend = first.strip("`") or backend
        if (backend, name) in unseen:
            cell = re.sub(r", \d+ bytes", "", cell)
            sent = COMMANDS[backend][name]
            assert pattern(cell).fullmatch(sent), (backend, name, cell, sent.hex(" "))
            assert len(pattern(cell).pattern) > 3
            unseen.remove((backend, name))
    assert not unseen
    sent = {command.encode(*[0] * command.arguments.count("h")) for command in ld4.COMMANDS}
    listed = {command for command in COMMANDS["optotune_ld4"].values()}
    assert {each[:2] for each in sent} <= {each[:2] for each in listed}  # no command is left out of the table


def test_every_test_that_the_conformance_table_names_exists():
    conformance = DOCS.split("## Protocol conformance")[1]
    sources = "".join(file.read_text() for file in TESTS.glob("test_*.py"))
    names = re.findall(r"\b(test_\w+)(?=[,;| .]|$)(?!:)", conformance)
    assert len(names) > 20
    for name in names:
        assert f"def {name}" in sources or (TESTS / f"{name}.py").exists(), name
