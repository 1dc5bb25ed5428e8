"""Mitsuba's stacks against the thin lens and plane geometry; the small stacks that are kept with the tests."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.srgb import srgb_decode
from fossa_ros.io.stack_files import load_stack
from fossa_ros.simulation.camera import SimulatedCamera

KEPT = sorted((Path(__file__).parent / "data" / "path_traced").glob("*.npz"))
CAMERA = SimulatedCamera(width=161, height=24, fx=300.0, focal_length=0.035, f_number=1.0)
DISTANCE, EDGE = 0.8, 0.02  # of the luminous card and its right edge, m

needs_mitsuba = pytest.mark.skipif(
    importlib.util.find_spec("mitsuba") is None, reason="mitsuba is not installed; install fossa-ros[validation]"
)


@pytest.fixture
def world():
    from fossa_ros.evaluation.path_traced.world import World

    return World(np.random.default_rng(0))


def luminous_card(world):
    """Add a card that shines, its right edge EDGE to the right of the axis, at DISTANCE from the origin."""
    from fossa_ros.evaluation.path_traced.world import Frame

    pose = Frame().translate([EDGE - 5, DISTANCE, 0]).rotate([1, 0, 0], 90).scale(5)
    world.add({"type": "rectangle", "to_world": pose, "emitter": {"type": "area", "radiance": 1.0}})


@needs_mitsuba
@pytest.mark.parametrize("focus", [0.35, 0.55, 1.5, 6.0])
def test_an_edge_blurs_by_the_circle_of_confusion_and_stays_in_place(world, focus):
    from fossa_ros.evaluation.path_traced.render import View, render_path_traced

    luminous_card(world)
    view = View((0, 0, 0), (0, 1, 0), CAMERA)
    stack, truth = render_path_traced(world, view, samples=256, seed=1, focus_distances=[DISTANCE, focus])
    sharp, blurred = (srgb_decode(image / 255.0).mean(axis=(0, 2)) for image in stack.images())

    # The slope across the edge is the disc seen edge-on: its deviation is a quarter of its diameter.
    # The pixel and the difference of two add 1/12 each.
    slope = -np.diff(blurred) / blurred[0]
    x = np.arange(len(slope)) + 0.5
    middle = np.sum(slope * x)
    deviation = np.sqrt(np.sum(slope * (x - middle) ** 2) - 1 / 6)
    expected = 2 * optics.blur_radius(DISTANCE, focus, CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size)
    assert expected > 4.0
    assert 4 * deviation == pytest.approx(expected, rel=0.01)

    place = CAMERA.K[0, 2] + CAMERA.fx * EDGE / DISTANCE
    assert middle == pytest.approx(place, abs=0.05)
    assert np.sum(sharp / sharp[0]) - 0.5 == pytest.approx(place, abs=0.05)
    columns = np.arange(CAMERA.width)
    assert np.array_equal(np.isfinite(truth[0]), columns < place)
    assert np.nanmax(np.abs(truth - DISTANCE)) < 1e-4


@needs_mitsuba
def test_depth_is_along_the_axis_at_pixel_centres(world):
    from fossa_ros.evaluation.path_traced.render import View, exact_depth
    from fossa_ros.evaluation.path_traced.world import mi

    world.floor(world.metal(), (-50, 50), (-50, 50))
    view = View((0.3, -0.2, 1.2), (0.3, 1.8, 0.2), SimulatedCamera(width=48, height=36, fx=60.0))
    truth = exact_depth(mi.load_dict(world.scene), view)
    # Down the image by v, a ray of unit depth falls by sin(pitch) + v cos(pitch).
    pitch = np.arctan2(1.0, 2.0)
    v = (np.arange(36) - 17.5) / 60.0
    fall = np.sin(pitch) + v * np.cos(pitch)
    assert np.allclose(truth, (1.2 / fall)[:, None], rtol=1e-4)


@needs_mitsuba
def test_every_scene_has_depth_from_near_to_far_and_renders_the_same_again(tmp_path):
    from fossa_ros.evaluation.path_traced.__main__ import main

    for folder in ("first", "again"):
        options = ["--out", str(tmp_path / folder), "--samples", "1", "--size", "0.1", "--planes", "2"]
        done = CliRunner().invoke(main, options if folder == "first" else [*options, "--scene", "garden"])
        assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "first").glob("*.npz"))
    assert len(files) >= 12
    for file in files:
        source = load_stack(file)
        known = source.truth[np.isfinite(source.truth)]
        assert known.size > 0.7 * source.truth.size, file
        assert known.max() > 2 * known.min(), file
        assert len(source.stack.planes) == 2 and (np.diff(source.stack.focus_distances) > 0).all()
        assert source.stack.images().std() > 15, file
    assert (tmp_path / "first" / "garden.npz").read_bytes() == (tmp_path / "again" / "garden.npz").read_bytes()


def test_the_kept_stacks_are_whole():
    assert [file.stem for file in KEPT] == ["breakfast", "living_room", "workbench"]
    assert sum(file.stat().st_size for file in KEPT) < 750_000
    for file in KEPT:
        source = load_stack(file)
        assert source.stack.images().shape == (5, 120, 160, 3)
        assert np.isfinite(source.truth).all() and source.stack.focal_length and source.stack.f_number


@pytest.mark.skipif(importlib.util.find_spec("mitsuba") is not None, reason="mitsuba is installed")
def test_without_mitsuba_a_sentence_says_what_to_install():
    with pytest.raises(InputError, match="validation"):
        importlib.import_module("fossa_ros.evaluation.path_traced.world")


def test_planes_are_not_for_rooms(tmp_path):
    from fossa_ros.evaluation.path_traced.__main__ import main

    done = CliRunner().invoke(main, ["--out", str(tmp_path / "rooms"), "--rooms", "1", "--planes", "9"])
    assert done.exit_code == 2 and "--planes is for the scenes" in done.output and not list(tmp_path.iterdir())


@needs_mitsuba
def test_a_view_that_cannot_be_rendered_is_left_out_and_the_others_are_written(tmp_path, monkeypatch):
    from fossa_ros.evaluation.path_traced import rooms
    from fossa_ros.evaluation.path_traced.__main__ import main

    draw = rooms.random_views

    def one_of_the_sky(world, count, **ranges):
        first, *others = draw(world, count, **ranges)
        return [replace(first, target=(0.01, 0.02, 1000.0), origin=(0.0, 0.0, 900.0)), *others]

    monkeypatch.setattr(rooms, "random_views", one_of_the_sky)
    options = ["--out", str(tmp_path), "--size", "0.1", "--samples", "1", "--seed", "5", "--threads", "1"]
    done = CliRunner().invoke(main, [*options, "--rooms", "2"])
    assert done.exit_code == 0 and "room_0001_0: left out: The view shows no surface" in done.output
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == ["room_0000_1", "room_0001_1"]


@needs_mitsuba
def test_rooms_are_drawn_at_random_and_the_same_command_adds_more(tmp_path):
    from fossa_ros.evaluation.path_traced.__main__ import main

    options = ["--out", str(tmp_path), "--size", "0.2", "--samples", "1", "--seed", "5", "--threads", "1", "--rooms"]
    done = CliRunner().invoke(main, [*options, "2"])
    assert done.exit_code == 0, done.output
    first = (tmp_path / "room_0000_1.npz").stat().st_mtime_ns
    done = CliRunner().invoke(main, [*options, "4"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "room_0000_1.npz").stat().st_mtime_ns == first
    sizes = {path.stem: load_stack(path).stack.size for path in tmp_path.glob("*.npz")}
    assert all(sizes[f"room_{number:04d}_0"] == sizes[f"room_{number:04d}_1"] for number in range(4))
    assert len(set(sizes.values())) > 1
    layouts = []
    for path in sorted(tmp_path.glob("*.npz")):
        file = load_stack(path)
        known = file.truth[np.isfinite(file.truth)]
        assert known.size > 0.3 * file.truth.size and 0.05 < known.min() < known.max() < 100
        assert 3 <= len(file.stack.planes) <= 9 and (np.diff(file.stack.focus_distances) > 0).all()
        span = np.ptp(1 / file.stack.focus_distances)
        gain = file.stack.K[0, 0] * file.stack.focal_length / file.stack.f_number / 2  # px of blur radius per dioptre
        assert 0.06 < gain * span < 2.4  # a fifth of the 1.2 to 9 px of full size
        layouts.append((round(float(known.mean()), 3), len(file.stack.planes)))
    assert len(set(layouts)) == 8


@needs_mitsuba
def test_sharp_rooms_are_those_of_the_stacks_and_can_be_read_for_training(tmp_path):
    from fossa_ros.evaluation.path_traced.__main__ import main
    from fossa_ros.training.rgbd import RgbdFrames

    options = ["--size", "0.3", "--samples", "64", "--seed", "5", "--threads", "1", "--rooms", "1", "--blur", "6", "9"]
    done = CliRunner().invoke(main, [*options, "--out", str(tmp_path / "stacks")])
    assert done.exit_code == 0, done.output
    sheet = tmp_path / "sheet.png"
    done = CliRunner().invoke(main, [*options, "--out", str(tmp_path / "sharp"), "--sharp", "--sheet", str(sheet)])
    assert done.exit_code == 0 and sheet.exists(), done.output
    frames = RgbdFrames("rooms", tmp_path / "sharp")
    assert len(frames) == 2
    for frame, name in zip(frames, ("room_0000_0", "room_0000_1"), strict=True):
        rendered = load_stack(tmp_path / "stacks" / f"{name}.npz")
        np.testing.assert_array_equal(frame.depth, rendered.truth)
        assert frame.focal_length == pytest.approx(rendered.stack.K[0, 0] / rendered.stack.size[1])
        images = [image.mean(axis=2) for image in (frame.colour, *rendered.stack.images())]
        detail = [np.abs(np.diff(image, axis=1)).mean() for image in images]
        assert detail[0] > max(detail[1:])  # everything is sharp at once


def test_sharp_images_are_of_rooms_only(tmp_path):
    from fossa_ros.evaluation.path_traced.__main__ import main

    done = CliRunner().invoke(main, ["--out", str(tmp_path / "scenes"), "--sharp"])
    assert done.exit_code == 2 and "--sharp is for --rooms" in done.output and not list(tmp_path.iterdir())
