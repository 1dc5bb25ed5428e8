"""The thin-lens renderer against closed forms: blur, occlusion, energy, depth, motion and noise."""

from dataclasses import replace

import numpy as np
import pytest

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.srgb import srgb_decode, srgb_encode
from fossa_ros.simulation.camera import FULL_SCALE, LIGHT_OF_CODE, SimulatedCamera
from fossa_ros.simulation.live_sensor import LiveSensor
from fossa_ros.simulation.motion_path import Pose, drift, rotation_matrix
from fossa_ros.simulation.raycast import Pinhole, Rectangle, Sphere, cast_view
from fossa_ros.simulation.scenes import Mover, Scene, make_scene
from fossa_ros.simulation.stack_renderer import all_in_focus, render_stack, true_depth
from fossa_ros.simulation.thin_lens import Synthesis

CAMERA = SimulatedCamera(width=96, height=24)  # fx 600 px: a blur disc of 5.1 px a dioptre

SMALL = make_scene(3, detail=112)


def patch(left, right, depth, grey, top=-9.0, bottom=9.0):
    """Return a plain rectangle that faces the camera, its bounds in metres."""
    corner, x, y = np.array([left, top, depth]), np.array([right - left, 0, 0]), np.array([0, bottom - top, 0])
    return Rectangle(corner, x, y, np.full((2, 2, 3), grey, np.uint8))


def light(surfaces, focus_distances, camera=CAMERA, views=200, **options):
    """Return the linear light on each plane in its green band: (N, H, W)."""
    return Synthesis(camera, focus_distances, views).light(lambda _: tuple(surfaces), **options)[..., 1]


def edge_width(profile):
    """Return the diameter of the disc whose edge spread this is, and the edge's place in pixels.

    The line spread of a disc of diameter D has the variance D^2/16; the pixel's area and the difference between
    pixels add 1/12 each.
    """
    spread = np.diff(profile) / (profile[-1] - profile[0])
    place = np.arange(len(spread)) + 0.5
    mean = spread @ place
    return 4 * np.sqrt(max(spread @ (place - mean) ** 2 - 1 / 6, 0)), mean


@pytest.mark.parametrize("depth, focus", [(0.5, 0.35), (2.0, 0.5), (6.0, 0.6), (0.4, 1.0), (0.6, np.inf), (0.3, 0.5)])
def test_blur_of_an_edge_is_the_circle_of_confusion(depth, focus):
    edge = patch(-9, 0, depth, 0), patch(0, 9, depth, 255)
    image = light(edge, [focus])[0]
    width, place = edge_width(image.mean(axis=0))
    lens = CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size
    assert width == pytest.approx(2 * optics.blur_radius(depth, focus, *lens), rel=0.04)
    assert place == pytest.approx(CAMERA.K[0, 2], abs=0.06)
    assert image.min() == 0 and image.max() == pytest.approx(1)


def test_what_is_in_focus_is_as_sharp_as_a_pixel():
    for depth in (0.3, 1.0, 5.0):
        profile = light((patch(-9, 0.001, depth, 0), patch(0.001, 9, depth, 255)), [depth])[0].mean(axis=0)
        assert np.count_nonzero((profile > 0.01) & (profile < 0.99)) <= 1
        place = CAMERA.K[0, 2] + CAMERA.fx * 0.001 / depth
        assert np.sum(1 - profile) - 0.5 == pytest.approx(place, abs=0.06)


def test_all_focus_distances_of_one_pass_have_their_own_aperture():
    """Widening by the magnification: one pass over 0.3 m and infinity gives what two passes give."""
    edge = patch(-9, 0, 0.8, 0), patch(0, 9, 0.8, 255)
    together = light(edge, [0.3, np.inf])
    lens = CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size
    for image, focus in zip(together, (0.3, np.inf), strict=True):
        assert edge_width(image.mean(axis=0))[0] == pytest.approx(2 * optics.blur_radius(0.8, focus, *lens), rel=0.04)


def test_defocus_conserves_light():
    camera = SimulatedCamera(width=64, height=64)
    surfaces = patch(-9, 9, 3, 0), patch(-0.009, 0.012, 1, 255, -0.01, 0.008)
    totals = light(surfaces, [0.4, 1.0, np.inf], camera).sum(axis=(1, 2))
    assert totals == pytest.approx(0.021 * 0.018 * CAMERA.fx**2, rel=0.01)


def test_a_blurred_background_does_not_bleed_over_a_sharp_foreground():
    image = light((patch(-9, 0, 0.5, 0), patch(-9, 9, 4, 255)), [0.5])[0]
    edge = int(CAMERA.K[0, 2])  # the last pixel whose centre is on the foreground
    assert image[:, :edge].max() == 0
    assert image[:, edge + 2 :].min() == pytest.approx(1)


