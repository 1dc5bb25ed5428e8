"""What pip installs: metadata, the files ROS tools look for, messages that travel; and what a wheel holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

import pytest

import builds
import fossa_ros
import sweep_report_exchange as exchange
from fossa_ros import action, msg, srv

ROOT = Path(__file__).parents[1]
PREFIX = Path(sys.prefix)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INTERFACES = {kind: sorted(file.stem for file in (ROOT / kind).glob(f"*.{kind}")) for kind in ("msg", "srv", "action")}
EXECUTABLES = sorted(e.name for e in distribution("fossa-ros").entry_points.select(group="console_scripts"))
IN_SOURCE_DISTRIBUTION = {
    *("action/Capture.action", "resource/typesupport_dispatch.h", "srv/LensInfo.srv"),
    *(".ci/run", ".dockerignore", ".github/workflows/ci.yml", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md"),
    *("CITATION.cff", "CMakeLists.txt", "CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile", "README.md"),
    *("SECURITY.md", "benchmarks/replay.py", "build_messages.py", "config/rig.yaml", "docs/index.md"),
    *("entry_points.txt", "launch/fossa.launch.py", "mkdocs.yml", "msg/FocusStack.msg", "package.xml"),
    *("pyproject.toml", "resource/fossa_ros", "setup.py", "tests/builds.py", "tests/conftest.py"),
    *("tests/data/small_rig.yaml", "tests/data/path_traced/breakfast.npz", "tests/node_processes.py"),
}


def wheel_version(requirement: str) -> tuple[str, str]:
    """Split ``name[extra]==version`` into name and version."""
    name, version = re.fullmatch(r"([a-z0-9-]+)(?:\[\w+\])?==([\d.]+)", requirement).groups()
    return name, version


def test_one_version_everywhere():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    changes = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert distribution("fossa-ros").version == fossa_ros.__version__
    assert package.findtext("version") == fossa_ros.__version__
    assert changes[1] == fossa_ros.__version__


def test_ros_wheels_have_one_version_everywhere():
    lists = {
        "dependencies": PYPROJECT["project"]["dependencies"],
        "build-system": PYPROJECT["build-system"]["requires"],
        "colcon": (ROOT / ".ci/colcon-requirements.txt").read_text().splitlines(),
    }
    versions = {}
    for source, requirements in lists.items():
        for requirement in filter(re.compile("ros-").match, requirements):
            name, version = wheel_version(requirement)
            assert versions.setdefault(name, version) == version, f"{name} in {source}"
    assert versions["ros-rclpy"] == "7.1.6"


def test_package_xml_names_every_dependency():
    text = (ROOT / "package.xml").read_text()
    spelled = {
        "opencv-python-headless": "python3-opencv",
        "pillow": "python3-pil",
        "pyserial": "python3-serial",
        "pyyaml": "python3-yaml",
    }
    spelled |= {"torch": "python3-pytorch", "huggingface_hub": "python3-huggingface-hub"}
    for requirement in PYPROJECT["project"]["dependencies"]:
        name = re.match(r"[\w-]+", requirement)[0]
        key = spelled.get(name, name.removeprefix("ros-").replace("-", "_"))
        assert re.search(rf"\b{key}\b", text), f"{name} is not in package.xml"


@pytest.mark.parametrize(
    "entry_point", distribution("fossa-ros").entry_points, ids=lambda entry_point: entry_point.name
)
def test_entry_points_lead_somewhere(entry_point):
    assert callable(entry_point.load())


def shared_files(folder):
    """Paths of the files that go below share, relative to the project's root."""
    return [f.relative_to(ROOT) for f in (ROOT / folder).rglob("*") if f.is_file() and "__pycache__" not in f.parts]


def test_share_holds_launch_files_configurations_and_interfaces():
    share = PREFIX / "share" / "fossa_ros"
    for folder in ("foxglove", "launch", "config", "urdf"):
        sources = shared_files(folder)
        assert sources
        for source in sources:
            assert (share / source).read_bytes() == (ROOT / source).read_bytes()
    for kind, names in INTERFACES.items():
        for name in names:
            description = json.loads((share / kind / f"{name}.json").read_text())
            assert description["type_description_msg"]["type_description"]["type_name"] == f"fossa_ros/{kind}/{name}"


def test_ament_index_knows_package_and_interfaces():
    index = PREFIX / "share" / "ament_index" / "resource_index"
    assert (index / "packages" / "fossa_ros").is_file()
    listed = (index / "rosidl_interfaces" / "fossa_ros").read_text().split()
    assert set(listed) == {
        f"{kind}/{name}.{suffix}" for kind, names in INTERFACES.items() for name in names for suffix in ("idl", kind)
    }


def test_all_interfaces_are_importable():
    for module, kind in ((msg, "msg"), (srv, "srv"), (action, "action")):
        names = {name for name in vars(module) if name[0].isupper()}
        assert sorted(name for name in names if "_" not in name) == INTERFACES[kind]


def test_executables_lie_where_ros_looks():
    folder = PREFIX / "lib" / "fossa_ros"
    assert sorted(file.name for file in folder.iterdir()) == EXECUTABLES
    assert all(os.access(folder / name, os.X_OK) for name in EXECUTABLES)
    # Without the environment being active: nothing of it on the path.
    shown = subprocess.check_output([folder / "fossa", "--version"], env={"PATH": "/usr/bin:/bin"}, text=True)
    assert shown.split()[-1] == fossa_ros.__version__


def test_message_reaches_another_process():
    assert exchange.received_from([sys.executable, exchange.__file__]) == exchange.report()


@pytest.fixture(scope="session")
def distributions() -> tuple[Path, Path]:
    """Build the source distribution, and the wheel from it, as a user of either gets them."""
    try:
        return builds.distributions()
    except builds.Unreachable as error:
        pytest.skip(f"the build requirements cannot be had: {error}")


@pytest.mark.build
@pytest.mark.timeout(400)
def test_source_distribution_holds_what_tests_and_contributors_need(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= IN_SOURCE_DISTRIBUTION
    assert not [name for name in names if "__pycache__/" in name or re.match("fossa_ros/(action|msg|srv)/", name)]


@pytest.mark.build
@pytest.mark.timeout(400)
def test_wheel_made_from_the_source_distribution_is_complete(distributions):
    wheel = zipfile.ZipFile(distributions[1])
    names = set(wheel.namelist())
    sources = {file.relative_to(ROOT) for file in (ROOT / "fossa_ros").rglob("*") if file.is_file()}
    made_in_place = re.compile(r"__pycache__|^fossa_ros/(action|msg|srv)/|\.so$")
    assert {str(file) for file in sources if not made_in_place.search(str(file))} <= names
    for module in (action, msg, srv):
        folder = Path(module.__file__).parent
        modules = {file.name for file in folder.glob("*.py")}
        assert modules == {Path(name).name for name in names if name.startswith(f"fossa_ros/{folder.name}/")}
    assert len([name for name in names if name.endswith(".so")]) == 1
    data = f"fossa_ros-{fossa_ros.__version__}.data/data"
    for folder in ("foxglove", "launch", "config", "urdf"):
        assert {f"{data}/share/fossa_ros/{file}" for file in shared_files(folder)} <= names
    for name in EXECUTABLES:
        assert wheel.getinfo(f"{data}/lib/fossa_ros/{name}").external_attr >> 16 & 0o111
    assert not [
        name
        for name in names
        if name.split("/")[0] in {"action", "tests", "foxglove", "launch", "config", "msg", "build", "srv", "urdf"}
    ]
