"""docs/lenses.md: its example is a lens that works, its tables are true."""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from fossa_ros.errors import InputError, LensError
from fossa_ros.lens import lens_backends, open_lens
from fossa_ros.lens.registry import BUILT_IN
from fossa_ros.simulation.misbehaviour import Misbehaving, Misbehaviour
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal

TESTS = Path(__file__).parent
DOCS = (TESTS.parent / "docs" / "lenses.md").read_text()


class Acme(Misbehaving):
    """What the example drives."""

    incomplete = False
    position = 500

    def feed(self, data: bytes) -> bytes:
        with self.lock:
            for line in data.split():
                if line.startswith(b"P"):
                    self.position = int(line[1:])
            return self.spoil(b"%d\n" % self.position)

    def give_up(self) -> bytes:
        return b""


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)[1]


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
            device.misbehave(Misbehaviour(keep=1), replies=1)
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
        for usb_id in getattr(point.load(), "usb_ids", ()):
            assert f"`{usb_id}`" in DOCS


def test_every_test_that_the_conformance_table_names_exists():
    conformance = DOCS.split("## Protocol conformance")[1]
    sources = "".join(file.read_text() for file in TESTS.glob("test_*.py"))
    names = re.findall(r"\b(test_\w+)(?=[,;| .]|$)(?!:)", conformance)
    assert len(names) > 20
    for name in names:
        assert f"def {name}" in sources or (TESTS / f"{name}.py").exists(), name