def test_a_blurred_foreground_reveals_what_is_behind():
    """The background is seen through the part of the aperture that looks past the edge: a segment of a disc."""
    near, far = 0.4, 2.0
    image = light((patch(-9, 0, near, 0), patch(-9, 9, far, 255)), [far])[0]
    radius = optics.blur_radius(near, far, CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size)
    offset = np.clip((np.arange(CAMERA.width) - CAMERA.K[0, 2]) / radius, -1, 1)
    visible = 0.5 + (offset * np.sqrt(1 - offset**2) + np.arcsin(offset)) / np.pi
    assert radius > 4
    assert np.abs(image.mean(axis=0) - visible).max() < 0.03
    assert np.abs(image - visible).max() < 0.04  # grain of 200 views

    behind = patch(-9, 9, far, 0, -9, 0), patch(-9, 9, far, 255, 0, 9)
    veiled = light((patch(-9, 0, near, 0), *behind), [far])[0]
    halfway = int(CAMERA.K[0, 2])
    rows = veiled[:, halfway]
    assert rows[: int(CAMERA.K[1, 2])].max() == 0  # sharp behind the veil: dark up to the edge,
    assert rows[int(CAMERA.K[1, 2]) + 2 :] == pytest.approx(visible[halfway], abs=0.04)  # then half bright


def test_breathing_magnifies_other_planes_about_the_reference():
    camera = replace(CAMERA, breathing_length=0.024, focal_length=0.024, f_number=2.8)
    offset = 0.02
    scene = Scene((patch(-9, offset, 1.0, 0), patch(offset, 9, 1.0, 255)))
    stack, _ = render_stack(scene, camera, [0.4, 1.0, 5.0], views=200)
    for plane in stack.planes:
        profile = srgb_decode(plane.image[..., 1].mean(axis=0) / 255)
        scale = optics.magnification(plane.focus_distance, 0.024) / optics.magnification(1.0, 0.024)
        width, place = edge_width(profile)
        assert place == pytest.approx(camera.K[0, 2] + scale * camera.fx * offset / 1.0, abs=0.1)
        blur = 2 * optics.blur_radius(1.0, plane.focus_distance, 0.024, 2.8, camera.pixel_size)
        assert width == pytest.approx(blur, rel=0.03, abs=0.3)


def test_texture_lies_where_the_projection_puts_it():
    """Red is s and green is t on a tilted card; both are recovered from every pixel's ray."""
    ramp = np.arange(256, dtype=np.uint8)
    texture = np.zeros((256, 256, 3), np.uint8)
    texture[..., 0], texture[..., 1] = ramp[None, :], ramp[:, None]
    turn = rotation_matrix([0.3, -0.5, 0.2])
    card = Rectangle(turn @ [-2.0, -2.0, 0] + [0, 0, 1.5], turn @ [4.0, 0, 0], turn @ [0, 4.0, 0], texture)
    pose = Pose(rotation_matrix([0.05, 0.1, -0.1]), np.array([0.1, -0.05, 0.2]))
    view = Pinhole(160, 120, 150, 70.3, 61.7)
    image = cast_view((card,), view, pose)
    y, x = np.mgrid[:120, :160]
    rays = pose.rotation @ np.linalg.inv(view.K) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    columns = np.stack([card.edge_x, card.edge_y, card.corner - pose.translation], axis=1)
    s, t, w = np.linalg.solve(columns, rays)
    s, t = (s / w).reshape(120, 160), (t / w).reshape(120, 160)
    inside = (s > 0.01) & (s < 0.99) & (t > 0.01) & (t < 0.99)
    assert inside.mean() > 0.5
    assert np.abs(image[inside, 0] - (256 * s[inside] - 0.5)).max() < 1
    assert np.abs(image[inside, 1] - (256 * t[inside] - 0.5)).max() < 1


def test_a_ball_wears_its_texture_upright_and_lit():
    texture = np.zeros((64, 128, 3), np.uint8)
    texture[:, 64:96, 0], texture[32:, :, 1], texture[..., 2] = 255, 255, 200
    ball = Sphere(np.array([0, 0, 1.0]), 0.2, texture, light=np.array([0, -1.0, 0]))
    image = cast_view((ball,), Pinhole(101, 101, 200, 50, 50), Pose())
    lower_right, upper_left = image[60, 60], image[40, 40]
    assert lower_right[0] > 100 and lower_right[1] > 100 and (upper_left[:2] == 0).all()
    assert image[60, 40, 0] == 0 and image[40, 60, 1] == 0
    ray = np.arctan(10 / 200)
    incidence = np.arcsin(np.sin(ray) * 1.0 / 0.2)  # law of sines: centre at 1 m, radius 0.2 m
    assert image[40, 50, 2] == pytest.approx(200 * (0.45 + 0.55 * np.sin(incidence - ray)), abs=2)
    assert lower_right[2] == 90  # in shadow: the ambient share


