"""benchmarks/validation.py: what it does to a stack, and a run of it over stacks on disk."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fossa_ros.stack import FocusPlane, FocusStack

ROOT = Path(__file__).parents[1]
RGBD = ROOT.parent / "shared" / "data" / "rgbd"
KEPT = ROOT / "tests" / "data" / "path_traced"
sys.path.insert(0, str(ROOT / "benchmarks"))

import validation  # noqa: E402
from rgbd_images import load_rgbd  # noqa: E402


def numbered(*distances):
    """Return a stack whose planes are as bright as their number."""
    planes = (FocusPlane(np.full((16, 16, 3), n, np.uint8), s) for n, s in enumerate(distances))
    return FocusStack(tuple(planes), f_number=1.4, focal_length=0.02)


def run(*options):
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "validation.py", *map(str, options)], capture_output=True, text=True
    )


def options(**changes):
    return argparse.Namespace(**{"shuffle": False, "misstate": 0.0, "blind": False} | changes)


def test_thinning_keeps_the_ends_and_even_steps_whatever_the_order():
    stack = validation.thinned(numbered(9.0, 1.0, 5.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0), 3)
    assert stack.focus_distances.tolist() == [1.0, 5.0, 9.0]
    assert [plane.image[0, 0, 0] for plane in stack.planes] == [1, 2, 0]


def test_shuffled_planes_keep_their_distances_and_misstated_ones_their_pictures():
    stack = numbered(1.0, 2.0, 3.0, 4.0, 5.0)
    shuffled = validation.disturbed(stack, options(shuffle=True), np.random.default_rng(0))
    numbers = [int(plane.image[0, 0, 0]) for plane in shuffled.planes]
    assert sorted(numbers) == [0, 1, 2, 3, 4] != numbers
    assert shuffled.focus_distances.tolist() == [n + 1.0 for n in numbers]
    wrong = validation.disturbed(stack, options(misstate=0.05), np.random.default_rng(0))
    error = wrong.focus_distances / stack.focus_distances - 1
    assert np.abs(error).max() <= 0.05 and np.ptp(error) > 0.01
    assert (wrong.images() == stack.images()).all() and wrong.f_number == 1.4
    assert validation.disturbed(stack, options(blind=True), None).f_number is None


def test_a_run_prints_and_writes_the_same_figures(tmp_path):
    done = run(KEPT, "--planes", 3, 5, 7, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    groups = json.loads((tmp_path / "figures.json").read_text())
    assert list(groups) == ["3 planes", "5 planes"]  # none of the stacks has seven
    for group in groups.values():
        assert list(group["stacks"]) == ["living_room", "workbench"]
        for figure in ("abs_rel", "delta_1.05"):
            mean = np.mean([figures[figure] for figures in group["stacks"].values()])
            assert group["mean"][figure] == pytest.approx(mean)
            assert f"{mean:.4f}" in done.stdout
    # Depth from five planes of a close, textured scene is right: loader, planes and truth belong together.
    assert groups["5 planes"]["stacks"]["workbench"]["abs_rel"] < 0.08


def test_a_folder_without_stacks_is_a_sentence(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1 and done.stderr.strip().startswith("validation: ") and "no stacks" in done.stderr


@pytest.mark.skipif(not RGBD.is_dir(), reason="there are no RGB-D images beside the repository")
def test_photographs_have_the_depth_that_their_sets_publish():
    images = {source.name: source for source in load_rgbd(RGBD)}
    motorcycle = images["motorcycle"]
    assert motorcycle.image.shape == (500, 741, 3) and motorcycle.depth.shape == (500, 741)
    assert np.nanmin(motorcycle.depth) == pytest.approx(2.11, abs=0.01)
    assert np.nanmax(motorcycle.depth) == pytest.approx(5.02, abs=0.01)
    for name in ("Art", "Books", "Moebius"):
        assert 1.2 < np.nanmin(images[name].depth) < np.nanmax(images[name].depth) < 3.0
    indoors = next(source for name, source in images.items() if name.startswith("diode"))
    assert np.nanquantile(indoors.depth, (0.05, 0.95)) == pytest.approx((2.1, 6.7), abs=0.1)
