"""Stacks on disk: what is written is read back, and whatever is wrong is one sentence."""

from __future__ import annotations

import io
import json
import math
import struct
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.io.stack_files import load_stack, save_folder, save_npz

K = np.array([[70.0, 0.0, 30.0], [0.0, 71.0, 22.0], [0.0, 0.0, 1.0]])
PHONES = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "real_stacks"


def make_stack(**known):
    images = np.random.default_rng(3).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    planes = tuple(FocusPlane(image, s) for image, s in zip(images, (0.3, 0.8, math.inf), strict=True))
    return FocusStack(planes, **known)


FULL = make_stack(K=K, f_number=1.8, focal_length=0.0068, reference=2)


def arrays(**changed):
    """Return the arrays of a good file with some changed; None removes one."""
    good = {"stack": FULL.images(), "focus": np.array([0.3, 0.8, 2.0]), "K": K, "f_number": 1.8}
    return {name: value for name, value in (good | changed).items() if value is not None}


def write_npz(path, **changed):
    np.savez(path, **arrays(**changed))
    return path


def write_folder(folder, **changed):
    """Write a good folder of three photographs with some keys of stack.json changed."""
    save_folder(folder, replace(FULL, K=None, reference=None))
    file = folder / "stack.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return folder


def frames(**of_the_second):
    listed = [{"file": f"plane_{i:03}.png", "focus_distance_m": s} for i, s in enumerate((0.3, 0.8, 2.0))]
    listed[1] |= of_the_second
    return listed


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        load_stack(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and path.name in sentence
    return sentence


@pytest.mark.parametrize("save, name", [(save_npz, "a.npz"), (save_folder, "a")])
@pytest.mark.parametrize("stack", [FULL, make_stack()], ids=["all known", "bare"])
def test_what_is_saved_is_loaded(tmp_path, save, name, stack):
    truth = np.random.default_rng(0).uniform(0.2, 5, (48, 64)).astype(np.float32)
    truth[:3] = np.nan
    save(tmp_path / name, stack, truth if stack is FULL else None)
    found = load_stack(tmp_path / name)
    np.testing.assert_array_equal(found.stack.images(), stack.images())
    np.testing.assert_array_equal(found.stack.focus_distances, stack.focus_distances)
    assert found.stack.reference == stack.reference and found.stack.f_number == stack.f_number
    assert found.photographs is (save is save_folder)
    if stack is FULL:
        np.testing.assert_array_equal(found.stack.K, K)
        assert found.stack.focal_length == pytest.approx(0.0068, rel=1e-12)
        np.testing.assert_array_equal(found.truth, truth)
    else:
        assert found.stack.K is None and found.intrinsics_from is None and found.truth is None
        assert found.stack.focal_length is None
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("save", [save_npz, save_folder])
@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "equidistant"])
def test_the_distortion_of_raw_images_is_kept(tmp_path, save, model):
    count = {"plumb_bob": 5, "rational_polynomial": 14, "equidistant": 4}[model]
    view = K * [[0.9, 1, 1], [1, 0.9, 1], [1, 1, 1]]
    given = Rectification(view, model, tuple(np.linspace(0.01, 0.02, count)))
    save(tmp_path / "a.npz", replace(FULL, rectification=given))
    assert load_stack(tmp_path / "a.npz").stack.rectification == given
    wide = load_stack(tmp_path / "a.npz", fx=80).stack
    assert wide.rectification.P[0, 0] == wide.K[0, 0] == 80 and wide.rectification.coefficients == given.coefficients


def test_the_model_of_a_distortion_follows_from_its_length(tmp_path):
    for count, model in ((4, "plumb_bob"), (5, "plumb_bob"), (8, "rational_polynomial"), (12, "rational_polynomial")):
        given = load_stack(write_npz(tmp_path / "a.npz", distortion=np.full(count, 0.01))).stack.rectification
        assert (given.model, len(given.coefficients)) == (model, count) and np.array_equal(given.P, K)
    folder = write_folder(tmp_path / "b", K=K.tolist(), distortion=[0.1, 0, 0, 0], P=np.eye(3, 4).tolist())
    assert "P has the focal length 1 px" in refusal(folder)
    folder = write_folder(tmp_path / "c", K=K.tolist(), P=[[1, 2], [3, 4], [5, 6]])
    assert "P must be three rows of three or four numbers" in refusal(folder)
    assert load_stack(write_npz(tmp_path / "a.npz", distortion=np.zeros(5))).stack.rectification is None


def test_stack_json_itself_may_be_named(tmp_path):
    assert len(load_stack(write_folder(tmp_path / "a") / "stack.json").stack) == 3