def test_depth_is_exact():
    camera = SimulatedCamera(width=160, height=120, fx=150)
    pose = Pose(rotation_matrix([0.1, -0.2, 0.05]), np.array([0.1, 0.05, -0.3]))
    turn = rotation_matrix([0.4, 0.6, 0])
    wall = Rectangle(
        turn @ [-20.0, -20, 0] + [0, 0, 3], turn @ [40.0, 0, 0], turn @ [0, 40.0, 0], np.zeros((2, 2, 3), "u1")
    )
    ball = Sphere(np.array([0.1, -0.1, 1.0]), 0.3, np.zeros((2, 4, 3), "u1"))
    depth = true_depth(Scene((wall, ball)), camera, pose)
    y, x = np.mgrid[:120, :160]
    rays = np.einsum("ij,jhw->hwi", pose.rotation @ np.linalg.inv(camera.K), np.stack([x, y, np.ones_like(x)]))
    normal = turn[:, 2]
    plane = (normal @ ([0, 0, 3] - pose.translation)) / (rays @ normal)
    centre = ball.centre - pose.translation
    along, squared = rays @ centre, (rays**2).sum(-1)
    discriminant = along**2 - squared * (centre @ centre - ball.radius**2)
    sphere = np.where(discriminant > 0, (along - np.sqrt(np.maximum(discriminant, 0))) / squared, np.inf)
    expected = np.minimum(plane, sphere)
    assert depth.dtype == np.float32 and (sphere < plane).mean() > 0.05
    assert np.allclose(depth, expected, rtol=2e-7, atol=0)


def test_depth_of_nothing_is_unknown():
    depth = true_depth(Scene((patch(-0.01, 0.01, 1, 255),)), CAMERA)
    assert np.isnan(depth[:, :40]).all() and (depth[:, 45:50] == 1).all()


def test_walls_that_pass_beside_the_camera_are_clipped():
    floor = Rectangle(
        np.array([-5.0, 1, -3]), np.array([10.0, 0, 0]), np.array([0, 0, 20.0]), np.zeros((2, 2, 3), "u1")
    )
    camera = SimulatedCamera(width=64, height=48, fx=40)
    depth = true_depth(Scene((floor,)), camera)
    rows = np.arange(48) - camera.K[1, 2]
    seen = (rows > 0) & (40 / np.maximum(rows, 1e-9) < 17)
    assert np.isnan(depth[~seen]).all()
    assert np.allclose(depth[seen, 32], 40 / rows[seen], rtol=1e-6)


def test_same_seeds_give_the_same_bytes_on_any_number_of_threads():
    camera = SimulatedCamera(width=80, height=60, fx=75)
    first, depth = render_stack(SMALL, camera, [0.5, 1, 4], rng=7, views=17)
    second, again = render_stack(SMALL, camera, [0.5, 1, 4], rng=np.random.default_rng(7), views=17, workers=3)
    other, _ = render_stack(SMALL, camera, [0.5, 1, 4], rng=8, views=17)
    assert np.array_equal(first.images(), second.images()) and np.array_equal(depth, again)
    assert not np.array_equal(first.images(), other.images())
    assert first.reference == 1 and np.array_equal(first.K, camera.K) and first.f_number == camera.f_number


def test_every_plane_is_seen_from_its_own_pose():
    camera = SimulatedCamera(width=80, height=60, fx=75)
    poses = [Pose(), Pose(rotation_matrix([0, 0.02, 0]), np.array([0.03, 0, 0])), Pose()]
    moved, depth = render_stack(SMALL, camera, [0.5, 1, 4], poses=poses, views=16)
    at_rest, rest_depth = render_stack(SMALL, camera, [0.5, 1, 4], views=16, reference=0)
    alone, alone_depth = render_stack(SMALL, camera, [1, 1], poses=[poses[1]] * 2, views=16)
    assert np.array_equal(depth, alone_depth) and not np.array_equal(depth, rest_depth)
    assert np.array_equal(moved.planes[1].image, alone.planes[0].image)
    difference = moved.planes[1].image.astype(int) - at_rest.planes[1].image
    assert np.abs(difference).mean() > 5
    for plane in (0, 2):  # fewer planes share the pass, so other views are drawn
        assert np.abs(moved.planes[plane].image.astype(int) - at_rest.planes[plane].image).mean() < 1.5


