"""The workflows, the image and the citation name what is there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import fossa_ros

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands() -> str:
    """Return all that the workflows and the Dockerfile run."""
    jobs = [job for file in WORKFLOWS for job in yaml.safe_load(file.read_text())["jobs"].values()]
    steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return "\n".join([*steps, (ROOT / "Dockerfile").read_text()])


def test_targets_and_scripts_that_ci_runs_exist():
    assert WORKFLOWS
    assert {target for target in re.findall(r"\bmake ([a-z-]+)", commands())} <= TARGETS
    scripts = set(re.findall(r"(?<![\w/])(?:src/fossa_ros/)?(\.ci/\w+)", commands()))
    assert scripts
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("script", sorted((ROOT / ".ci").iterdir()), ids=lambda script: script.name)
def test_shell_scripts_parse(script):
    if script.read_text().startswith("#!") and "bash" in script.read_text().partition("\n")[0]:
        subprocess.run(["bash", "-n", script], check=True)


def test_packages_without_a_rosdep_key_are_read_from_package_xml():
    line = next(line for line in (ROOT / ".ci/install_ros_dependencies").read_text().splitlines() if "sed" in line)
    expression = re.search(r"(sed .*) package\.xml", line)[1]
    names = subprocess.run(["bash", "-c", f"{expression} package.xml"], cwd=ROOT, capture_output=True, text=True).stdout
    assert {"safetensors", "mcap"} <= set(names.split())
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names.split())


def test_citation_has_the_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (fossa_ros.__version__, "Apache-2.0")
