"""What is rendered once is read from disk the next time, unless the file is damaged or something has changed."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fossa_ros.simulation import render_cache
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.focal_volume import FocalVolume
from fossa_ros.simulation.render_cache import cache_folder, cached

ARRAYS = {"slices": np.arange(6000, dtype=np.uint8).reshape(10, 200, 3), "rest_depth": np.array([[1.5, np.nan]])}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fossa_ros" / "renders"
    return cache_folder()


@pytest.fixture
def rendered():
    return []


@pytest.fixture
def recall(rendered):
    """A function that returns what is cached of a description, and checks that it is what was rendered."""

    def render():
        rendered.append(1)
        return ARRAYS

    def recall(description="room 0"):
        arrays = cached(description, render)
        assert arrays.keys() == ARRAYS.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, ARRAYS[name])
            assert array.dtype == ARRAYS[name].dtype

    return recall


def test_each_description_and_version_of_the_code_is_rendered_once(recall, rendered, monkeypatch):
    for _ in range(3):
        recall()
    assert len(rendered) == 1
    recall("room 1")
    assert len(rendered) == 2
    monkeypatch.setattr(render_cache, "_code_version", lambda: "another")
    recall()
    recall()
    assert len(rendered) == 3


def test_a_damaged_file_is_rendered_again(recall, rendered, folder):
    recall()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    damaged = [b"", b"not an archive", whole[: len(whole) // 2], whole[:-1]]
    for offset in range(0, len(whole), 97):
        damaged.append(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
    for content in damaged:
        file.write_bytes(content)
        recall()
    assert len(rendered) > len(damaged) / 2  # not where the byte is of no consequence, a date for one
    rendered.clear()
    recall()
    assert not rendered


def test_the_files_that_were_used_last_are_kept_within_the_limit(recall, rendered, folder, monkeypatch):
    for age, description in enumerate("abc"):
        recall(description)
        newest = max(folder.iterdir(), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (1000 + age, 1000 + age))
    size = newest.stat().st_size
    monkeypatch.setattr(render_cache, "LIMIT_BYTES", round(3.5 * size))
    recall("a")  # the oldest, and used again
    recall("d")
    assert len(list(folder.iterdir())) == 3
    rendered.clear()
    for description in "acd":
        recall(description)
    assert not rendered


def test_without_a_place_to_write_to_everything_is_rendered(recall, rendered, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    recall()
    recall()
    assert len(rendered) == 2


def test_a_volume_from_the_cache_is_the_rendered_one(folder):
    camera = SimulatedCamera(width=48, height=32, fx=60.0)

    def volume(**options):
        shares = []
        made = FocalVolume(1, camera, (0.5, 3.0), margin=8, views=8, progress=shares.append, **options)
        return made, shares

    plain, _ = volume()
    assert not folder.exists()
    first, rendering = volume(cache=True)
    again, reading = volume(cache=True)
    assert len(rendering) == 9 and reading == [1.0]
    for other in (first, again):
        np.testing.assert_array_equal(np.stack(other.slices), np.stack(plain.slices))
        np.testing.assert_array_equal(other.rest_depth, plain.rest_depth)
    assert "scene" not in vars(again)  # not drawn before it is used
    assert again.scene.name == plain.scene.name