def test_motion_during_the_exposure_blurs():
    edge = Scene((patch(-9, 0, 2, 0), patch(0, 9, 2, 255)))
    stack, _ = render_stack(edge, CAMERA, [2, 2], path=drift((0.4, 0, 0)), times=[0, 0.05], exposure=0.1, views=200)
    length = 600 * 0.4 * 0.1 / 2
    for plane, start in zip(stack.planes, (0, 0.05), strict=True):
        profile = srgb_decode(plane.image[..., 1].mean(axis=0) / 255)
        width, place = edge_width(profile)
        assert (width / 4) ** 2 == pytest.approx(length**2 / 12, rel=0.03)
        assert place == pytest.approx(CAMERA.K[0, 2] - 600 * 0.4 * (start + 0.05) / 2, abs=0.1)
    assert [plane.stamp_ns for plane in stack.planes] == [0, 50_000_000]


def test_a_moving_object_is_where_its_path_is():
    path = drift((0.1, 0, 0))
    scene = Scene((patch(-9, 9, 3, 60),), Mover((patch(-0.03, 0.03, 1, 200),), path))
    stack, depth = render_stack(scene, CAMERA, [1, 1], times=[-0.2, 0.2], views=16, reference=1)
    centres = [np.average(np.arange(96), weights=plane.image[12, :, 0] > 130) for plane in stack.planes]
    assert centres == pytest.approx([CAMERA.K[0, 2] - 12, CAMERA.K[0, 2] + 12], abs=0.6)
    assert np.average(np.arange(96), weights=depth[12] == 1) == pytest.approx(CAMERA.K[0, 2] + 12, abs=0.6)


def test_all_in_focus_is_sharp_at_every_depth():
    surfaces = patch(-9, 0, 0.5, 0), patch(0, 9, 0.5, 0, 0, 9), patch(-9, 9, 4, 255)
    image = all_in_focus(Scene(surfaces), CAMERA, views=64)
    assert (image[:11, :47] == 0).all() and (image[:11, 49:] == 255).all() and (image[13:] == 0).all()


@pytest.mark.parametrize("code", [60, 120, 220])  # darker, the clipped black level shifts the mean
def test_noise_has_the_variance_it_is_said_to_have(code):
    camera = SimulatedCamera(width=320, height=240, full_well=2000, read_noise=8)
    level = LIGHT_OF_CODE[code] / FULL_SCALE
    variance = level / 2000 + (8 / 2000) ** 2
    step = srgb_decode((code + 0.5) / 255) - srgb_decode((code - 0.5) / 255)
    exact = camera.expose(np.full((240, 320, 3), level, np.float32), np.random.default_rng(0))
    live = LiveSensor(camera, seed=1)
    flat = np.full((240, 320, 3), code, np.uint8)
    frames = [live.expose(flat) for _ in range(2)]
    for image in (exact, *frames):
        measured = srgb_decode(image / 255.0)
        assert measured.mean() == pytest.approx(level, rel=0.01)
        assert measured.var() == pytest.approx(variance + step**2 / 12, rel=0.06)
    residuals = [frame.ravel().astype(float) - code for frame in frames]
    assert abs(np.corrcoef(*residuals)[0, 1]) < 0.02
    assert not np.array_equal(frames[0], frames[1])
    assert np.array_equal(frames[0], LiveSensor(camera, seed=1).expose(flat))


def test_exposure_gain_and_vignetting_scale_the_light():
    camera = SimulatedCamera(width=64, height=48, full_well=np.inf, vignetting=0.4)
    image = np.full((48, 64, 3), 150, np.uint8)
    level = float(srgb_decode(150 / 255))
    exact = camera.expose(np.full((48, 64, 3), level, np.float32), np.random.default_rng(0), gain=0.5)
    live = LiveSensor(camera).expose(image, gain=0.5)
    corner = np.rint(255 * srgb_encode(0.6 * 0.5 * level))
    centre = np.rint(255 * srgb_encode(0.5 * level))
    for seen in (exact, live):
        assert abs(int(seen[0, 0, 0]) - corner) <= 1 and abs(int(seen[24, 32, 0]) - centre) <= 1
    flicker = LiveSensor(replace(camera, vignetting=0)).expose(image, gain=0.5)
    assert abs(int(flicker[5, 5, 1]) - centre) <= 1


def test_stated_mistakes_are_refused():
    with pytest.raises(InputError, match="beyond the focal length"):
        render_stack(SMALL, CAMERA, [0.01, 1])
    with pytest.raises(InputError, match="one per plane"):
        render_stack(SMALL, CAMERA, [0.5, 1], times=[0])
    with pytest.raises(InputError, match="views"):
        render_stack(SMALL, CAMERA, [0.5, 1], views=1000)
    with pytest.raises(InputError, match="f_number"):
        SimulatedCamera(f_number=0)
