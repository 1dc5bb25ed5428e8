"""Gray procedural stacks: rooms whose solids are where they should be, and stacks as they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fossa_ros.training.gray_stacks import gray_block
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rooms import Solid, make_room, rotation
from fossa_ros.training.textures import texture_bank


def test_a_solid_is_met_where_it_is_and_its_normal_points_outwards():
    level = rotation(0.0, 0.3, 0.0)
    for kind in ("box", "sphere", "cylinder"):
        solid = Solid(kind, torch.tensor([0.0, 0.0, 2.0]), level.T, torch.tensor([0.5, 0.4, 0.5]))
        ray = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.2]])
        met = solid.meet(torch.zeros(3), ray)
        expected = 2 - 0.5 / np.cos(0.3) if kind == "box" else 1.5
        assert float(met[0]) == pytest.approx(expected, abs=1e-5) and float(met[1]) > 1e5
        normal = solid.normal(ray[:1] * met[0])
        assert float(normal.norm()) == pytest.approx(1, abs=1e-5) and float(normal[0, 2]) < -0.9


def test_a_room_is_nearer_than_its_far_wall_and_objects_hide_what_is_behind_them():
    bank = texture_bank(RandomSource(3), 6, 64)
    for seed in range(6):
        scene = make_room(RandomSource(seed), bank, 96, 0.5, 4.0)
        assert scene.colour.shape == (len(scene.cover), 1, 96, 96) and scene.cover.shape == scene.power.shape
        assert scene.colour.isfinite().all() and (scene.cover[0] == 1).all()
        power = scene.visible_power()
        assert float(power.min()) > 1 / 4.0 / 1.8 and float(power.max()) <= 3.0  # a corner is farther than the wall
        hit = scene.cover[1:] >= 0.5
        behind = scene.power[:1].expand_as(hit)
        assert (scene.power[1:][hit] >= behind[hit] - 1e-4).all()


def test_a_stack_is_a_function_of_its_seed_and_states_its_lens():
    first, again = (gray_block(5, 7, 2, 72) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.truth, b.truth)
        assert a.images.dtype == np.uint8 and a.images.shape == (len(a.focus), 72, 72) == (len(a.gains), *a.truth.shape)
        assert (np.diff(a.focus) <= 1e-2).all() and (a.gains > 0).all()  # near to far, but for misread foci
