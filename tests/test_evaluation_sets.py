"""The loaders against tiny sets in every published layout: planes, crops, intrinsics, truth, and what they refuse."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.evaluation.datasets import SETS, open_set
from fossa_ros.evaluation.datasets.hammer import read_moge_depth
from fossa_ros.evaluation.datasets.photographs import load_rgbd
from fossa_ros.evaluation.datasets.uniformat import read_uniformat
from fossa_ros.evaluation.disturbance import Disturbance
from fossa_ros.evaluation.protocol import Setting, choose_distances, choose_planes, spread
from fossa_ros.io.stack_files import save_folder, save_npz
from fossa_ros.simulation.camera import SimulatedCamera
from published_layouts import (
    DISTANCES,
    make_ddff12,
    make_diode,
    make_hammer,
    make_ibims,
    make_infinigen,
    make_zedd,
    uniformat,
)

RGBD = Path(__file__).parents[2] / "shared" / "data" / "rgbd"


def greys(sample):
    """Return the grey of every plane, in tens."""
    return [round(plane.image.mean() / 10) for plane in sample.stack.planes]


def test_zedd_val_is_scaled_to_480_rows_and_cut_to_the_middle_640(tmp_path):
    zedd = open_set("zedd", make_zedd(tmp_path / "ZEDD").parent)
    assert zedd.names == ["val_0001", "val_0002"]
    zedd.check(zedd.protocol)
    sample = zedd.sample(0, zedd.protocol)
    assert greys(sample) == [1, 3, 5, 7, 9]
    assert sample.stack.focus_distances.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert sample.stack.f_number == 2.8 and sample.unrounded is None
    # 60 x 100 becomes 480 x 800, of which columns 80 to 719 stay.
    assert sample.stack.size == sample.truth.shape == (480, 640)
    np.testing.assert_allclose(sample.stack.K, np.array([[640.0, 0, 408 - 80], [0, 648.0, 232], [0, 0, 1]]))
    stored = (80 + np.arange(640)) // 8  # nearest neighbour of a factor of 8
    assert sample.truth[100] == pytest.approx(1 + stored / 100, abs=1e-6)
    assert sample.truth[::8][:4, -1].tolist() == pytest.approx([np.nan, np.nan, np.nan, 1.89], nan_ok=True)


def test_zedd_at_its_size_is_only_cut(tmp_path):
    zedd = open_set("zedd", make_zedd(tmp_path, scenes=("val_0001",), size=(480, 700)))
    sample = zedd.sample(0, zedd.protocol)
    assert sample.stack.size == (480, 640) and sample.stack.K[0].tolist() == [80.0, 0.0, 351.0 - 30]
    assert sample.truth[100] == pytest.approx(1 + (30 + np.arange(640)) / 100)


def test_zedd_planes_and_apertures_of_a_study(tmp_path):
    zedd = open_set("zedd", make_zedd(tmp_path))
    assert greys(zedd.sample(0, Setting(1.4, 9))) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert greys(zedd.sample(0, Setting(1.4, 3))) == [1, 5, 9]
    assert greys(zedd.sample(0, Setting(1.4, 3, "near"))) == [1, 2, 3]
    assert greys(zedd.sample(0, Setting(1.4, 3, "far"))) == [7, 8, 9]
    # 90 % of the scene lie between 1.05 and 1.95 m: of 0.5, 1.0, 1.5, 2.0 m those at 1, 1.5 and 2 m are closest.
    assert greys(zedd.sample(0, Setting(1.4, 3, "uniform"))) == [2, 3, 4]
    with pytest.raises(InputError, match=r"not taken with F4; choose from 1\.4, 2\.8"):
        zedd.check(Setting(4.0, 5))
    with pytest.raises(InputError, match="9 planes"):
        zedd.check(Setting(2.8, 10))


def test_incomplete_zedd_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no metadata.txt; give the folder of ZEDD.zip from https://huggingface"):
        open_set("zedd", tmp_path)
    root = make_zedd(tmp_path / "z")
    zedd = open_set("zedd", root)
    (root / "val/val_0002/gt/depth.npy").unlink()
    (root / "val/val_0001/focus_stack/img_run_3_motor_6D3B_aperture_F2.8.jpg").unlink()
    with pytest.raises(InputError, match=r"val_0001/focus_stack/img_run_3_\S+jpg and 1 more files are missing; unpack"):
        zedd.check(zedd.protocol)
    with pytest.raises(InputError, match="no folder test"):
        open_set("zedd", root, split="test")
    (root / "metadata.txt").write_text("run_1\t6D3E\t0.5\n")
    with pytest.raises(InputError, match="lacks run_2"):
        open_set("zedd", root)
    (root / "metadata.txt").write_text("run_1 6D3E 0.5\n")
    with pytest.raises(InputError, match="is not a run"):
        open_set("zedd", root)


def test_infinigen_takes_the_listed_scenes_at_the_published_planes(tmp_path):
    infinigen = open_set("infinigen", make_infinigen(tmp_path))
    assert infinigen.names == ["1036e2cc_1", "11a3789d_2"]
    infinigen.check(infinigen.protocol)
    sample = infinigen.sample(1, infinigen.protocol)
    assert sample.stack.focus_distances.tolist() == [0.8, 1.7, 3.0, 4.7, 8.0]
    assert greys(sample) == [1, 3, 5, 7, 9] and sample.stack.f_number == 1.4
    assert sample.stack.K[0].tolist() == [50.0, 0.0, 24.0]
    assert np.isnan(sample.truth[:4]).all() and (sample.truth[4:] == 3.0).all()
    assert infinigen.sample(0, Setting(2.8, 9)).stack.focus_distances.tolist() == list(DISTANCES)


def test_incomplete_infinigen_is_refused(tmp_path):
    root = make_infinigen(tmp_path / "i")
    infinigen = open_set("infinigen", root)
    with pytest.raises(InputError, match=r"not rendered with F4; choose from 1\.4, 2\.8"):
        infinigen.check(Setting(4.0, 5))
    (root / "11a3789d_2/image_ap_1.40_fd_3.00.png").unlink()
    with pytest.raises(InputError, match=r"fd_3.00.png is missing; unpack InfinigenDefocus.zip"):
        infinigen.check(infinigen.protocol)
    listed = json.loads((root / "val.json").read_text())
    listed["files"][0]["depth"] = "/../../secret.npy"
    (root / "val.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="names no file of the set"):
        open_set("infinigen", root).check(infinigen.protocol)
    (root / "val.json").unlink()
    with pytest.raises(InputError, match=r"has no val.json, .* put dataset/splits/infinigen_defocus/val.json of https"):
        open_set("infinigen", root)


@pytest.mark.parametrize(("name", "make", "count"), [("ibims", make_ibims, 2), ("diode", make_diode, 3)])
def test_images_with_depth_are_rendered_as_published(tmp_path, name, make, count):
    benchmark = open_set(name, make(tmp_path))
    assert len(benchmark.names) == count and benchmark.protocol == Setting(1.4, 5, "uniform")
    benchmark.check(benchmark.protocol)
    sample = benchmark.sample(0, benchmark.protocol)
    content = uniformat()
    low, high = np.quantile(1 / content["depth_filled"], (0.05, 0.95))
    assert 1 / sample.stack.focus_distances == pytest.approx(np.linspace(low, high, 5), rel=1e-6)
    np.testing.assert_allclose(sample.stack.K, content["K"])  # that of iBims-1 is stored transposed
    assert sample.stack.focal_length == pytest.approx(0.036 / 64 * 61)
    hole = ~content["valid_mask"]
    assert np.isnan(sample.truth[hole]).all() and (sample.truth[~hole] == content["depth_filled"][~hole]).all()
    # Where the circle of confusion is no larger than a pixel the image is as it was; elsewhere it is blurred.
    radius = optics.blur_radius(
        content["depth_filled"],
        sample.stack.focus_distances[:, None, None],
        sample.stack.focal_length,
        1.4,
        0.036 / 64,
    )
    assert 2 < radius.max() < 7 and (radius <= 1).any()
    original = content["rgb"].astype(np.float32)
    for plane, sharp in zip(sample.unrounded, radius <= 1, strict=True):
        assert (plane[sharp] == original[sharp]).all()
        assert np.abs(plane - original)[~sharp].mean() > 5
    assert np.abs(sample.unrounded - sample.stack.images()).max() <= 0.5


def test_a_part_of_diode_is_refused(tmp_path):
    root = make_diode(tmp_path)
    for file in (root / "diode/diode_outdoor_v2").iterdir():
        file.unlink()
    with pytest.raises(
        InputError, match=r"has no diode_outdoor_v2/000000.npy; give the folder of DefocusUniformat.zip"
    ):
        open_set("diode", root)
    with pytest.raises(InputError, match=r"has no ibims/000000.npy"):
        open_set("ibims", root)


class Evil:
    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return (open, (self._mark, "w"))


def test_a_dictionary_of_arrays_cannot_run_code(tmp_path):
    mark = tmp_path / "ran"
    np.save(tmp_path / "evil.npy", uniformat() | {"K": Evil(str(mark))}, allow_pickle=True)
    with pytest.raises(InputError, match=r"holds the Python object (io|_io)\.open, which is never loaded"):
        read_uniformat(tmp_path / "evil.npy")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop("depth_filled"), "has no array 'depth_filled'"),
        (lambda content: content.update(rgb=content["rgb"][..., 0]), "'rgb' is"),
        (lambda content: content.update(K=np.eye(4)), "no 3x3 intrinsic matrix"),
        (lambda content: content.update(valid_mask=np.ones((3, 3), bool)), "differ in size"),
        (lambda content: content["depth_filled"].__setitem__((0, 0), 0.0), "has holes"),
    ],
)
def test_other_dictionaries_are_refused(tmp_path, change, sentence):
    content = uniformat()
    change(content)
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(InputError, match=sentence):
        read_uniformat(tmp_path / "a.npy")


@pytest.mark.parametrize("content", [np.zeros(3), [1, 2], None])
def test_other_files_are_no_dictionaries(tmp_path, content):
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(InputError, match="not a dictionary of arrays"):
        read_uniformat(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(pickle.dumps({}))
    with pytest.raises(InputError, match="not a dictionary of arrays"):
        read_uniformat(tmp_path / "a.npy")


def test_a_dictionary_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", uniformat(), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:5000])
    with pytest.raises(InputError, match="truncated"):
        read_uniformat(tmp_path / "a.npy")


def test_hammer_decodes_depth_and_intrinsics(tmp_path):
    root = make_hammer(tmp_path / "HAMMER")
    hammer = open_set("hammer", tmp_path)
    hammer.check(hammer.protocol)
    assert hammer.names == ["scene2_traj1_1/000000", "scene2_traj1_1/000010"]
    sample = hammer.sample(0, hammer.protocol)
    np.testing.assert_allclose(sample.stack.K, np.array([[57.6, 0, 32], [0, 56.0, 20], [0, 0, 1]]))
    assert np.isnan(sample.truth[:, :2]).all()
    # Values 1 .. 65534 are even steps of the logarithm between 0.25 and 4 m.
    expected = 0.25 * 16.0 ** (np.arange(64) / 63)
    assert sample.truth[0, 2:] == pytest.approx(expected[2:], rel=1e-4)
    # What is unknown is rendered at 1000 m, and counts among the disparities that the planes are chosen by.
    disparity = np.r_[1e-3, 1e-3, 1 / expected[2:]].repeat(40)
    low, high = np.quantile(disparity, (0.05, 0.95))
    assert 1 / sample.stack.focus_distances[[0, -1]] == pytest.approx([low, high], rel=1e-3)
    depth = read_moge_depth(root / hammer.names[0] / "depth.png")
    assert np.isnan(depth[:, 0]).all() and np.isinf(depth[:, 1]).all()


def test_hammer_in_another_unit(tmp_path):
    root = make_hammer(tmp_path / "mm", "250.0", "4000.0", "0.001")
    depth = read_moge_depth(root / "scene2_traj1_1/000000/depth.png")
    assert depth[0, -1] == pytest.approx(4.0, rel=1e-5)


def test_incomplete_hammer_is_refused(tmp_path):
    root = make_hammer(tmp_path / "h")
    (root / "scene2_traj1_1/000010/meta.json").unlink()
    hammer = open_set("hammer", root)
    with pytest.raises(InputError, match=r"000010/meta.json is missing; unpack HAMMER.zip from https://huggingface"):
        hammer.check(hammer.protocol)
    depth = root / "scene2_traj1_1/000000/depth.png"
    Image.fromarray(np.ones((40, 64), np.uint16)).save(depth)
    with pytest.raises(InputError, match="fields near and far"):
        hammer.sample(0, hammer.protocol)
    (root / ".index.txt").write_text("../elsewhere\n")
    with pytest.raises(InputError, match="names no file of the set"):
        open_set("hammer", root)
    (root / ".index.txt").unlink()
    with pytest.raises(InputError, match=r"has no \.index\.txt"):
        open_set("hammer", root)


def test_ddff12_is_padded_and_in_disparity(tmp_path):
    pytest.importorskip("h5py", reason="reading DDFF-12 needs h5py")
    make_ddff12(tmp_path / "my_ddff_trainVal.h5")
    ddff12 = open_set("ddff12", tmp_path)
    ddff12.check(ddff12.protocol)
    sample = ddff12.sample(1, ddff12.protocol)
    assert ddff12.in_disparity and sample.stack.size == (384, 576)
    assert greys(sample) == [1, 3, 5, 7, 10]  # planes 0, 2, 4, 6, 9
    product = 521.4052 * 0.0002708787058842817
    wanted = np.linspace(0.28, 0.02, 10)[[0, 2, 4, 6, 9]]
    assert sample.stack.focus_distances == pytest.approx(product / wanted)
    assert sample.stack.K[0].tolist() == [521.4, 0, 285.11]
    assert (
        np.isnan(sample.truth[:5]).all() and np.isnan(sample.truth[60:]).all() and np.isnan(sample.truth[:, 90:]).all()
    )
    assert sample.truth[5:60, :90] == pytest.approx(product / 0.1)
    assert ddff12.disparity(sample.truth)[10, 10] == pytest.approx(0.1)


def test_other_files_are_no_ddff12(tmp_path):
    h5py = pytest.importorskip("h5py", reason="reading DDFF-12 needs h5py")
    with pytest.raises(InputError, match=r"has no my_ddff_trainVal.h5; put there .*github.com/fuy34/DFV"):
        open_set("ddff12", tmp_path)
    path = tmp_path / "my_ddff_trainVal.h5"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no stack_val and disp_val"):
        open_set("ddff12", tmp_path)
    with h5py.File(path, "w") as file:
        file["stack_val"], file["disp_val"] = np.zeros((1, 5, 8, 8, 3), np.uint8), np.zeros((1, 8, 8))
    with pytest.raises(InputError, match=r"has stacks \(1, 5, 8, 8, 3\)"):
        open_set("ddff12", tmp_path)


def numbered(*distances):
    """Return a stack whose planes are as bright as their number."""
    planes = (FocusPlane(np.full((16, 16, 3), n, np.uint8), s) for n, s in enumerate(distances))
    return FocusStack(tuple(planes), f_number=1.4, focal_length=0.02)


def test_stacks_of_a_folder_are_thinned_out(tmp_path):
    save_npz(tmp_path / "b.npz", numbered(9.0, 1.0, 5.0, 2.0, 3.0), np.full((16, 16), 2.0, np.float32))
    save_folder(tmp_path / "a", numbered(1.0, 2.0, 3.0), np.full((16, 16), 2.0, np.float32))
    (tmp_path / "notes").mkdir()
    stacks = open_set("stacks", tmp_path)
    assert stacks.names == ["a", "b"]
    assert len(stacks.sample(1, Setting()).stack) == 5
    thinned = stacks.sample(1, Setting(planes=3)).stack
    assert [plane.image[0, 0, 0] for plane in thinned.planes] == [0, 1, 4]  # both ends and the middle, 9, 1 and 3 m
    assert stacks.sample(0, Setting(planes=5)) is None
    with pytest.raises(InputError, match="leave out --apertures"):
        stacks.check(Setting(2.8))


def test_a_stack_in_place_of_the_folder_that_holds_it_is_refused(tmp_path):
    save_folder(tmp_path / "a", numbered(1.0, 2.0, 3.0), np.full((16, 16), 2.0, np.float32))
    with pytest.raises(InputError, match="is one stack; give the folder that holds it"):
        open_set("stacks", tmp_path / "a")


def test_a_stack_without_depth_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no stacks"):
        open_set("stacks", tmp_path)
    save_npz(tmp_path / "a.npz", numbered(1.0, 2.0))
    with pytest.raises(InputError, match="no true depth"):
        open_set("stacks", tmp_path).sample(0, Setting())


def test_scenes_of_the_simulator():
    simulated = open_set("simulated", camera=SimulatedCamera(64, 48, 60.0))
    assert len(simulated.names) == 8
    sample = simulated.sample(0, Setting(2.8, 3, "fixed"))
    assert 1 / sample.stack.focus_distances == pytest.approx(np.linspace(1 / 0.35, 1 / 6, 3))
    assert sample.stack.size == sample.truth.shape == (48, 64) and sample.stack.f_number == 2.8
    with pytest.raises(InputError, match="leave out --focus"):
        simulated.check(Setting(1.4, 5, "near"))


def test_no_photographs(tmp_path):
    with pytest.raises(InputError, match="no images of Middlebury, DIODE or iBims-1"):
        open_set("photographs", tmp_path)


@pytest.mark.skipif(not RGBD.is_dir(), reason="there are no RGB-D images beside the repository")
def test_photographs_have_the_depth_that_their_sets_publish():
    images = {source.name: source for source in load_rgbd(RGBD)}
    motorcycle = images["motorcycle"]
    assert motorcycle.image.shape == (500, 741, 3) and motorcycle.depth.shape == (500, 741)
    assert np.nanmin(motorcycle.depth) == pytest.approx(2.11, abs=0.01)
    assert np.nanmax(motorcycle.depth) == pytest.approx(5.02, abs=0.01)
    for name in ("Art", "Books", "Moebius"):
        assert 1.2 < np.nanmin(images[name].depth) < np.nanmax(images[name].depth) < 3.0
    indoors = next(source for name, source in images.items() if name.startswith("diode"))
    assert np.nanquantile(indoors.depth, (0.05, 0.95)) == pytest.approx((2.1, 6.7), abs=0.1)
    # Refocused, a photograph keeps its depth, and is sharpest where it is focused.
    photographs = open_set("photographs", RGBD)
    index = photographs.names.index("Books")
    sample = photographs.sample(index, Setting(1.4, 2, "uniform"))
    near, far = sample.stack.focus_distances
    low, high = np.nanquantile(images["Books"].depth, (0.05, 0.95))
    assert (near, far) == (pytest.approx(low, rel=0.01), pytest.approx(high, rel=0.01))
    detail = [np.abs(np.diff(plane.image.astype(float).mean(2), axis=1)) for plane in sample.stack.planes]
    behind = sample.truth[:, 1:] > np.sqrt(near * far)
    assert detail[0][~behind].mean() > 1.1 * detail[1][~behind].mean()
    assert detail[1][behind].mean() > 1.1 * detail[0][behind].mean()


def test_where_planes_are_focused():
    depth = 1 / np.linspace(0.0, 2.0, 2001)[1:][None]  # disparities 0.001 .. 2, evenly
    low, high = 0.1, 1.9
    for focus, ends in {"uniform": (low, high), "near": (1.0, high), "far": (low, 1.0)}.items():
        powers = 1 / choose_distances(Setting(2.8, 4, focus), depth)
        assert powers == pytest.approx(np.linspace(*ends, 4), abs=2e-3)
    assert choose_distances(Setting(2.8, 5, "fixed"), depth).tolist() == [0.8, 1.7, 3.0, 4.7, 8.0]
    assert spread(10, 5, cut=True) == [0, 2, 4, 6, 9] and spread(10, 5) == [0, 2, 4, 7, 9]
    assert spread(9, 3) == [0, 4, 8] and spread(3, 3) == [0, 1, 2]
    with pytest.raises(InputError):
        choose_distances(Setting(2.8, 10, "fixed"), depth)
    recorded = [3.0, 0.5, 1.0, 20.0, 0.6]
    assert choose_planes(Setting(planes=2, focus="near"), recorded, depth) == [1, 4]
    assert choose_planes(Setting(planes=2, focus="far"), recorded, depth) == [0, 3]
    assert choose_planes(Setting(planes=3, focus="fixed"), recorded, depth) == [1, 2, 3]  # by distance, not by order
    assert choose_planes(Setting(), recorded, depth) == [0, 1, 2, 3, 4]


def test_disturbed_stacks(tmp_path):
    benchmark = open_set("ibims", make_ibims(tmp_path))
    sample = benchmark.sample(0, benchmark.protocol)
    shuffled = Disturbance(shuffled=True).apply(sample, 0)
    order = [int(np.flatnonzero(sample.stack.focus_distances == s)[0]) for s in shuffled.stack.focus_distances]
    assert sorted(order) == [0, 1, 2, 3, 4] != order
    assert (shuffled.stack.images() == sample.stack.images()[order]).all()
    assert (shuffled.unrounded == sample.unrounded[order]).all()
    wrong = Disturbance(misstated=0.05).apply(sample, 0).stack
    error = wrong.focus_distances / sample.stack.focus_distances - 1
    assert np.abs(error).max() <= 0.05 and np.ptp(error) > 0.01
    assert (wrong.images() == sample.stack.images()).all() and wrong.f_number == 1.4
    other = Disturbance(misstated=0.05).apply(sample, 1).stack
    assert (other.focus_distances != wrong.focus_distances).all()
    blind = Disturbance(blind=True).apply(sample, 0).stack
    assert blind.f_number is blind.focal_length is None and blind.K is not None
    slower = Disturbance(aperture=0.2).apply(sample, 0).stack
    assert slower.f_number == pytest.approx(1.2 * 1.4) and slower.focal_length == sample.stack.focal_length
    noisy = Disturbance(noise=3.0).apply(sample, 0)
    added = noisy.unrounded - sample.unrounded
    assert added.std() == pytest.approx(3.0, rel=0.02) and abs(added.mean()) < 0.05
    assert (noisy.stack.images() == np.rint(noisy.unrounded).clip(0, 255)).all()
    recorded = Disturbance(noise=3.0).apply(replace(sample, unrounded=None), 0)
    assert recorded.unrounded is None and (recorded.stack.images() != sample.stack.images()).mean() > 0.5
    soft = Disturbance(softness=2.0).apply(sample, 0)
    assert (soft.stack.images() == np.rint(soft.unrounded).clip(0, 255)).all()
    np.testing.assert_allclose(soft.unrounded[1], cv2.GaussianBlur(sample.unrounded[1], (0, 0), 2.0), atol=1e-3)
    for wrong in ({"misstated": 1.0}, {"aperture": -1.0}, {"noise": -0.1}, {"softness": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Disturbance(**wrong)
    assert Disturbance().as_dict() == {} and Disturbance(True, 0.1).as_dict() == {"shuffled": True, "misstated": 0.1}


def test_unknown_names(tmp_path):
    with pytest.raises(InputError, match=f"choose one of {', '.join(SETS)}"):
        open_set("kitti", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        open_set("zedd", tmp_path / "none")
    for wrong in ({"f_number": 0.0}, {"planes": 1}, {"focus": "everywhere"}):
        with pytest.raises(InputError):
            Setting(**wrong)
