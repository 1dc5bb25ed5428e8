"""What the documentation names is there: files, sections, modules, parameters; and its site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.steps import check_motion, estimate_depth
from fossa_ros.ros.parameter_tables import TABLES
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.sweep import CapturedSweep

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "fossa_ros").rglob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]
FOLDERS = (
    "benchmarks",
    "config",
    "docs",
    "fossa_ros",
    "foxglove",
    "launch",
    "msg",
    "resource",
    "tests",
    ".ci",
    ".github",
)
SOURCES = [
    file
    for folder in ("benchmarks", "config", "fossa_ros", "launch", "msg", "tests")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in (".py", ".yaml", ".xml", ".msg") and ROOT / "fossa_ros/msg" not in file.parents
]
WIDTH = 100  # columns
KNOWN = {one.name for table in TABLES.values() for one in table}
GROUPS = sorted({name.split(".")[0] for name in KNOWN if "." in name})

FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
PARAMETER = re.compile(rf"`((?:{'|'.join(GROUPS)})\.[a-z_]+)(?::[^`]*)?`")
FILE = re.compile(r"\.(npy|png|py|yaml)$")
PATH = re.compile(rf"(?:\./)?((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*)")
MODULE = re.compile(r"\bfossa_ros(?:\.[A-Za-z_]\w*)+")
PAGE = re.compile(r"\b(docs/[a-z/-]+\.md)(?:#([a-z-]+))?")


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def sections(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    plain = [
        re.sub(r"\]\([^)]*\)|[`*\[]", "", heading) for heading in HEADING.findall(FENCED.sub("", page.read_text()))
    ]
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}


@cache
def entry_point_groups() -> set[str]:
    entry_points = ConfigParser()
    entry_points.read(ROOT / "entry_points.txt")
    return {*entry_points.sections(), "fossa_ros.estimators"}


def exists(path: str) -> bool:
    """Whether a path, which may have wildcards, is in the repository or is the name of one of its types of messages."""
    if "*" in path:
        return any(ROOT.glob(path.rstrip("/")))
    interfaces = [file for kind in ("msg", "srv", "action") for file in (ROOT / kind).iterdir()]
    names = {f"fossa_ros/{kind}{file.stem}" for file in interfaces for kind in ("", f"{file.parent.name}/")}
    return (ROOT / path).exists() or path in names


def is_importable(dotted: str) -> bool:
    """Whether a dotted name is an entry point group, a module, or a name that its module mentions."""
    if dotted in entry_point_groups() or dotted.startswith("fossa_ros.msg"):
        return True
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module.exists():
            return all(re.search(rf"\b{name}\b", module.read_text()) for name in parts[length : length + 1])
    return False


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files_and_sections(page):
    for target, section in LINK.findall(FENCED.sub("", page.read_text())):
        file = (page.parent / target) if target else page
        assert file.exists(), target
        assert not section or section in sections(file), f"{target}#{section}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_parameters_files_and_modules_that_a_page_names_exist(page):
    text = page.read_text()
    named = {name for name in PARAMETER.findall(text) if not FILE.search(name)}
    assert named <= KNOWN, named - KNOWN
    for code in CODE.findall(FENCED.sub("", text)):
        for path in re.split(r"[\s,;=]+", code):
            if found := PATH.fullmatch(path):
                assert exists(found[1]), path
    for dotted in MODULE.findall(text):
        assert is_importable(dotted), dotted


def test_pages_that_the_sources_name_exist():
    for source in SOURCES:
        for target, section in PAGE.findall(source.read_text()):
            file = ROOT / target
            assert file.exists(), f"{relative(source)}: {target}"
            assert not section or section in sections(file), f"{relative(source)}: {target}#{section}"


def test_every_page_is_linked_from_another():
    linked = {
        (page.parent / target).resolve() for page in PAGES for target, _ in LINK.findall(page.read_text()) if target
    }
    assert {page.resolve() for page in PAGES if ROOT / "docs" in page.parents} <= linked | {ROOT / "docs/index.md"}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_text_wraps(page):
    """Tables and code may be wider; the target of a link does not count."""
    too_wide = []
    for line in FENCED.sub("", page.read_text()).splitlines():
        shown = re.sub(r"\]\([^)]*\)", "]", line)
        if len(shown) > WIDTH and not line.startswith("    ") and not line.lstrip().startswith(("|", "![")):
            too_wide.append(line)
    assert not too_wide


def test_site_builds_without_a_warning(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'fossa-ros[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for page in ("index.html", "repository/index.html", "repository/config/fossa.yaml.html", "api/core.html"):
        assert (tmp_path / "site" / page).exists(), page
    assert "dioptre_space" in (tmp_path / "site/api/core.html").read_text()


def test_the_estimator_of_the_architecture_page_works_in_the_pipeline():
    namespace = {}
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    exec(source, namespace)
    image = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    planes = tuple(FocusPlane(image, distance, 7) for distance in (0.5, 1.0, 2.0))
    camera = SimulatedCamera(width=320, height=240, fx=300.0)
    sweep = CapturedSweep(0, FocusStack(planes, K=camera.K), "", (0.5, 1.0, 2.0), (7, 7, 7), (), {}, 0, 1)
    result = estimate_depth(check_motion(sweep, MotionCheck()), namespace["Acme"]())
    assert result.reason == "" and set(np.unique(result.depth.depth)) <= {np.float32(d) for d in (0.5, 1.0, 2.0)}
