"""Photographs of one stack: one orientation, one range of 16-bit pixels, one view."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

import motion_renders as renders
from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.io.photographs import read_photograph
from fossa_ros.io.stack_files import load_stack
from fossa_ros.motion.alignment import align_stack
from fossa_ros.motion.one_view import check_one_view

PHONES = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "real_stacks"
TABLE, CARDS = 1, 2
NAMES = ("near.jpg", "middle.jpg", "far.jpg", "wall.jpg")


@pytest.fixture(scope="module")
def table():
    """Return four planes, moved as by a hand."""
    held = [renders.turn(9.0, direction=0.3, roll=0.006) @ renders.zoomed(0.98), np.eye(3)]
    held += [renders.turn(7.0, direction=2.0, roll=-0.004), renders.turn(11.0, direction=4.0) @ renders.zoomed(1.02)]
    return renders.sweep(TABLE, np.random.default_rng(0), held)


def folder_of(folder, images, suffix=".png", orientations=None, **keys):
    """Write images, one file each, and their stack.json."""
    folder.mkdir()
    for index, image in enumerate(images):
        tags = Image.Exif()
        if orientations:
            tags[0x0112] = orientations[index]
        file = folder / f"IMG_{index}{suffix}"
        if image.dtype == np.uint16:
            assert cv2.imwrite(str(file), image if image.ndim == 2 else image[..., ::-1])
        else:
            Image.fromarray(image).save(file, exif=tags)
    frames = [
        {"file": f"IMG_{index}{suffix}", "focus_distance_m": distance}
        for index, distance in enumerate(renders.FOCUS[: len(images)])
    ]
    (folder / "stack.json").write_text(json.dumps({"frames": frames} | keys))
    return folder


def with_plane(stack, index, image):
    images = [plane.image for plane in stack.planes]
    images[index] = np.ascontiguousarray(image)
    return stack.with_images(images)


# --------------------------------------------------------------------------------------------------- one orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_what_pillow_makes_of_it(tmp_path, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(
        tmp_path / "a.png", exif=tags
    )
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(read_photograph(tmp_path / "a.png").image, ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_photograph(tmp_path / "a.png", upright=False).image, image)


@pytest.mark.parametrize(("reference", "turns"), [(None, 0), (1, -1)])
def test_the_orientation_of_the_reference_is_that_of_the_stack(table, tmp_path, reference, turns):
    images = [plane.image for plane in table.planes]
    stored = load_stack(folder_of(tmp_path / "a", images, orientations=(3, 6, 1, 8), reference=reference)).stack
    for plane, image in zip(stored.planes, images, strict=True):
        np.testing.assert_array_equal(plane.image, np.rot90(image, turns))
    check_one_view(stored)


def test_a_photograph_of_another_size_is_refused_by_its_name(tmp_path):
    images = [np.zeros((40, 60, 3), np.uint8), np.zeros((60, 40, 3), np.uint8), np.zeros((40, 60, 3), np.uint8)]
    with pytest.raises(InputError, match=r"IMG_0\.png is 60x40, but IMG_1\.png is 40x60; turn or resize it"):
        load_stack(folder_of(tmp_path / "a", images))


# ---------------------------------------------------------------------------------------------------------- one view


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: image[::-1, ::-1], "is turned by 180 degrees"),
        (lambda image: image[:, ::-1], "is mirrored"),
        (lambda image: image[::-1], "is mirrored"),
        (lambda image: renders.sweep(CARDS, np.random.default_rng(1)).planes[1].image, "shows another scene"),
        (lambda image: np.full_like(image, 90), "shows another scene"),
    ],
    ids=["turned", "mirrored", "upside down", "foreign", "blank"],
)
def test_a_plane_of_another_view_is_refused_by_its_name(table, index, change, said):
    with pytest.raises(InputError) as caught:
        check_one_view(with_plane(table, index, change(table.planes[index].image)), NAMES)
    sentence = str(caught.value)
    assert sentence.startswith(f"{NAMES[index]} {said}") and sentence.count(".jpg") == 2 and sentence.endswith(".")


def test_a_quarter_turn_is_named(table):
    square = table.with_images([np.ascontiguousarray(plane.image[:, 40:280]) for plane in table.planes])
    square = FocusStack(square.planes)
    for turns in (1, 3):
        with pytest.raises(InputError, match=r"^wall\.jpg is turned by 90 degrees, compared with far\.jpg; turn it"):
            check_one_view(with_plane(square, 3, np.rot90(square.planes[3].image, turns)), NAMES)


def test_the_view_of_most_planes_is_that_of_the_stack(table):
    others = renders.sweep(CARDS, np.random.default_rng(1)).planes
    mixed = with_plane(with_plane(table, 1, others[1].image), 3, table.planes[3].image[:, ::-1])
    with pytest.raises(InputError) as caught:
        check_one_view(FocusStack((*mixed.planes, FocusPlane(table.planes[3].image, 6.0))), (*NAMES, "last.jpg"))
    assert str(caught.value) == (
        "wall.jpg is mirrored and middle.jpg shows another scene, or was taken from elsewhere, compared with "
        "near.jpg; turn them as the others are, or remove what does not belong."
    )


def test_a_stack_of_a_hundred_views_is_refused_at_once():
    rng = np.random.default_rng(5)
    blots = [cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8), (0, 0), 1.0) for _ in range(100)]
    began = time.monotonic()
    with pytest.raises(InputError, match=r"and 94 more show another scene, or were taken from elsewhere, compared"):
        check_one_view(FocusStack(tuple(FocusPlane(image, 1.0 + index) for index, image in enumerate(blots))))
    assert time.monotonic() - began < 30


def test_hand_held_planes_and_planes_without_texture_are_one_view(table):
    check_one_view(table, NAMES)
    align_stack(table, NAMES)
    rng = np.random.default_rng(3)
    planes = [np.clip(90 + 4 * rng.standard_normal((240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(3)]
    check_one_view(FocusStack(tuple(FocusPlane(image, focus) for image, focus in zip(planes, (1, 2, 3), strict=True))))


@pytest.mark.parametrize("align", [[], ["--align"], ["--no-align"]], ids=["default", "align", "no-align"])
def test_predict_refuses_a_turned_photograph_and_writes_nothing(table, tmp_path, align):
    images = [plane.image for plane in table.planes]
    images[1] = np.ascontiguousarray(images[1][::-1, ::-1])
    folder = folder_of(tmp_path / "a", images)
    result = CliRunner().invoke(main, ["predict", str(folder), "--out", str(tmp_path / "out"), *align])
    assert result.exit_code == 1 and result.stderr.startswith("fossa: IMG_1.png is turned by 180 degrees")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("name", ["desk", "room"])
def test_phone_photographs_are_one_view_and_a_changed_one_is_not(name, width):
    if not (PHONES / name).is_dir():
        pytest.skip(f"real_stacks/{name} is not in {PHONES}")
    from fossa_ros.core.resampling import shrink_stack

    source = load_stack(PHONES / name)
    stack = shrink_stack(source.stack, width)
    check_one_view(stack)
    for index in range(len(stack)):
        for turn, said in ((np.s_[::-1, ::-1], "turned by 180 degrees"), (np.s_[:, ::-1], "mirrored")):
            with pytest.raises(InputError, match=f"^{source.names[index]} is {said}"):
                check_one_view(with_plane(stack, index, stack.planes[index].image[turn]), source.names)


# ----------------------------------------------------------------------------------------------- 16 bits a channel


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("colour", [True, False], ids=["RGB", "grey"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_photographs_of_16_bits_are_scaled_by_the_bits_that_their_stack_uses(tmp_path, bits, colour, suffix):
    rng = np.random.default_rng(bits)
    images = [rng.integers(0, 200, (40, 60, 3) if colour else (40, 60)).astype(np.uint8) for _ in range(3)]
    images[2][5, 7] = 255  # only the last plane uses the whole range
    deep = [np.rint(image / 255 * (2**bits - 1)).astype(np.uint16) for image in images]
    found = load_stack(folder_of(tmp_path / "a", deep, suffix))
    assert found.bits == bits
    for plane, image in zip(found.stack.planes, images, strict=True):
        np.testing.assert_array_equal(plane.image, image if colour else np.repeat(image[..., None], 3, axis=2))


def test_the_range_of_photographs_can_be_given_and_is_refused_where_it_is_too_small(tmp_path):
    images = [np.full((40, 60), value, np.uint16) for value in (0, 400, 1023)]
    folder = folder_of(tmp_path / "a", images)
    given = load_stack(folder, bits=12)
    assert given.bits == 12 and [plane.image[0, 0, 1] for plane in given.stack.planes] == [0, 25, 64]
    with pytest.raises(InputError, match=r"IMG_2\.png has values up to 1023, .* to 10, or leave it out"):
        load_stack(folder, bits=9)
    shallow = folder_of(tmp_path / "b", [image.astype(np.uint8) for image in images])
    with pytest.raises(InputError, match=r"--bits is for images of 16 bits a channel, but IMG_1\.png has 8"):
        load_stack(shallow, bits=12)


def test_sixteen_bits_are_never_cut_down_without_a_word(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 1023, np.uint16))
    with pytest.raises(InputError, match=r"a\.png has 16 bits a channel; save it as 8-bit RGB"):
        read_photograph(tmp_path / "a.png")
    deep = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(deep[: len(deep) // 2])
    with pytest.raises(InputError, match=r"b\.png cannot be decoded as an image of 16 bits, or is cut short"):
        read_photograph(tmp_path / "b.png")
    pages = [Image.new("L", (60, 40), value) for value in (10, 20)]
    pages[0].save(tmp_path / "c.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match=r"c\.tif has 2 pages; save each image"):
        read_photograph(tmp_path / "c.tif")


def test_predict_says_which_range_it_used(table, tmp_path):
    folder = folder_of(tmp_path / "a", [np.uint16(4) * plane.image for plane in table.planes])
    result = CliRunner().invoke(main, ["predict", str(folder), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.stderr
    assert "16 bits a channel, of which 10 are used; give --bits" in " ".join(result.stdout.split())
