"""The weights in the package: what the product does out of the box, on stacks that another renderer made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.estimators.shipped import SHIPPED
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.stack_files import load_stack

FOLDER = Path(__file__).parent / "data" / "path_traced"
KEPT = sorted(FOLDER.glob("*.npz"))


@pytest.fixture(scope="module")
def shipped():
    return create_estimator("lens_aware", device="cpu")


def abs_rel(estimator, source):
    return depth_metrics(estimator.estimate(source.stack).depth, source.truth)["abs_rel"]


def test_every_shipped_file_is_small_and_has_a_card():
    for file in SHIPPED.values():
        assert file.stat().st_size <= 30e6
        assert file.with_suffix(".md").is_file()


@pytest.mark.parametrize(("name", "figure"), [("breakfast", 0.076), ("living_room", 0.106), ("workbench", 0.025)])
def test_depth_out_of_the_box_is_what_the_card_says(shipped, name, figure):
    """On close and on textured things within 8 %; a room with plain walls is what it cannot do yet."""
    source = load_stack(FOLDER / f"{name}.npz")
    error = abs_rel(shipped, source)
    assert error == pytest.approx(figure, rel=0.03)
    assert f"| {name}, 160x120 | {error:.3f} |" in SHIPPED["lens_aware"].with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_order_of_the_planes_does_not_matter(shipped, file):
    source = load_stack(file)
    order = np.random.default_rng(0).permutation(len(source.stack))
    planes = tuple(source.stack.planes[i] for i in order)
    shuffled = FocusStack(planes, source.stack.K, source.stack.f_number, source.stack.focal_length)
    np.testing.assert_allclose(shipped.estimate(shuffled).depth, shipped.estimate(source.stack).depth, rtol=1e-4)


def test_a_lens_that_misstates_its_focus_shifts_depth_and_no_more(shipped):
    """Every distance 5 % too long: depth is 5 % too long."""
    source = load_stack(KEPT[0])
    planes = tuple(type(p)(p.image, 1.05 * p.focus_distance) for p in source.stack.planes)
    misstated = FocusStack(planes, source.stack.K, source.stack.f_number, source.stack.focal_length)
    ratio = shipped.estimate(misstated).depth / shipped.estimate(source.stack).depth
    assert np.nanmedian(ratio) == pytest.approx(1.05, abs=0.02)
