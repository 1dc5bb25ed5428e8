"""Which rooms of the package know of which: what docs/architecture.md promises."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fossa_ros"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "msg")  # those are generated
ROS = {"rclpy", "fossa_ros.ros", "fossa_ros.msg", "message_filters", "sensor_msgs_py"}
OPTIONAL = {"cv_bridge"}  # for encodings that nobody else can decode; asked for when one comes
WITH_TORCH = {"evaluation/gaussian_defocus.py"}  # imported by what has a network to evaluate


def imported(nodes) -> set[str]:
    """Return the names of the modules that import statements name, ``from a import b`` as ``a`` and ``a.b``."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def within(names: set[str], rooms: set[str]) -> set[str]:
    return {name for name in names for room in rooms if name == room or name.startswith(f"{room}.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ros_and_torch_stay_in_their_rooms(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(PACKAGE).as_posix()
    room = name.split("/")[0]
    everywhere, at_import = imported(ast.walk(tree)), imported(tree.body)
    if room not in ("ros", "commands"):
        assert not within(everywhere, ROS)
    if room != "ros":
        assert not within(at_import, ROS | OPTIONAL)  # a command imports ROS when it is run, so that --help needs none
    if not name.startswith(("estimators/fossa/", "training/")) and name not in WITH_TORCH:
        assert not within(at_import, {"torch"})
