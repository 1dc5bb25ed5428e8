"""Stacks made of sharp images with depth: their blur is that of the lens they state, and they can be trained on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.srgb import srgb_decode
from fossa_ros.estimators.evidence import stack_evidence
from fossa_ros.training import refocused
from fossa_ros.training.evidence_cache import EvidenceCache, encoded, fill_cache
from fossa_ros.training.evidence_config import EvidenceTraining
from fossa_ros.training.evidence_sources import RefocusedImage, find_sources
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.refocused import BLUR, CENTRAL, PLANES, WIDEST, SharpScene
from fossa_ros.training.rgbd import RgbdFrame, RgbdFrames
from test_evidence_training import CONFIG, ROOMS

FOCAL_LENGTH = 0.9  # image widths


def frame(gray: np.ndarray, depth) -> RgbdFrame:
    colour = np.repeat(gray[..., None].astype(np.uint8), 3, axis=2)
    return RgbdFrame(colour, np.broadcast_to(np.float32(depth), gray.shape).copy(), FOCAL_LENGTH)


def two_cards() -> RgbdFrame:
    """Return a texture that is alike at all scales: dark at 0.8 m on the left, bright at 2 m on the right."""
    frequency = np.hypot(np.fft.fftfreq(180)[:, None], np.fft.rfftfreq(240))
    spectrum = np.fft.rfft2(np.random.default_rng(1).normal(size=(180, 240))) / np.maximum(frequency, 0.02)
    texture = np.fft.irfft2(spectrum, s=(180, 240))
    left = np.arange(240) < 120
    return frame((np.where(left, 80, 170) + 25 * texture / texture.std()).clip(0, 255), np.where(left, 0.8, 2.0))


def radii(stack, depth: float) -> np.ndarray:
    pitch = optics.pixel_size(stack.focal_length, stack.K[0, 0])
    return optics.blur_radius(depth, stack.focus_distances, stack.focal_length, stack.f_number, pitch)


def test_an_edge_is_as_blurred_as_the_lens_of_the_stack_says(monkeypatch):
    for share in ("SOFT", "TEXTURED", "ENLARGED"):
        monkeypatch.setattr(refocused, share, 0.0)
    monkeypatch.setattr(refocused, "NOISE", (0.01, 0.02))
    scene = SharpScene(frame(np.where(np.arange(200) < 100, 30, 200) * np.ones((150, 1)), 1.5))
    measured, expected = [], []
    for seed in range(40):
        stack = scene.stack(RandomSource(seed))
        assert stack.K[0, 0] == pytest.approx(FOCAL_LENGTH * 200)
        for plane, radius in zip(stack.planes, radii(stack, 1.5), strict=True):
            if not 1.5 < radius < 8:
                continue
            light = srgb_decode(plane.image[..., 0] / 255.0).mean(axis=0)
            slope = np.diff(light)[84:115] / (light[115] - light[84])
            x = np.arange(len(slope)) - 15.0
            measured.append(np.sqrt(np.sum(slope * x**2) - np.sum(slope * x) ** 2))
            expected.append(radius / 2)  # of a disc as of the Gaussian of the family
    assert len(measured) > 30
    ratio = np.array(measured) / expected
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(ratio - 1) < 0.06) > 0.85  # rounding to 8 bits adds to the others


def test_depth_is_found_again_where_there_is_texture(monkeypatch):
    monkeypatch.setattr(refocused, "TEXTURED", 0.0)  # that of the cards is alike at all scales
    scene = SharpScene(two_cards())
    errors = []
    for seed in range(40):
        stack = scene.stack(RandomSource(3, seed))
        if not 2.5 <= radii(stack, 0.8).max() < 8:  # more reaches from the edge into what is measured
            continue
        evidence = stack_evidence(stack, 32, 640)
        depth = 1 / evidence.surfaces.power
        errors.append(np.abs(depth / scene.depth[::2, ::2] - 1)[:, np.r_[5:50, 70:115]].mean())
    assert len(errors) >= 5 and np.median(errors) < 0.02 and max(errors) < 0.06


def test_some_stacks_of_a_bare_wall_have_texture_and_some_were_enlarged(monkeypatch):
    monkeypatch.setattr(refocused, "SOFT", 0.0)
    monkeypatch.setattr(refocused, "NOISE", (0.01, 0.02))
    scene = SharpScene(frame(np.full((120, 160), 120.0), 1.5))
    stacks = [scene.stack(RandomSource(5, seed)) for seed in range(60)]
    deviation = np.array([max(plane.image.std() for plane in stack.planes) for stack in stacks])
    assert set(deviation[deviation < 0.5].round(2)) == {0.0} and 0.15 < np.mean(deviation > 1) < 0.45
    # Noise of an enlarged image is correlated from pixel to pixel.
    monkeypatch.setattr(refocused, "TEXTURED", 0.0)
    monkeypatch.setattr(refocused, "NOISE", (3.0, 3.1))
    alike = []
    for seed in range(60):
        noise = scene.stack(RandomSource(5, seed)).planes[0].image[..., 0].astype(float)
        noise -= noise.mean()
        if noise.std() > 1:
            alike.append(np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var())
    assert len(alike) > 20 and 0.2 < np.mean(np.array(alike) > 0.2) < 0.6 and min(alike) < 0.05


def test_stacks_of_an_image_differ_in_lens_and_planes_and_are_the_same_again():
    scene = SharpScene(two_cards())
    counts, blur = set(), []
    for seed in range(30):
        stack, again = (scene.stack(RandomSource(seed)) for _ in range(2))
        np.testing.assert_array_equal(stack.images(), again.images())
        assert stack.f_number == again.f_number and stack.images().shape[1:] == (180, 240, 3)
        counts.add(len(stack.planes))
        blur.append(max(radii(stack, 0.8).max(), radii(stack, 2.0).max()))
    assert len(counts) >= 4 and counts <= set(PLANES)
    assert CENTRAL[0] > 0 and 0.9 * BLUR[0] < min(blur) < 0.6 and 3 < max(blur) < 1.1 * BLUR[1]


def test_a_large_image_is_reduced_and_what_is_unknown_stays_unknown():
    depth = np.full((480, 640), 3.0, np.float32)
    depth[:100] = np.nan
    scene = SharpScene(frame(np.full((480, 640), 100.0), depth))
    assert scene.depth.shape == (240, WIDEST) and np.isnan(scene.depth[:50]).all() and (scene.depth[50:] == 3).all()
    stack = scene.stack(RandomSource(0))
    assert stack.K[0, 0] == pytest.approx(FOCAL_LENGTH * WIDEST)
    nothing = SharpScene(frame(np.full((60, 80), 100.0), np.nan))
    assert len(nothing.stack(RandomSource(0)).planes) >= 3


def write_room(folder, name: str, image: np.ndarray, depth: np.ndarray, fx: float) -> None:
    cv2.imwrite(str(folder / f"{name}.png"), image)
    np.savez(folder / f"{name}.npz", depth=depth, K=np.diag([fx, fx, 1.0]))


@pytest.fixture
def rooms(tmp_path):
    cards = two_cards()
    for name in ("room_0000_0", "room_0000_1"):
        write_room(tmp_path, name, cards.colour, cards.depth, FOCAL_LENGTH * 240)
    return tmp_path


def test_sharp_rooms_are_read_as_they_were_written(rooms):
    (rooms / "lonely.png").write_bytes(b"")
    frames = RgbdFrames("rooms", rooms)
    assert len(frames) == 2
    found, cards = frames[1], two_cards()
    np.testing.assert_array_equal(found.colour, cards.colour)
    np.testing.assert_array_equal(found.depth, cards.depth)
    assert found.focal_length == pytest.approx(FOCAL_LENGTH)
    np.savez(rooms / "room_0000_0.npz", depth=cards.depth[0], K=np.eye(3))
    with pytest.raises(InputError, match="render it again"):
        frames[0]


def test_sharp_images_are_trained_on_beside_rendered_stacks(rooms, tmp_path_factory):
    config = replace(CONFIG, rgbd={"rooms": str(rooms)}, refocused=3)
    sources = find_sources(ROOMS, config)
    assert [source.name for source in sources[:2]] == ["rooms_00000", "rooms_00001"]
    assert [source.name for source in sources[2:]] == ["breakfast", "living_room", "workbench"]
    folder = tmp_path_factory.mktemp("evidence")
    assert list(fill_cache(folder, config, sources[:2], 1)) == [0, 1, 2]
    cache = EvidenceCache(folder, ["rooms_00000", "rooms_00001"], 10.0)
    inputs, truth, scale, _ = cache.draw(RandomSource(0), 4)
    assert inputs.total.shape[0] == 4 and scale.shape == (4, 2)
    power = scale[:, :1, None] + scale[:, 1:, None] * truth
    assert sorted({round(1 / float(value), 3) for value in power.flatten() if value.isfinite()}) == [0.8, 2.0]
    # What a worker wrote is what is computed here: a function of seed and name.
    stacks, depth = sources[0].stacks(config)
    assert len(stacks) == 3
    here = encoded(stack_evidence(stacks[0], config.network.levels, 640), depth)
    np.testing.assert_array_equal(np.load(folder / "rooms_00000.guides.npy")[0], here["guides"])
    others, _ = RefocusedImage(sources[0].frames, 1).stacks(config)
    assert others[0].f_number != stacks[0].f_number


def test_the_number_of_refocused_stacks_is_checked():
    with pytest.raises(InputError, match="refocused"):
        EvidenceTraining(refocused=0)
