"""Scenes by seed and motion paths."""

from dataclasses import replace

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.simulation.builder import Builder
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.motion_path import (
    Pose,
    angular_velocity,
    bump,
    compose,
    drift,
    rotation_matrix,
    rotation_vector,
    sinusoid,
    still,
)
from fossa_ros.simulation.scenes import KINDS, Scene, make_scene
from fossa_ros.simulation.stack_renderer import all_in_focus, true_depth
from fossa_ros.simulation.textures import OBJECTS
from moving_cards import card_mover

CAMERA = SimulatedCamera(width=160, height=120, fx=150)


@pytest.mark.parametrize("seed", range(8))
def test_a_scene_fills_the_view_at_working_distances_with_texture(seed):
    scene = make_scene(seed, detail=225)
    depth = true_depth(scene, CAMERA)
    assert np.isfinite(depth).all()
    assert depth.min() > 0.3 and depth.max() < 7
    assert np.quantile(1 / depth, 0.99) - np.quantile(1 / depth, 0.01) > 0.4  # dioptres
    jumps = np.abs(np.diff(1 / depth, axis=1)) > 0.1
    assert jumps.sum() > 100  # pixels of occlusion edges
    grey = all_in_focus(scene, CAMERA, views=8).mean(axis=2)
    detail = np.abs(np.diff(grey, axis=1))[1:] + np.abs(np.diff(grey, axis=0))[:, 1:]
    blocks = detail[:112, :152].reshape(14, 8, 19, 8).mean(axis=(1, 3))
    assert (blocks > 4).mean() > 0.6  # grey levels: most 8 x 8 blocks have texture well above the noise
    assert 40 < grey.mean() < 180


def test_the_seed_is_the_scene():
    first, again, other = (make_scene(seed, detail=100) for seed in (5, 5, 9))
    assert first.name == again.name == "table 5" and other.name == "table 9"
    for one, two in zip(first.surfaces, again.surfaces, strict=True):
        assert np.array_equal(one.texture, two.texture)
    assert np.array_equal(true_depth(first, CAMERA), true_depth(again, CAMERA))
    assert not np.array_equal(true_depth(first, CAMERA), true_depth(other, CAMERA))
    finer = make_scene(5, detail=150)
    assert np.array_equal(true_depth(first, CAMERA), true_depth(finer, CAMERA))
    assert finer.surfaces[0].texture.size > first.surfaces[0].texture.size


def test_a_kind_can_be_asked_for():
    assert {make_scene(0, kind, detail=30).name for kind in KINDS} == {f"{kind} 0" for kind in KINDS}
    with pytest.raises(InputError, match="kind of scene"):
        make_scene(0, "forest")


def test_a_mover_adds_one_object_on_its_path():
    scene = make_scene(2, detail=100).with_mover(card_mover(1, (0, 0, 0.8), (0.2, 0.2), drift((0, 0.1, 0.2))))
    at_rest = true_depth(scene.with_mover(None), CAMERA)
    for time in (0.0, 0.5):
        depth = true_depth(scene, CAMERA, time=time)
        card = depth != at_rest
        assert depth[card] == pytest.approx(0.8 + 0.2 * time, rel=1e-6)
        rows = np.nonzero(card)[0]
        side = 150 * 0.2 / (0.8 + 0.2 * time)
        assert rows.max() == pytest.approx(CAMERA.K[1, 2] + 150 * 0.1 * time / (0.8 + 0.2 * time) + side / 2, abs=1)
    assert isinstance(scene, Scene) and len(scene.at(0)) == len(scene.surfaces) + 1


def test_boxes_are_closed_and_only_hidden_faces_are_culled():
    faces = Builder(np.random.default_rng(0), 100).box((0.1, 0, 1.0), (0.3, 0.4, 0.2), OBJECTS, (0.5, 0.7, 0.1))
    for place in ((0, 0, 0), (0.4, 0.3, 0), (-0.2, -0.3, 0.2)):
        pose = Pose(translation=np.array(place))
        culled = true_depth(Scene(tuple(faces)), CAMERA, pose)
        kept = true_depth(Scene(tuple(replace(face, one_sided=False) for face in faces)), CAMERA, pose)
        drawn = [np.isfinite(true_depth(Scene((face,)), CAMERA, pose)).any() for face in faces]
        assert np.isfinite(culled).sum() > 500 and 1 <= sum(drawn) <= 3
        assert np.array_equal(culled, kept, equal_nan=True)


def test_poses_compose_and_invert():
    one = Pose(rotation_matrix([0.1, 0.2, -0.3]), np.array([1.0, 2, 3]))
    two = Pose(rotation_matrix([-0.4, 0.1, 0.2]), np.array([0.1, -0.2, 0.3]))
    point = np.array([0.3, -0.7, 2.0])
    chained = one @ two
    step = two.rotation @ point + two.translation
    assert np.allclose(chained.rotation @ point + chained.translation, one.rotation @ step + one.translation)
    assert (one @ one.inverse()).is_close(Pose())
    assert rotation_vector(one.rotation) == pytest.approx([0.1, 0.2, -0.3])


def test_a_bump_starts_at_its_time_and_dies_away():
    path = bump(2.0, rotation=(0.03, 0, 0), translation=(0, 0.001, 0), frequency=5, decay=0.2)
    assert path(1.99).is_close(Pose()) and path(2.0).is_close(Pose())
    peak = rotation_vector(path(2.05).rotation)
    assert peak == pytest.approx([0.03 * np.exp(-0.25), 0, 0])
    assert path(2.05).translation[1] == pytest.approx(0.001 * np.exp(-0.25))
    assert path(2.15).translation[1] == pytest.approx(-0.001 * np.exp(-0.75))
    assert path(5.0).is_close(Pose(), 1e-6)


def test_paths_chain_and_a_gyro_reads_their_rate():
    path = compose(drift((0.1, 0, 0), (0, 0.2, 0)), sinusoid(rotation=(0, 0, 0.01), frequency=3))
    assert path(0).is_close(still(0))
    assert path(1.0).translation == pytest.approx([0.1, 0, 0])
    assert angular_velocity(drift(angular_velocity=(0.1, 0.2, 0.3)), 1.3) == pytest.approx([0.1, 0.2, 0.3], rel=1e-6)
    assert angular_velocity(path, 0)[2] == pytest.approx(0.01 * 2 * np.pi * 3, rel=1e-4)
    forth = sinusoid((0.02, 0, 0), frequency=2, phase=np.pi / 2)
    assert forth(0).translation[0] == pytest.approx(0.02) and forth(0.25).translation[0] == pytest.approx(-0.02)
