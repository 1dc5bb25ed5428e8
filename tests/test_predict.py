"""fossa predict: from a stack on disk to files on disk, and what it says when that cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fossa_ros import __version__
from fossa_ros.commands.cli import COMMANDS, main
from fossa_ros.commands.predict import default_name
from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import scaled_intrinsics
from fossa_ros.core.resampling import enlarge_depth, shrink_stack
from fossa_ros.estimators import create_estimator
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.io import pictures
from fossa_ros.io.atomic import check_files, replacing, replacing_files
from fossa_ros.io.pictures import UNKNOWN, colour_depth, confidence_picture, depth_picture, depth_range
from fossa_ros.io.stack_files import save_folder, save_npz
from fossa_ros.pipeline.predict import ALWAYS, OUTPUTS, predict
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.scenes import make_scene
from fossa_ros.simulation.stack_renderer import render_stack

ALL_DEPTH = ("--min-confidence", "0")


@pytest.fixture(scope="module")
def rendered():
    """Return a simulated table top and its true depth: 0.4 to 2.7 m."""
    camera = SimulatedCamera(width=160, height=120, fx=150.0, f_number=1.0)
    return render_stack(make_scene(1, "table"), camera, [0.4, 0.6, 0.9, 1.5, 4.0], rng=1, views=24)


@pytest.fixture
def stack_file(rendered, tmp_path):
    save_npz(tmp_path / "table.npz", *rendered)
    return tmp_path / "table.npz"


def fossa(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refusal(*arguments, status=1):
    result = fossa(*arguments)
    assert result.exit_code == status, result.output
    assert result.stdout == "" and result.stderr.startswith("fossa: ") and result.stderr.count("\n") == 1
    return result.stderr


# ------------------------------------------------------------------------------------------------- what is written


def test_raw_images_give_the_depth_of_their_rectified_view(rendered, tmp_path):
    # The images have no distortion: taken for raw ones with distortion, they must be warped as OpenCV warps images.
    stack, _ = rendered
    view = stack.K * [[0.9, 1, 1], [1, 0.9, 1], [1, 1, 1]]
    raw = replace(stack, rectification=Rectification(tuple(view.ravel()), "plumb_bob", (-0.3, 0.1, 0.0, 0.0)))
    for max_size in (0, 80):
        unrectified = ClassicalEstimator().estimate(shrink_stack(raw, max_size)).depth
        found = predict(raw, ClassicalEstimator(), align=False, max_size=max_size)
        assert found.depth_map.K[0, 0] == pytest.approx(135 if max_size == 0 else 67.5)
        x, y = cv2.initUndistortRectifyMap(
            stack.K, np.array([-0.3, 0.1, 0, 0]), None, view, stack.size[::-1], cv2.CV_32F
        )
        expected = cv2.remap(enlarge_depth(unrectified, raw.size), x, y, cv2.INTER_NEAREST, borderValue=np.nan)
        seen = (x > -0.5) & (x < 159.5) & (y > -0.5) & (y < 119.5)
        assert np.isnan(found.depth[~seen]).all() or max_size  # a pixel of half the size covers the border too
        assert np.nanmedian(np.abs(found.depth / expected - 1)) < 1e-3
    save_npz(tmp_path / "raw.npz", raw)
    result = fossa("predict", tmp_path / "raw.npz", "--out", tmp_path / "out", "--estimator", "classical")
    assert "plumb_bob -0.3 0.1 0 0; the depth is that of the rectified view, fx 135.0 px" in " ".join(
        result.output.split()
    )
    assert (tmp_path / "out" / "cloud.ply").stat().st_size > 100_000


def test_doubtful_and_distant_depth_is_unknown(rendered, stack_file, tmp_path):
    expected = ClassicalEstimator().estimate(rendered[0])
    classical = ("--out", tmp_path / "out", "--estimator", "classical")
    assert fossa("predict", stack_file, *classical).exit_code == 0
    known = np.isfinite(np.load(tmp_path / "out" / "depth.npy"))
    np.testing.assert_array_equal(known, expected.confidence >= 0.5)
    limits = ("--min-confidence", "0.9", "--min-range", "0.5", "--max-range", "2")
    assert fossa("predict", stack_file, *classical, *limits).exit_code == 0
    inside = (expected.confidence >= 0.9) & (expected.depth >= 0.5) & (expected.depth <= 2)
    assert 0.05 < inside.mean() < known.mean()
    np.testing.assert_array_equal(np.isfinite(np.load(tmp_path / "out" / "depth.npy")), inside)


def test_a_summary_without_depth_says_why(stack_file, tmp_path):
    result = fossa("predict", stack_file, "--out", tmp_path / "out", "--min-range", 900)
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0 and "coverage 0.0 % of the image" in said
    assert (
        "none is as certain as --min-confidence 0.5 asks" in said and "--min-confidence 0 shows what there is" in said
    )


def test_all_outputs(rendered, stack_file, tmp_path):
    stack, truth = rendered
    result = fossa("predict", stack_file, "--out", tmp_path / "out", "--device", "cpu", *ALL_DEPTH)
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(OUTPUTS)
    expected = create_estimator("lens_aware", device="cpu").estimate(stack)
    depth = np.load(tmp_path / "out" / "depth.npy")
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, expected.depth)
    assert np.nanmedian(np.abs(depth - truth) / truth) < 0.1
    with Image.open(tmp_path / "out" / "all_in_focus.png") as image:
        np.testing.assert_array_equal(np.array(image), expected.all_in_focus)
    with Image.open(tmp_path / "out" / "confidence.png") as image:
        np.testing.assert_array_equal(np.array(image), confidence_picture(expected.confidence))
    with Image.open(tmp_path / "out" / "depth.png") as image:
        np.testing.assert_array_equal(np.array(image), depth_picture(expected.depth))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    error = np.abs(depth - truth) / truth
    assert metrics["coverage"] == 1.0 and metrics["abs_rel"] == pytest.approx(error.mean(), rel=1e-5)
    assert f"AbsRel {metrics['abs_rel']:.4f}" in result.stdout
    header = (tmp_path / "out" / "cloud.ply").read_bytes()[:200]
    assert b"element vertex %d\n" % np.isfinite(depth).sum() in header
    assert "none; the planes are assumed to be registered" in result.stdout
    for said in ("5 of 160x120", "0.4, 0.6, 0.9, 1.5, 4 m", "lens_aware on cpu", "at 160x120", "coverage"):
        assert said in result.stdout


def test_without_intrinsics_the_cloud_is_left_out_and_that_is_said(rendered, tmp_path):
    save_folder(tmp_path / "photos", shrink_stack(rendered[0], 0))
    description = tmp_path / "photos" / "stack.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"K": None}))
    out = tmp_path / "out"
    result = fossa("predict", tmp_path / "photos", "--out", out, "--fx", 150)
    assert result.exit_code == 0 and (out / "cloud.ply").exists() and "from --fx" in result.stdout
    (out / "notes.txt").write_text("mine")
    result = fossa("predict", tmp_path / "photos", "--out", out)
    assert result.exit_code == 0 and "cloud.ply is not written" in result.stdout and "--fx" in result.stdout
    # The cloud of the run before is not of this depth; files of other programs stay.
    assert sorted(p.name for p in out.iterdir()) == sorted({*OUTPUTS, "notes.txt"} - {"cloud.ply", "metrics.json"})


def test_photographs_are_aligned_and_what_a_plane_misses_is_unknown(rendered, tmp_path):
    stack, truth = rendered
    offsets = [(4, 0), (2, 3), (3, 4), (0, 6), (1, 8)]  # rows and columns by which each frame missed the view
    shifted = stack.with_images(
        [plane.image[y : y + 112, x : x + 144] for plane, (y, x) in zip(stack.planes, offsets, strict=True)]
    )
    save_folder(tmp_path / "photos", shifted)
    result = fossa("predict", tmp_path / "photos", "--out", tmp_path / "out", *ALL_DEPTH)
    assert result.exit_code == 0, result.stderr
    assert "by up to" in result.stdout and "none:" not in result.stdout
    depth, truth = np.load(tmp_path / "out" / "depth.npy"), truth[3 : 3 + 112, 4 : 4 + 144]
    seen = np.s_[3:-4, 4:-5]  # by every plane, with the pixel that registration may be off
    assert np.isfinite(depth[seen]).all() and np.nanmedian(np.abs(depth - truth)[seen] / truth[seen]) < 0.1
    for unseen in (depth[0], depth[-2:], depth[:, :2], depth[:, -3:]):
        assert np.isnan(unseen).all()
    with Image.open(tmp_path / "out" / "all_in_focus.png") as image:
        np.testing.assert_array_equal(np.array(image)[:, 0], shifted.planes[2].image[:, 0])
    result = fossa("predict", tmp_path / "photos", "--out", tmp_path / "out", "--no-align", *ALL_DEPTH)
    assert "none; the planes are assumed to be registered" in result.stdout
    assert np.isfinite(np.load(tmp_path / "out" / "depth.npy")).all()


def test_errors_without_any_true_depth_are_null(rendered, tmp_path):
    save_npz(tmp_path / "a.npz", rendered[0], np.full((120, 160), np.nan))
    assert fossa("predict", tmp_path / "a.npz", "--out", tmp_path / "out").exit_code == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert set(metrics.values()) == {None}


def test_depth_has_the_input_size_whatever_the_working_size(stack_file, tmp_path):
    result = fossa("predict", stack_file, "--out", tmp_path / "out", "--max-size", 80)
    assert result.exit_code == 0 and "lens_aware on" in result.stdout and "at 80x60" in result.stdout
    assert np.load(tmp_path / "out" / "depth.npy").shape == (120, 160)
    with Image.open(tmp_path / "out" / "all_in_focus.png") as image:
        assert image.size == (80, 60)


def test_default_output_folder_is_named_after_the_stack(stack_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fossa("predict", stack_file).exit_code == 0
    assert (tmp_path / "table-depth" / "depth.npy").exists()


# ------------------------------------------------------------------------------------------------ what is refused


def test_refusals_are_one_sentence_and_leave_nothing(stack_file, tmp_path):
    (tmp_path / "text.npz").write_text("no npz")
    (tmp_path / "file").write_text("")
    out = tmp_path / "out"
    assert "does not exist" in refusal("predict", tmp_path / "none.npz", "--out", out)
    assert "not an .npz file" in refusal("predict", tmp_path / "text.npz", "--out", out)
    assert "no estimator 'magic'" in refusal("predict", stack_file, "--estimator", "magic", "--out", out)
    assert "is a file" in refusal("predict", stack_file, "--out", tmp_path / "file")
    assert "is a file" in refusal("predict", stack_file, "--out", tmp_path / "file" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "table.npz", "text.npz"]


@pytest.mark.parametrize("name", ["depth.npy", "stack.json"])
def test_a_prediction_replaces_no_part_of_its_stack(rendered, tmp_path, name):
    folder = tmp_path / "photos"
    save_folder(folder, *rendered)
    assert (folder / "depth.npy").is_file()  # the truth
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    said = refusal("predict", folder if name == "depth.npy" else folder / name, "--out", folder)
    assert "depth.npy is part of the stack and would be replaced" in said
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["cloud.ply", "metrics.json", "depth.png"])
def test_a_file_that_is_of_no_prediction_is_neither_replaced_nor_removed(stack_file, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    assert f"{name} is of no earlier prediction and would be replaced" in refusal("predict", stack_file, "--out", out)
    assert (out / name).read_text() == "mine" and len(list(out.iterdir())) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.npz", "--fx", "-1"],
        ["a.npz", "--max-size", "-5"],
        ["a.npz", "--magic"],
        ["a.npz", "--model", "vits"],
        ["a.npz", "--estimator", "classical", "--device", "cpu"],
        ["a.npz", "--estimator", "auto", "--device", "cpu"],
    ],
)
def test_wrong_usage_is_status_2(arguments):
    result = fossa("predict", *arguments)
    assert result.exit_code == 2 and "Usage:" in result.stderr


def test_debug_shows_the_traceback(tmp_path):
    assert isinstance(fossa("--debug", "predict", tmp_path / "none.npz").exception, InputError)


def test_the_default_output_of_a_folder_has_its_whole_name(tmp_path):
    (tmp_path / "run.1").mkdir()
    for stack, name in ((tmp_path / "run.1", "run.1"), (tmp_path / "run.1" / "stack.json", "run.1")):
        assert default_name(stack) == name
    assert default_name(tmp_path / "table.2.npz") == "table.2"


def test_ctrl_c_leaves_the_earlier_outputs_alone(stack_file, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr("fossa_ros.pipeline.predict.write_ply", interrupted)  # when the pictures are made already
    assert refusal("predict", stack_file, "--out", out, status=130) == "fossa: interrupted.\n"
    assert not out.exists()
    out.mkdir()
    for name in ALWAYS:
        (out / name).write_text("earlier")
    refusal("predict", stack_file, "--out", out, status=130)
    assert {p.name: p.read_text() for p in out.iterdir()} == dict.fromkeys(ALWAYS, "earlier")


def test_a_device_or_a_pipe_is_never_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for check in (lambda: replacing(pipe).__enter__(), lambda: check_files([pipe])):
        with pytest.raises(InputError, match=r"pipe cannot be replaced: it is a device or a pipe"):
            check()
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_folders_among_the_outputs_replace_whole_folders(tmp_path):
    for name, text in (("bag/old.mcap", "old"), ("other/kept.txt", "kept")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    with replacing_files(tmp_path, outdated=["gone.json"]) as partial:
        (partial / "bag").mkdir()
        (partial / "bag" / "new.mcap").write_text("new")
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert found == ["bag", "bag/new.mcap", "other", "other/kept.txt"]


def test_a_file_makes_its_folder_and_takes_it_back_when_it_fails(tmp_path):
    path = tmp_path / "new" / "folder" / "out.txt"
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with replacing(path) as partial:
        partial.write_text("whole")
    assert [p.name for p in path.parent.iterdir()] == ["out.txt"] and path.read_text() == "whole"
    below = path / "out.txt"
    refused = r"out.txt cannot be written \(not a directory\); give another path"
    with pytest.raises(InputError, match=refused), replacing(below) as partial:
        partial.write_text("below a file")


def test_full_disk_is_a_sentence(tmp_path):
    with (
        pytest.raises(InputError, match=r"cannot be written \(no space left on device\)"),
        replacing_files(tmp_path / "new" / "out") as partial,
    ):
        (partial / "depth.npy").write_text("new")
        Path("/dev/full").write_text("too much")
    assert not list(tmp_path.iterdir())


def test_listing_commands_imports_none_of_them():
    code = (
        "import sys; from fossa_ros.commands.cli import main; main(['--help'], standalone_mode=False); "
        "print(sorted({'torch', 'rclpy', 'cv2', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_is_there(name):
    command = main.get_command(None, name)
    assert command.name == name and command.get_short_help_str(200) == COMMANDS[name]


def test_version():
    assert fossa("--version").stdout == f"fossa, version {__version__}\n"


# ------------------------------------------------------------------------------------------------- how it is made


def test_shrunk_stack_keeps_what_it_shows(rendered):
    stack, _ = rendered
    small = shrink_stack(stack, 80)
    assert small.size == (60, 80) and shrink_stack(stack, 160) is stack and shrink_stack(stack, 0) is stack
    np.testing.assert_array_equal(small.K, scaled_intrinsics(stack.K, (120, 160), (60, 80)))
    mean = stack.images().reshape(5, 60, 2, 80, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(small.images(), mean, atol=0.76)  # cv2 rounds twice
    np.testing.assert_array_equal(small.focus_distances, stack.focus_distances)


def plane_depth(K, size):
    """Return the depth of a slanted plane, n . X = 1."""
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(size)])
    return (1.0 / np.tensordot([0.2, -0.3, 0.7], rays, axes=1)).astype(np.float32)


def test_enlarging_a_slanted_plane_is_exact():
    K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
    small = plane_depth(scaled_intrinsics(K, (240, 320), (60, 80)), (60, 80))
    large = enlarge_depth(small, (240, 320))
    np.testing.assert_allclose(large[4:-4, 4:-4], plane_depth(K, (240, 320))[4:-4, 4:-4], rtol=1e-4)


def test_enlarging_invents_neither_depth_nor_knowledge():
    depth = np.full((40, 60), 1.0, np.float32)
    depth[:, 30:] = 3.0
    depth[10:20, 10:20] = np.nan
    large = enlarge_depth(depth, (130, 200))
    known = large[np.isfinite(large)]
    assert large.dtype == np.float32 and large.shape == (130, 200)
    np.testing.assert_allclose(known, np.where(known < 2, 1.0, 3.0), rtol=1e-6)
    assert np.isnan(large).mean() == pytest.approx(100 / 2400, abs=0.004)
    assert np.isnan(large[36:62, 37:63]).all()
    assert enlarge_depth(depth, (40, 60)) is depth


def test_colours_go_with_the_logarithm_of_depth():
    depth = np.array([[0.1, 0.5, 1.0, 2.0, 4.0, 8.0, np.inf, np.nan, 0.0]], np.float32)
    colours = colour_depth(depth, 0.5, 8.0)[0]
    assert (colours[0] == colours[1]).all() and (colours[5] == colours[6]).all()
    assert (colours[7] == UNKNOWN).all() and (colours[8] == UNKNOWN).all()
    red, blue = colours[1].astype(int), colours[4].astype(int)
    assert red[0] > red[2] and blue[2] > blue[0]
    half = colour_depth(np.full((1, 1), 2.0, np.float32), 0.5, 8.0)[0, 0]
    np.testing.assert_array_equal(half, colour_depth(np.full((1, 1), 4.0, np.float32), 1.0, 16.0)[0, 0])


@pytest.mark.parametrize("depth, low, high", [(2.0, 1.9, 2.1), (np.nan, None, None)])
def test_flat_and_unknown_maps_have_a_picture(depth, low, high):
    depth = np.full((30, 40), depth, np.float32)
    picture = depth_picture(depth)
    assert picture.dtype == np.uint8 and picture.shape[1:] == (40, 3)
    if low is None:
        assert (picture == UNKNOWN).all()
    else:
        near, far = depth_range(depth)
        assert low < near < 2.0 < far < high


@pytest.mark.parametrize(
    ("far", "between"),
    [(0.9, ["0.6 m", "0.65 m", "0.7 m", "0.75 m", "0.8 m"]), (1.3, ["1 m"]), (8.0, ["1 m", "2 m", "5 m"])],
)
def test_the_bar_of_a_depth_picture_labels_both_ends(monkeypatch, far, between):
    drawn = []
    draw = pictures._drawn
    monkeypatch.setattr(pictures, "_drawn", lambda figure: drawn.append(figure) or draw(figure))
    assert depth_picture(np.geomspace(0.5234, far, 640 * 480, dtype=np.float32).reshape(480, 640)).shape[1] == 640
    near, far = depth_range(np.geomspace(0.5234, far, 640 * 480))
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert labels == [f"{near:.3g} m", *between, f"{far:.3g} m"]
