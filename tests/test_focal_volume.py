"""Live frames from a focal volume against the offline renderer."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.focal_volume import BLUR_STEP, FocalVolume
from fossa_ros.simulation.motion_path import Pose, drift, rotation_matrix, still
from fossa_ros.simulation.scenes import make_scene
from fossa_ros.simulation.stack_renderer import render_stack, true_depth
from moving_cards import card_mover

CAMERA = SimulatedCamera(width=160, height=120, fx=300)
TURN = Pose(rotation_matrix([0.02, -0.03, 0.02]))


@pytest.fixture(scope="module")
def scene():
    return make_scene(2, detail=450)


@pytest.fixture(scope="module")
def volume(scene):
    return FocalVolume(scene, CAMERA, (0.2, 3.0), margin=16, views=64, workers=1)


def rendered(scene, power, **options):
    """Render one ideal frame through as many views as the volume has."""
    stack, _ = render_stack(scene, CAMERA, [1 / power] * 2, views=64, **options)
    return stack.planes[0].image


def rms(one, other):
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


def test_slices_are_a_small_step_of_blur_apart(volume):
    lens = CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size
    assert volume.powers[0] == 0.2 and volume.powers[-1] == 3.0
    signed = optics.circle_of_confusion(1.0, optics.metres(volume.powers), *lens[:2]) / (2 * lens[2])
    assert np.abs(np.diff(signed)).max() < 1.1 * BLUR_STEP


def test_between_slices_the_image_is_nearly_the_rendered_one(volume, scene):
    for index in (0, 3, len(volume.powers) - 2):
        at_slice, power = volume.powers[index], volume.powers[index : index + 2].mean()
        assert rms(volume.image(at_slice), rendered(scene, at_slice)) < 1  # grey levels
        truth = rendered(scene, power)
        assert rms(volume.image(power), truth) < 1.2
        assert rms(volume.image(power), truth) < 0.7 * rms(volume.image(at_slice), truth)
    assert np.array_equal(volume.image(99.0), volume.image(3.0))


def test_a_rotation_is_a_true_rotation(volume, scene):
    power = float(volume.powers[3])
    truth = rendered(scene, power, poses=[TURN] * 2)
    turned = volume.image(power, TURN)
    assert rms(turned, truth) < 4  # grey levels: resampling blurs what is in focus
    assert rms(turned, truth) < 0.2 * rms(volume.image(power), truth)
    assert np.array_equal(volume.depth(TURN), true_depth(scene, CAMERA, TURN))


def test_a_translation_moves_the_median_depth_rightly(volume, scene):
    power, shift = float(volume.powers[1]), Pose(translation=np.array([0.03, -0.015, 0.0]))
    truth = rendered(scene, power, poses=[shift] * 2)
    away = np.abs(optics.dioptres([volume.rest_depth, volume.depth(shift)]) - 1 / volume.median_depth).max(axis=0)
    at_median = cv2.erode((away < 0.01).astype(np.uint8), np.ones((9, 9))) == 1  # clear of what stands elsewhere
    assert at_median.mean() > 0.1
    moved, unmoved = volume.image(power, shift), volume.image(power)
    assert rms(moved[at_median], truth[at_median]) < 4
    assert rms(moved[at_median], truth[at_median]) < 0.3 * rms(unmoved[at_median], truth[at_median])


def test_still_depth_is_the_true_depth_and_a_copy(volume, scene):
    depth = volume.depth()
    assert np.array_equal(depth, true_depth(scene, CAMERA))
    depth[:] = 0
    assert volume.depth().min() > 0


def test_an_exposure_without_motion_is_one_instant(volume):
    assert np.array_equal(volume.exposed(lambda _: 1.0, still, 2.0, 0.02), volume.image(1.0))
    drifting = drift((0, 0, 0), (0, 1.0, 0))  # 3 px in the exposure
    blurred = volume.exposed(lambda _: 1.0, drifting, -0.005, 0.01).astype(float)
    sharp = volume.image(1.0)
    across, down = (np.abs(np.diff(blurred, axis=axis)).mean() for axis in (1, 0))
    before_across, before_down = (np.abs(np.diff(sharp.astype(float), axis=axis)).mean() for axis in (1, 0))
    assert across / before_across < 0.85 * down / before_down


def test_a_lens_that_moves_in_the_exposure_mixes_its_positions(volume):
    ramp = volume.exposed(lambda time: 0.5 + 100 * time, still, 0.0, 0.02)
    mean = np.mean([volume.image(power).astype(float) for power in 0.5 + 2 * (np.arange(4) + 0.5) / 4], axis=0)
    assert np.abs(ramp - mean).max() < 2


@pytest.mark.parametrize("power, time", [(1 / 0.8, 0.0), (0.5, 0.4), (2.5, -0.4)])
def test_a_moving_layer_agrees_with_the_renderer(scene, power, time):
    path = drift((0.1, 0.02, 0.5))
    moving = scene.with_mover(card_mover(4, (0, 0, 0.8), (0.12, 0.15), path))
    volume = FocalVolume(moving, CAMERA, (0.2, 3.0), margin=0, views=48, workers=1)
    truth = rendered(moving, power, times=[time] * 2)
    image = volume.image(power, time=time)
    card = np.abs(volume.depth(time=time) - (0.8 + 0.5 * time)) < 1e-3
    assert card.mean() > 0.05
    assert rms(image[card], truth[card]) < 8  # grey levels
    assert rms(image[card], truth[card]) < 0.25 * rms(volume.image(power, time=time + 0.3)[card], truth[card])
    assert rms(image, truth) < 4


def test_a_layer_that_recedes_comes_into_focus_where_it_is(scene):
    path = drift((0, 0, 0.4))
    moving = replace(scene, surfaces=(), mover=card_mover(4, (0, 0, 0.6), (0.24, 0.18), path))
    volume = FocalVolume(moving, CAMERA, (0.5, 3.0), margin=0, views=48, workers=1)
    for time in (0.0, 1.0):  # at 0.6 m, at 1.0 m
        inside = cv2.erode(np.isfinite(volume.depth(time=time)).astype(np.uint8), np.ones((9, 9)))[:, 1:] == 1
        contrast = [
            np.abs(np.diff(volume.image(power, time=time).astype(float), axis=1))[inside].mean()
            for power in (0.5, 1.0, 1 / 0.6, 2.6)
        ]
        assert np.argmax(contrast) == (2 if time == 0 else 1)


def test_what_stands_nearer_hides_a_moving_layer(scene):
    path = drift((0.1, 0, 0))
    behind = scene.with_mover(card_mover(4, (0, 0, 2.0), (2.5, 2.5), path))
    volume = FocalVolume(behind, CAMERA, (0.2, 3.0), margin=0, views=48, workers=1)
    depth = volume.depth(time=0.5)
    nearer = cv2.erode((depth < 1.9).astype(np.uint8), np.ones((15, 15))) == 1  # clear of blurred edges
    assert nearer.mean() > 0.05 and (np.abs(depth - 2) < 1e-3).mean() > 0.2
    image, truth = volume.image(0.5, time=0.5), rendered(behind, 0.5, times=[0.5] * 2)
    backdrop = volume.image(0.5, time=1000.0)  # the object has left the view
    assert np.array_equal(image[nearer], backdrop[nearer])
    assert rms(image, truth) < 0.3 * rms(backdrop, truth)


def test_breathing_scales_about_the_centre(scene):
    camera = replace(CAMERA, breathing_length=CAMERA.focal_length)
    volume = FocalVolume(scene, camera, (0.2, 3.0), margin=4, views=16, workers=1, reference_power=0.5)
    plain = FocalVolume(scene, CAMERA, (0.2, 3.0), margin=4, views=16, workers=1)
    assert np.array_equal(volume.image(0.5), plain.image(0.5))
    scale = (1 - 0.012 * 0.5) / (1 - 0.012 * 3.0)
    zoomed = plain.image(3.0, Pose(translation=np.array([0, 0, plain.median_depth * (1 - 1 / scale)])))
    assert rms(volume.image(3.0), zoomed) < 0.5


def test_vignetting_is_left_to_the_sensor(scene):
    camera = replace(CAMERA, width=64, height=48, vignetting=0.5)
    shaded = FocalVolume(scene, camera, (0.5, 1.0), margin=4, views=8, workers=1)
    plain = FocalVolume(scene, replace(camera, vignetting=0.0), (0.5, 1.0), margin=4, views=8, workers=1)
    assert np.array_equal(shaded.image(0.7), plain.image(0.7))


def test_progress_ends_at_one_and_mistakes_are_refused(scene):
    seen = []
    FocalVolume(scene, replace(CAMERA, width=32, height=24), (0.5, 1.0), views=5, workers=2, progress=seen.append)
    assert sorted(seen) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    with pytest.raises(InputError, match="dioptres"):
        FocalVolume(scene, CAMERA, (-1.0, 2.0))
    with pytest.raises(InputError, match="focal length"):
        FocalVolume(scene, CAMERA, (0.0, 100.0))
    with pytest.raises(InputError, match="out of view"):
        FocalVolume(scene.with_mover(card_mover(0, (5, 0, 1))), replace(CAMERA, width=32, height=24), (0, 1), views=2)
