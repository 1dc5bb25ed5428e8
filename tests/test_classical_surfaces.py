"""The classical estimator on single surfaces of known shape, and its parts on images of known statistics."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from fossa_ros.core import optics
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.classical import ClassicalConfig, ClassicalEstimator
from fossa_ros.estimators.classical.focus_measure import band_statistics, luminance, noise_sigma
from fossa_ros.simulation import textures
from fossa_ros.simulation.builder import Builder
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.scenes import Scene
from fossa_ros.simulation.stack_renderer import render_stack

CAMERA = SimulatedCamera(width=160, height=120)  # the centre of the usual 640x480 view
PLANES = optics.dioptre_space(0.4, 3.0, 5)


def wall(rng, z, x=0.0, width=8.0, lean=0.0):
    """Return a granite rectangle about (x, 0, z), ``lean`` metres nearer at the bottom than at the top, per metre."""
    edge_x, edge_y = np.array([width, 0.0, 0.0]), np.array([0.0, width, -lean * width])
    return Builder(rng).rectangle(np.array([x, 0.0, z]) - edge_x / 2 - edge_y / 2, edge_x, edge_y, (textures.granite,))


def relative_error(depth_map, truth):
    return np.abs(depth_map.depth - truth) / truth


@pytest.fixture(scope="module")
def tilted():
    return render_stack(Scene((wall(np.random.default_rng(0), 1.2, lean=2.5),)), CAMERA, PLANES, rng=0)


@pytest.fixture(scope="module")
def step():
    rng = np.random.default_rng(1)
    near = wall(rng, 0.6, x=-0.4, width=0.8)  # its right edge in the middle of the view
    return render_stack(Scene((near, wall(rng, 1.5))), CAMERA, PLANES, rng=1)


def test_a_tilted_plane(tilted):
    stack, truth = tilted
    assert truth.max() / truth.min() > 1.6
    result = ClassicalEstimator().estimate(stack)
    error = relative_error(result, truth)
    assert np.isfinite(error).all()
    assert error.mean() < 0.035 and np.quantile(error, 0.95) < 0.09
    assert result.estimator == "classical" and result.K is stack.K


def test_a_step_stays_a_step(step):
    stack, truth = step
    depth = ClassicalEstimator().estimate(stack).depth
    near, far = depth[:, :70], depth[:, 90:]
    assert np.abs(near / 0.6 - 1).mean() < 0.02 and np.abs(far / 1.5 - 1).mean() < 0.05
    middle = np.median(depth, axis=0)
    crossing = np.flatnonzero(middle > 0.9)[0]  # half way between the two in dioptres
    assert abs(crossing - np.flatnonzero(truth[60] > 0.9)[0]) <= 4
    assert middle[crossing + 4] > 1.3 and middle[crossing - 4] < 0.66


def test_two_planes_are_enough(tilted):
    stack, truth = tilted
    pair = dataclasses.replace(stack, planes=(stack.planes[1], stack.planes[3]), reference=0)
    error = relative_error(ClassicalEstimator().estimate(pair), truth)
    assert error.mean() < 0.09


def test_planes_at_uneven_dioptres(tilted):
    scene = Scene((wall(np.random.default_rng(0), 1.2, lean=2.5),))
    stack, truth = render_stack(scene, CAMERA, [0.5, 0.7, 0.75, 1.1, 3.0, 1.8], rng=3)
    assert relative_error(ClassicalEstimator().estimate(stack), truth).mean() < 0.06


def test_a_lens_that_is_not_known_costs_little(tilted):
    stack, truth = tilted
    for unknown in ({"K": None}, {"f_number": None}, {"K": None, "f_number": None, "focal_length": None}):
        error = relative_error(ClassicalEstimator().estimate(dataclasses.replace(stack, **unknown)), truth)
        assert error.mean() < 0.05


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_costs_accuracy_gently(tilted, seed):
    stack, truth = tilted
    rng = np.random.default_rng(seed)
    errors = []
    for sigma in (2.0, 6.0):
        noisy = [
            np.clip(p.image + sigma * rng.standard_normal(p.image.shape), 0, 255).astype(np.uint8) for p in stack.planes
        ]
        errors.append(relative_error(ClassicalEstimator().estimate(stack.with_images(noisy)), truth).mean())
    assert errors[0] < 0.06 and errors[1] < 0.08


@pytest.mark.parametrize(("sigma", "contrast"), [(0.0, 0), (1.5, 0), (1.5, 70), (6.0, 70)])
def test_ramps_and_noise_have_no_depth(sigma, contrast):
    rng = np.random.default_rng(4)
    ramp = np.linspace(128 - contrast, 128 + contrast, 160)[None, :, None] + np.zeros((120, 160, 3))
    planes = tuple(
        FocusPlane(np.clip(np.rint(ramp + sigma * rng.standard_normal(ramp.shape)), 0, 255).astype(np.uint8), s)
        for s in PLANES
    )
    result = ClassicalEstimator().estimate(FocusStack(planes, CAMERA.K, 1.4, 0.012))
    assert np.isnan(result.depth).mean() > 0.99
    assert (result.confidence[np.isnan(result.depth)] == 0).all()
    assert result.all_in_focus.std() == pytest.approx(np.hypot(ramp.std(), sigma), abs=0.1)


def test_filling_stops_at_its_reach():
    def half_bare(rng, height, width, texel):
        image = textures.granite(rng, height, width, texel)
        image[:, width // 2 :] = image.mean(axis=(0, 1))
        return image

    # Texture left of column 60, nothing right of it, one depth.
    builder, middle = Builder(np.random.default_rng(0)), (60 - CAMERA.K[0, 2]) / CAMERA.fx
    card = builder.rectangle(
        np.array([middle - 4, -4, 1.0]), np.array([8.0, 0, 0]), np.array([0, 8.0, 0]), (half_bare,)
    )
    stack, truth = render_stack(Scene((card,)), CAMERA, PLANES, rng=2)
    filled = {}
    for reach in (10.0, 40.0):
        result = ClassicalEstimator(ClassicalConfig(reach=reach)).estimate(stack)
        filled[reach] = np.isfinite(result.depth).mean(axis=0)
        assert filled[reach][:55].min() == 1.0
        known = np.isfinite(result.depth)
        assert (np.abs(result.depth - truth) / truth)[known].mean() < 0.1
        assert result.confidence[:, 20:40].mean() > 2 * result.confidence[:, 62:].mean()
    assert filled[10.0].sum() < filled[40.0].sum() and filled[10.0][-10:].max() < 0.5


def test_depth_beyond_the_planes_is_bounded():
    scene = Scene((wall(np.random.default_rng(6), 6.0, width=20.0),))
    stack, _ = render_stack(scene, CAMERA, [0.5, 0.8, 1.5], rng=6)
    depth = ClassicalEstimator().estimate(stack).depth
    assert (depth > 1.3).all() and (depth <= 1.5 * 1.5 + 1e-4).all()


def test_images_wider_than_the_processing_width_keep_their_size(tilted):
    stack, truth = tilted
    result = ClassicalEstimator(ClassicalConfig(width=120)).estimate(stack)
    assert result.depth.shape == truth.shape
    assert relative_error(result, truth).mean() < 0.07


def test_odd_sizes():
    stack, truth = render_stack(
        Scene((wall(np.random.default_rng(7), 1.0),)), SimulatedCamera(width=131, height=97), PLANES, rng=7
    )
    assert relative_error(ClassicalEstimator().estimate(stack), truth).mean() < 0.05


def test_the_noise_of_the_images_is_measured(tilted):
    rng = np.random.default_rng(8)
    flat = [np.clip(np.rint(128 + 4.0 * rng.standard_normal((120, 160, 3))), 0, 255).astype(np.uint8) for _ in range(3)]
    assert noise_sigma(luminance(flat)) == pytest.approx(4.0 / np.sqrt(3), rel=0.07)
    gray = luminance([p.image for p in tilted[0].planes])
    assert noise_sigma(gray) < 3.0  # granite all over, and not taken for noise: its contrast is 20 and more
    assert gray.std() > 8


def test_band_products_are_free_of_noise_on_average():
    rng = np.random.default_rng(9)
    gray = (128 + 3.0 * rng.standard_normal((3, 480, 640))).astype(np.float32)
    statistics = band_statistics(gray, 3.0, window=1.0)
    inner = statistics.products[:, :, 12:-12, 12:-12]
    assert np.abs(inner.mean(axis=(2, 3)) / statistics.noise[:, None]).max() < 0.05


def test_blur_reads_right_whatever_the_texture():
    # White and smooth textures of one depth, blurred by the same lens.
    focus = np.array([0.5, 0.8, 2.0])
    depth = 1.0
    for roughness in (0.6, 2.0):
        rng = np.random.default_rng(10)
        scene = cv2.GaussianBlur(rng.standard_normal((160, 200)), (0, 0), roughness)
        scene = 128 + 30 * scene / scene.std()
        images = []
        for s in focus:
            radius = optics.blur_radius(depth, s, 0.012, 1.4, 0.012 / 600)
            fine = cv2.resize(scene, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
            size = 2 * int(5 * radius + 3) + 1
            y, x = np.mgrid[:size, :size] - size // 2
            disc = (np.hypot(x, y) <= max(5 * radius, 0.5)).astype(np.float64)
            image = cv2.resize(cv2.filter2D(fine, -1, disc / disc.sum()), (200, 160), interpolation=cv2.INTER_AREA)
            images.append(np.clip(image + rng.standard_normal(image.shape), 0, 255).astype(np.uint8))
        planes = tuple(FocusPlane(np.dstack([i] * 3), float(s)) for i, s in zip(images, focus, strict=True))
        K = np.array([[600.0, 0, 100], [0, 600, 80], [0, 0, 1]])
        result = ClassicalEstimator().estimate(FocusStack(planes, K, 1.4, 0.012))
        assert np.nanmedian(result.depth) == pytest.approx(depth, rel=0.06)
