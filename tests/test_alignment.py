from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import motion_renders as renders
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.io.stack_files import load_stack
from fossa_ros.motion import align_stack
from fossa_ros.motion.tiling import transform

PHONES = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "real_stacks"
TABLE, CARDS = 1, 2  # seeds of two scenes
# A hand's tremor and a lens that breathes by 1 % a plane; the third plane is the reference.
HELD = [
    renders.turn(14.0, direction=0.3, roll=0.006) @ renders.zoomed(0.98),
    renders.turn(9.0, direction=2.0, roll=-0.004) @ renders.zoomed(0.99),
    np.eye(3),
    renders.turn(17.0, direction=4.0, roll=0.003) @ renders.zoomed(1.01),
]


def view():
    x, y = np.meshgrid(np.linspace(8, 311, 9), np.linspace(8, 231, 7))
    return np.stack([x, y], axis=-1)


@pytest.mark.parametrize("scene", [TABLE, CARDS])
@pytest.mark.parametrize("known_camera", [True, False], ids=["with K", "without K"])
def test_hand_held_planes_come_to_the_reference(scene, known_camera):
    stack = renders.sweep(scene, np.random.default_rng(0), HELD, reference=2)
    if not known_camera:
        stack = FocusStack(stack.planes, reference=2)
    aligned, report = align_stack(stack)
    for found, true in zip(report.homographies, HELD, strict=True):
        error = np.linalg.norm(transform(found, view()) - transform(true, view()), axis=-1)
        assert error.mean() < 0.25 and error.max() < 0.8  # px of 320
    assert report.scale == pytest.approx([0.98, 0.99, 1.0, 1.01], abs=0.002)
    assert report.misalignment_px.min() > 3.0 and report.residual_px.max() < 0.3
    assert aligned.planes[2].image is stack.planes[2].image
    assert aligned.size == stack.size and aligned.K is stack.K


def test_pixels_that_no_plane_has_are_marked_and_nothing_else():
    stack = renders.sweep(TABLE, np.random.default_rng(0), HELD, reference=2)
    _, report = align_stack(stack)
    x, y = np.meshgrid(np.arange(320.0), np.arange(240.0))
    everywhere = np.stack([x, y], axis=-1)
    sources = np.stack([transform(H, everywhere) for H in HELD])
    beyond = np.maximum(-sources, sources - [319, 239]).max(axis=(0, 3))  # px outside the nearest frame
    assert not report.valid[beyond > 1.5].any()
    assert report.valid[beyond < -1.5].all()


def test_depth_is_unknown_where_the_alignment_has_no_pixels():
    valid = np.array([[True, False], [True, True]])
    ones = np.ones((2, 2), np.float32)
    depth_map = DepthMap(2 * ones, ones, np.zeros((2, 2, 3), np.uint8)).within(valid)
    assert np.isnan(depth_map.depth[0, 1]) and depth_map.confidence[0, 1] == 0
    assert np.array_equal(depth_map.depth[valid], [2, 2, 2])
    assert depth_map.within(None) is depth_map


def test_the_order_of_the_planes_does_not_matter():
    stack = renders.sweep(TABLE, np.random.default_rng(1), HELD, reference=2)
    order = [2, 0, 3, 1]
    shuffled = FocusStack(tuple(stack.planes[i] for i in order), K=stack.K, reference=0)
    aligned, _ = align_stack(stack)
    again, _ = align_stack(shuffled)
    for index, plane in zip(order, again.planes, strict=True):
        assert np.array_equal(plane.image, aligned.planes[index].image)


def test_planes_of_two_scenes_are_refused():
    rng = np.random.default_rng(2)
    planes = (renders.sweep(TABLE, rng).planes[1], renders.sweep(CARDS, rng).planes[2])
    with pytest.raises(InputError, match=r"^The plane focused at 0\.55 m shows another scene"):
        align_stack(FocusStack(planes))


@pytest.mark.parametrize(("plane", "others"), [(3, "0"), (0, "3"), (1, "3")])
def test_a_plane_that_no_homography_aligns_is_refused_by_its_name(plane, others):
    """A rolling shutter in a camera that shakes bends the view."""
    planes = list(renders.sweep(TABLE, np.random.default_rng(4), reference=2).planes)
    x, y = np.meshgrid(np.arange(320, dtype=np.float32), np.arange(240, dtype=np.float32))
    bent = cv2.remap(planes[plane].image, x + 10 * np.sin(y / 25), y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    planes[plane] = replace(planes[plane], image=bent)
    names = [f"{number}.png" for number in range(4)]
    with pytest.raises(
        InputError, match=rf"^{plane}\.png cannot be aligned with the others: it is still \d"
    ) as refused:
        align_stack(FocusStack(tuple(planes), reference=2), names)
    assert f"{others}.png" not in str(refused.value)


def test_a_stack_without_texture_stays_as_it_is():
    rng = np.random.default_rng(3)
    planes = tuple(
        FocusPlane(np.clip(90 + 2 * rng.standard_normal((240, 320, 3)), 0, 255).astype(np.uint8), focus)
        for focus in (0.5, 1.0, 2.0)
    )
    _, report = align_stack(FocusStack(planes))
    assert np.isnan(report.misalignment_px).all() and np.isnan(report.residual_px).all()
    assert report.shift_px.max() < 3.0


@pytest.mark.parametrize("name", ["desk", "room"])
def test_phone_photographs_fall_into_place(name):
    """Features matched by SIFT, which the alignment does not use, say how far the planes are apart."""
    if not (PHONES / name).is_dir():
        pytest.skip(f"real_stacks/{name} is not in {PHONES}")
    stack = load_stack(PHONES / name).stack
    aligned, report = align_stack(stack)
    assert (report.residual_px < 0.2 * report.misalignment_px).all()
    assert report.valid.mean() > 0.9
    pixel = max(stack.size) / 1000  # matched at 1000 px
    for first in range(len(stack) - 1):
        before, after = (feature_distance(each, first) for each in (stack, aligned))
        assert after < 0.3 * before and after < 2.0, f"planes {first + 1} and {first + 2}, {pixel:.1f} px each"


def feature_distance(stack, first):
    """Return the median distance (px at 1000 px) of features matched between two successive planes."""
    found = []
    for plane in stack.planes[first : first + 2]:
        grey = cv2.cvtColor(plane.image, cv2.COLOR_RGB2GRAY)
        scale = 1000 / max(grey.shape)
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found.append(cv2.SIFT_create(1500).detectAndCompute(grey, None))
    (points, descriptors), (others, other_descriptors) = found
    matches = cv2.BFMatcher(crossCheck=True).match(descriptors, other_descriptors)
    a = np.array([points[match.queryIdx].pt for match in matches])
    b = np.array([others[match.trainIdx].pt for match in matches])
    _, inlier = cv2.findHomography(a, b, cv2.USAC_MAGSAC, 3.0)
    return float(np.median(np.linalg.norm(a - b, axis=1)[inlier.ravel() > 0]))
