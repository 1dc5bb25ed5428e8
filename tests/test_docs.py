"""What the documentation names is there: pages, parameters, and the estimator that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.worker import check_motion, estimate_depth
from fossa_ros.ros.parameter_tables import TABLES
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.sweep import CapturedSweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
KNOWN = {one.name for table in TABLES.values() for one in table}
GROUPS = sorted({name.split(".")[0] for name in KNOWN if "." in name})
PARAMETER = re.compile(rf"`((?:{'|'.join(GROUPS)})\.[a-z_]+)(?::[^`]*)?`")
FILE = re.compile(r"\.(npy|png|py|yaml)$")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_parameters_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    named = {name for name in PARAMETER.findall(text) if not FILE.search(name)}
    assert named <= KNOWN, named - KNOWN


def test_every_page_is_linked_from_another():
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    }
    assert {page.resolve() for page in PAGES if page.parent.name == "docs"} <= linked


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