def test_truth_that_is_no_depth_is_unknown(tmp_path):
    depth = np.full((48, 64), 2.0)
    depth[0, :4] = 0.0, -1.0, np.inf, np.nan
    truth = load_stack(write_npz(tmp_path / "a.npz", depth=depth)).truth
    assert truth.dtype == np.float32 and np.isnan(truth[0, :4]).all() and (truth[0, 4:] == 2.0).all()


def test_truth_in_millimetres_is_refused(tmp_path):
    depth = np.full((48, 64), 2000.0)
    with pytest.raises(InputError, match=r"a\.npz has a median of 2000 m.*millimetres; give metres"):
        load_stack(write_npz(tmp_path / "a.npz", depth=depth))
    folder = write_folder(tmp_path / "b", ground_truth="depth.npy")
    np.save(folder / "depth.npy", depth)
    with pytest.raises(InputError, match=r"depth\.npy has a median of 2000 m.*millimetres; give metres"):
        load_stack(folder)


def test_fx_replaces_even_a_senseless_K(tmp_path):
    zero = np.zeros((3, 3))
    for path in (write_npz(tmp_path / "a.npz", K=zero), write_folder(tmp_path / "a", K=zero.tolist())):
        assert "calibrate" in refusal(path)
        found = load_stack(path, fx=50.0)
        np.testing.assert_array_equal(found.stack.K, [[50, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])
        assert found.intrinsics_from == "--fx"


def test_column_major_stacks_are_the_same(tmp_path):
    found = load_stack(write_npz(tmp_path / "a.npz", stack=np.asfortranarray(FULL.images())))
    np.testing.assert_array_equal(found.stack.images(), FULL.images())


def photograph_folder(folder, exif=None, size=(64, 48), orientation=None):
    """Write a folder of JPEG photographs whose EXIF block has the given tags."""
    folder.mkdir()
    tags = Image.Exif()
    tags[0x8769] = exif or {}
    if orientation:
        tags[0x0112] = orientation
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg", exif=tags)
    listed = [{"file": f"{index}.jpg", "focus_distance_m": 1.0 + index} for index in range(3)]
    (folder / "stack.json").write_text(json.dumps({"frames": listed}))
    return folder


def test_exif_gives_the_lens(tmp_path):
    # 40 px/mm on the sensor at 128 px width, 64 px here: 6.8 mm is 6.8 * 40 / 2 px.
    tags = {0x920A: 6.8, 0x829D: 1.85, 0xA20E: 400.0, 0xA210: 3, 0xA002: 128, 0xA003: 96, 0xA405: 25}
    found = load_stack(photograph_folder(tmp_path / "a", tags))
    assert found.stack.focal_length == pytest.approx(0.0068) and found.stack.f_number == pytest.approx(1.85)
    np.testing.assert_allclose(found.stack.K, [[136, 0, 31.5], [0, 136, 23.5], [0, 0, 1]], rtol=1e-6)
    assert found.intrinsics_from == "EXIF"


def test_equivalent_focal_length_has_the_same_diagonal_view(tmp_path):
    K = load_stack(photograph_folder(tmp_path / "a", {0x920A: 6.8, 0xA405: 25})).stack.K
    assert math.hypot(64, 48) / K[0, 0] == pytest.approx(math.hypot(36, 24) / 25, rel=1e-9)


@pytest.mark.parametrize("tags", [{}, {0x920A: 6.8}, {0x920A: 6.8, 0xA405: 0}, {0xA405: 25, 0xA002: 128, 0xA003: 48}])
def test_exif_that_does_not_say_is_not_guessed(tmp_path, tags):
    assert load_stack(photograph_folder(tmp_path / "a", tags)).stack.K is None


def test_photographs_are_turned_upright_and_K_with_them(tmp_path):
    found = load_stack(photograph_folder(tmp_path / "a", {0xA405: 25}, orientation=6)).stack
    assert found.size == (64, 48)
    with Image.open(tmp_path / "a" / "0.jpg") as image:
        np.testing.assert_array_equal(found.planes[0].image, np.rot90(np.array(image), -1))
    np.testing.assert_array_equal(found.K[:2, 2], [23.5, 31.5])


def test_description_is_believed_before_exif(tmp_path):
    folder = photograph_folder(tmp_path / "a", {0x920A: 6.8, 0x829D: 1.85, 0xA405: 25})
    content = json.loads((folder / "stack.json").read_text())
    content |= {"K": K.tolist(), "f_number": 2.0, "focal_length_mm": 5.0}
    (folder / "stack.json").write_text(json.dumps(content))
    found = load_stack(folder)
    assert (found.stack.f_number, found.stack.focal_length) == (2.0, 0.005)
    assert found.intrinsics_from == "stack.json"
    np.testing.assert_array_equal(found.stack.K, K)


def test_grey_and_transparent_images_are_read(tmp_path):
    folder = write_folder(tmp_path / "a")
    grey = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    Image.fromarray(grey).save(folder / "plane_000.png")
    Image.fromarray(np.dstack([FULL.planes[1].image, grey])).save(folder / "plane_001.png")
    stack = load_stack(folder).stack
    np.testing.assert_array_equal(stack.planes[0].image, np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(stack.planes[1].image, FULL.planes[1].image)


@pytest.mark.skipif(not PHONES.is_dir(), reason="the phone stacks are not beside the repository")
def test_phone_stack_in_use():
    room = load_stack(PHONES / "room")
    assert room.stack.size == (3072, 4080) and room.stack.K is None
    np.testing.assert_array_equal(room.stack.focus_distances, [0.35, 0.5, 0.9, 1.33, 2.21])
    assert (room.stack.f_number, room.stack.focal_length) == (1.85, pytest.approx(0.00681))


# --- what is refused ----------------------------------------------------------------------------------------

UNUSABLE_ARRAYS = {
    "no stack": ({"stack": None}, "no array 'stack'"),
    "no focus": ({"focus": None}, "no array 'focus'"),
    "float images": ({"stack": FULL.images().astype(np.float32)}, "uint8 RGB"),
    "grey images": ({"stack": FULL.images()[..., 0]}, "(N, H, W, 3)"),
    "channels first": ({"stack": FULL.images().transpose(0, 3, 1, 2)}, "(N, H, W, 3)"),
    "one plane": ({"stack": FULL.images()[:1], "focus": np.array([1.0])}, "2 to 1000 planes"),
    "no planes": ({"stack": FULL.images()[:0], "focus": np.array([])}, "2 to 1000 planes"),
    "tiny images": ({"stack": FULL.images()[:, :1, :1]}, "at least 16 px"),
    "empty images": ({"stack": FULL.images()[:, :0]}, "at least 16 px"),
    "counts differ": ({"focus": np.array([0.3, 0.8])}, "one distance in metres for every plane"),
    "focus is a column": ({"focus": np.array([[0.3], [0.8], [2.0]])}, "'focus' must be of shape (3,)"),
    "focus is text": ({"focus": np.array(["a", "b", "c"])}, "'focus'"),
    "negative focus": ({"focus": np.array([0.3, -0.8, 2.0])}, "positive number of metres"),
    "zero focus": ({"focus": np.array([0.3, 0.0, 2.0])}, "positive number of metres"),
    "NaN focus": ({"focus": np.array([0.3, np.nan, 2.0])}, "positive number of metres"),
    "focus within focal length": ({"focal_length_m": 0.5}, "beyond the focal length"),
    "pickled stack": ({"stack": np.array([FULL, None], dtype=object)}, "never loaded"),
    "pickled K": ({"K": np.array({"fx": 1}, dtype=object)}, "never loaded"),
    "zero K": ({"K": np.zeros((3, 3))}, "uncalibrated"),
    "NaN K": ({"K": np.full((3, 3), np.nan)}, "K has entries that are not finite"),
    "K of 3x4": ({"K": np.zeros((3, 4))}, "'K' must be of shape (3, 3)"),
    "K of another resolution": (
        {"K": K * [[10, 1, 10], [1, 10, 10], [1, 1, 1]]},
        "K has its principal point at (300, 220), outside the middle half of the 64x48",
    ),
    "K in metres": ({"K": np.eye(3)}, "K has the focal length 1 px for images 64 px wide"),
    "distortion without K": ({"K": None, "distortion": np.ones(5)}, "distortion needs the intrinsics"),
    "distortion of three": ({"distortion": np.ones(3)}, "D (distortion) of plumb_bob has 4 or 5 coefficients, not 3"),
    "distortion in a table": ({"distortion": np.ones((2, 2))}, "'distortion' must be up to 14 numbers"),
    "unknown distortion": (
        {"distortion": np.ones(4), "distortion_model": "bent"},
        "model 'bent' is unknown",
    ),
    "P of 2x2": ({"P": np.eye(2)}, "'P' must be a 3x3 or 3x4 matrix"),
    "R that scales": ({"R": 2 * np.eye(3)}, "R must be a rotation matrix"),
    "depth of another size": ({"depth": np.ones((24, 32))}, "'depth' must be of shape (48, 64)"),
    "depth in millimetres": ({"depth": np.ones((48, 64), np.uint16)}, "floating point"),
    "negative f-number": ({"f_number": -1.8}, "f_number must be a positive number"),
    "two f-numbers": ({"f_number": np.array([1.8, 2.0])}, "a single number"),
    "NaN focal length": ({"focal_length_m": np.nan}, "focal_length must be a positive number"),
    "reference beyond": ({"reference": 3}, "not among the 3 planes"),
}


@pytest.mark.parametrize("case", UNUSABLE_ARRAYS)
def test_unusable_arrays_are_refused(tmp_path, case):
    changed, expected = UNUSABLE_ARRAYS[case]
    assert expected in refusal(write_npz(tmp_path / "a.npz", **changed))


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00"])
def test_no_npz(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert "not an .npz file" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_npz(tmp_path, compressed):
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    data = bytearray(path.read_bytes())
    for position in range(2000, 6000):
        data[position] ^= 0x55
    path.write_bytes(data)
    assert "damaged or cut short" in refusal(path)


def npy_header(shape, dtype):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue()


def npz_with_header(path, shape, dtype="|u1", data=b""):
    """Write an .npz whose array 'stack' has a header that its data does not live up to."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stack.npy", npy_header(shape, dtype) + data)
    return path


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((5, 100_000, 100_000, 3), "megapixels"),
        ((2**40, 2**40, 2**40, 3), "2 to 1000 planes"),
        ((10**9, 16, 16, 3), "2 to 1000 planes"),
        ((5, -480, 640, 3), "at least 16 px"),
        ((5, 10_000, 10_000, 3), "cut short"),
    ],
)
def test_absurd_sizes_are_refused_before_they_are_allocated(tmp_path, shape, expected):
    path = npz_with_header(tmp_path / "a.npz", shape)
    tracemalloc.start()
    sentence = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert expected in sentence and peak < 10e6


UNUSABLE_DESCRIPTIONS = {
    "no frames": ({"frames": None}, "frames must be a list, not null"),
    "frames is text": ({"frames": "a.png"}, 'frames must be a list, not "a.png"'),
    "frame is text": ({"frames": ["a.png", "b.png"]}, "frames[0] must be a mapping"),
    "one frame": ({"frames": frames()[:1]}, "2 to 1000 planes"),
    "empty": ({"frames": []}, "2 to 1000 planes"),
    "no file": ({"frames": frames(file=None)}, "frames[1].file must be text, not null"),
    "file is a number": ({"frames": frames(file=3)}, "frames[1].file must be text, not 3"),
    "missing file": ({"frames": frames(file="gone.png")}, "does not have"),
    "file is a folder": ({"frames": frames(file=".")}, "does not have"),
    "traversal": ({"frames": frames(file="../outside.png")}, "outside its folder"),
    "absolute": ({"frames": frames(file="/etc/passwd")}, "outside its folder"),
    "NUL": ({"frames": frames(file="a\0.png")}, "outside its folder"),
    "link outside": ({"frames": frames(file="link.png")}, "outside its folder"),
    "truth outside": ({"ground_truth": "../outside.png"}, "outside its folder"),
    "no distance": ({"frames": frames(focus_distance_m=None)}, "frames[1].focus_distance_m must be a finite number or"),
    "distance is text": ({"frames": frames(focus_distance_m="near")}, "focus_distance_m must be a number"),
    "distance is true": ({"frames": frames(focus_distance_m=True)}, "must be a finite number or text, not true"),
    "negative distance": ({"frames": frames(focus_distance_m=-0.8)}, "positive number of metres"),
    "NaN distance": ({"frames": frames(focus_distance_m=math.nan)}, "must be a finite number, not NaN"),
    "huge distance": ({"frames": frames(focus_distance_m=10**400)}, "must be a finite number"),
    "focus within focal length": ({"focal_length_mm": 350}, "beyond the focal length"),
    "ragged K": ({"K": [[1, 2], [3]]}, "K must be a list of 3 entries, not a list of 2"),
    "K is text": ({"K": "none"}, "K must be a list"),
    "K holds objects": ({"K": [[{}] * 3] * 3}, "K[0][0] must be a finite number"),
    "zero K": ({"K": [[0, 0, 0]] * 3}, "uncalibrated"),
    "zero f-number": ({"f_number": 0}, "f_number must be a positive number"),
    "reference between": ({"reference": 0.5}, "the number of a frame"),
    "reference beyond": ({"reference": 7}, "not among the 3 planes"),
    "truth is not an array": ({"ground_truth": "plane_000.png"}, "damaged"),
    "truth claims terabytes": ({"ground_truth": "claim.npy"}, "damaged or cut short"),
}


@pytest.mark.parametrize("case", UNUSABLE_DESCRIPTIONS)
def test_unusable_descriptions_are_refused(tmp_path, case):
    changed, expected = UNUSABLE_DESCRIPTIONS[case]
    Image.fromarray(FULL.planes[0].image).save(tmp_path / "outside.png")
    folder = write_folder(tmp_path / "a", **changed)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "claim.npy").write_bytes(npy_header((10**6, 10**6), "<f4"))
    sentence = refusal(folder)
    assert expected in sentence


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"{'frames': []}"])
def test_no_json(tmp_path, text):
    folder = write_folder(tmp_path / "a")
    (folder / "stack.json").write_bytes(text)
    assert "is not valid JSON" in refusal(folder)


def test_json_of_another_kind(tmp_path):
    folder = write_folder(tmp_path / "a")
    (folder / "stack.json").write_text("[1, 2]")
    assert "must be a JSON mapping" in refusal(folder)


def test_folder_without_description(tmp_path):
    assert "stack.json does not exist" in refusal(tmp_path)


def png_header(width, height):
    """Return a PNG that claims a size and has no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_unusable_images_are_refused(tmp_path):
    good = io.BytesIO()
    Image.fromarray(FULL.planes[1].image).save(good, "JPEG")
    deep, other = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(deep, "PNG")
    Image.fromarray(np.zeros((48, 32, 3), np.uint8)).save(other, "PNG")
    cases = {
        b"text": "not a readable JPEG, PNG or TIFF",
        b"": "not a readable JPEG, PNG or TIFF",
        good.getvalue()[: len(good.getvalue()) // 2]: "cut short",
        png_header(64, 48): "cut short",
        png_header(12_000, 12_000): "megapixels",
        png_header(60_000, 60_000): "megapixels",
        deep.getvalue(): "plane_000.png has 8 bits a channel, but plane_001.png has 16",
        other.getvalue(): "plane_000.png is 64x48, but plane_001.png is 32x48",
    }
    folder = write_folder(tmp_path / "a")
    for content, expected in cases.items():
        (folder / "plane_001.png").write_bytes(content)
        with pytest.raises(InputError) as caught:
            load_stack(folder)
        assert expected in str(caught.value), (content[:40], str(caught.value))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_anywhere_is_a_sentence(tmp_path):
    """Bytes of each kind of file are overwritten at random: it is read all the same, or refused."""
    rng = np.random.default_rng(11)
    phones = photograph_folder(tmp_path / "phones", {0x920A: 6.8, 0xA20E: 400.0, 0xA210: 3}, orientation=6)
    folder = write_folder(tmp_path / "a")
    outcomes = set()
    for target, stack, reach in (
        (write_npz(tmp_path / "a.npz"), tmp_path / "a.npz", 400),
        (phones / "1.jpg", phones, 300),
        (folder / "plane_001.png", folder, 80),
        (folder / "stack.json", folder, 10_000),
    ):
        good = np.frombuffer(target.read_bytes(), np.uint8)
        for _ in range(150):
            damaged = good.copy()
            ends = np.concatenate([damaged[:reach], damaged[-reach:]])  # headers and directories
            where = rng.integers(0, len(ends), rng.integers(1, 5))
            damaged[np.where(where < reach, where, where - len(ends)) % len(good)] = rng.integers(0, 128)
            target.write_bytes(damaged.tobytes())
            try:
                load_stack(stack)
                outcomes.add("read")
            except InputError as error:
                assert "\n" not in str(error)
                outcomes.add("refused")
        target.write_bytes(good.tobytes())
    assert outcomes == {"read", "refused"}


def test_many_large_images_are_refused_before_they_are_decoded(tmp_path):
    folder = write_folder(tmp_path / "a")
    (folder / "plane_000.png").write_bytes(png_header(9_000, 9_000))
    listed = [{"file": "plane_000.png", "focus_distance_m": 1.0}] * 13
    (folder / "stack.json").write_text(json.dumps({"frames": listed}))
    assert "1053 megapixels" in refusal(folder)


def test_lens_that_changes_between_photographs_is_refused(tmp_path):
    folder = photograph_folder(tmp_path / "a", {0x920A: 6.8})
    (photograph_folder(tmp_path / "b", {0x920A: 2.2}) / "1.jpg").replace(folder / "1.jpg")
    assert "mixes photographs of 2.2 and 6.8 mm" in refusal(folder)


def test_saving_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("kept")
    for save in (save_npz, save_folder):
        with pytest.raises(InputError, match="cannot be written"):
            save(tmp_path / "file" / "a", FULL)
    assert (tmp_path / "file").read_text() == "kept"
