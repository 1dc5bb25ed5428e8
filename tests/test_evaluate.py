"""fossa evaluate and fossa compare: figures against values worked out by hand, studies, submissions, the commands."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import save_file
from scipy.ndimage import distance_transform_edt

from fossa_ros.commands.cli import main
from fossa_ros.commands.compare import command as compare_command
from fossa_ros.commands.evaluate import command as evaluate_command
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import DepthMap
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.estimators.fossa.factory import MODELS
from fossa_ros.evaluation import zedd_submission
from fossa_ros.evaluation.comparison import compare_runs, mean_interval
from fossa_ros.evaluation.coverage import curve_of
from fossa_ros.evaluation.datasets import SETS, open_set
from fossa_ros.evaluation.datasets.zedd import SIZES
from fossa_ros.evaluation.evaluate import INTERRUPTED, evaluate, vary
from fossa_ros.evaluation.protocol import Setting
from fossa_ros.evaluation.published import PUBLISHED
from fossa_ros.evaluation.results import Results, Run, read_results
from fossa_ros.evaluation.study_plot import check_plot, draw_study
from fossa_ros.io.photographs import read_photograph
from published_layouts import make_ddff12, make_ibims, make_infinigen, make_zedd, uniformat
from small_fossa import SMALL, small_fossa

KEPT = Path(__file__).parent / "data" / "path_traced"
RGBD = Path(__file__).parents[2] / "shared" / "data" / "rgbd"


class Even(Estimator):
    """An estimator that takes everything for one depth; least certain at the left."""

    name = "even"

    def __init__(self, depth, unknown=0):
        self._depth, self._unknown = depth, unknown
        self.seen = []

    def estimate(self, stack):
        self.seen.append(stack)
        height, width = stack.size
        depth = np.full((height, width), self._depth, np.float32)
        depth[:, : self._unknown] = np.nan
        confidence = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), depth.shape).copy()
        return DepthMap(depth, confidence, stack.planes[0].image)


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_figures_of_a_set_by_hand(tmp_path):
    # Scenes of 2 and 3 m, all of which is taken for 2.6 m.
    infinigen = open_set("infinigen", make_infinigen(tmp_path))
    (result,) = evaluate(infinigen, [infinigen.protocol], Even(2.6))
    assert result.setting == {"f_number": 1.4, "planes": 5, "focus": "fixed"}
    near, far = result.images["1036e2cc_1"], result.images["11a3789d_2"]
    assert (near["abs_rel"], far["abs_rel"]) == (pytest.approx(0.3), pytest.approx(0.4 / 3))
    assert (near["rmse"], far["rmse"]) == (pytest.approx(0.6), pytest.approx(0.4))
    assert result.mean["rmse"] == pytest.approx(0.5)  # of images, not of pixels
    # 2.6 m is off by factors of 1.3 and of 1.154.
    assert (result.mean["delta_1.15"], result.mean["delta_1.25"], result.mean["delta_1.25^2"]) == (0.0, 0.5, 1.0)
    assert near["coverage"] == 1.0 and near["seconds"] >= 0
    # The scenes weigh the same; their confidences are alike, so that half of the pixels are half of each.
    assert curve_of(result, "here").at(0.5) == (pytest.approx(0.65 / 3), pytest.approx(0.4 / 3))


def test_ddff12_is_scored_in_disparity(tmp_path):
    pytest.importorskip("h5py", reason="reading DDFF-12 needs h5py")
    ddff12 = open_set("ddff12", make_ddff12(tmp_path / "my_ddff_trainVal.h5").parent)
    # The truth is 0.1 px; a depth of 0.125 px of disparity.
    (result,) = evaluate(ddff12, [ddff12.protocol], Even(521.4052 * 0.0002708787058842817 / 0.125))
    assert result.mean["abs_rel"] == pytest.approx(0.25, rel=1e-5)
    assert result.mean["mse"] == pytest.approx(0.025**2, rel=1e-5)
    assert result.mean["sq_rel"] == pytest.approx(0.025**2 / 0.1, rel=1e-5)


def test_a_study_varies_one_kind_at_a_time():
    protocol = Setting(1.4, 5, "uniform")
    assert vary(protocol) == [protocol]
    assert vary(protocol, f_numbers=(2.8,), planes=(3,)) == [Setting(2.8, 3, "uniform")]
    assert vary(protocol, (1.4, 2.8), (3, 5), ("near", "uniform")) == [
        Setting(1.4, 5, "uniform"),
        Setting(2.8, 5, "uniform"),
        Setting(1.4, 3, "uniform"),
        Setting(1.4, 5, "near"),
    ]
    assert vary(protocol, (2.8,), (3, 9)) == [Setting(2.8, 3, "uniform"), Setting(2.8, 9, "uniform")]


def test_what_stacks_lack_is_left_out_or_refused(tmp_path):
    stacks = open_set("stacks", KEPT)
    three, five = evaluate(stacks, [Setting(planes=3), Setting(planes=5)], Even(1.0))
    assert list(three.images) == list(five.images) == ["breakfast", "living_room", "workbench"]
    with pytest.raises(InputError, match="No image of stacks has 7 planes"):
        evaluate(stacks, [Setting(planes=7)], Even(1.0))


class Interrupted(Even):
    """An estimator at which Ctrl-C is pressed during its third stack."""

    def estimate(self, stack):
        if len(self.seen) == 2:
            raise KeyboardInterrupt
        return super().estimate(stack)


def test_ctrl_c_keeps_the_images_that_are_done():
    stacks = open_set("stacks", KEPT)
    (whole,) = evaluate(stacks, [Setting(planes=3)], Even(1.0))
    assert INTERRUPTED not in whole.extra
    three, five = evaluate(stacks, [Setting(planes=3), Setting(planes=5)], Interrupted(1.0))
    assert list(three.images) == list(five.images) == ["breakfast"] and three.extra[INTERRUPTED]
    settings = [Setting(planes=count) for count in (2, 3, 5)]
    with pytest.raises(KeyboardInterrupt):  # nothing is done under the third
        evaluate(stacks, settings, Interrupted(1.0))


def test_docs_name_every_set_and_option():
    text = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
    assert all(f"| `{name}`" in text or f"`{name}`, `" in text or f", `{name}`" in text for name in SETS)
    for command in (evaluate_command, compare_command):
        for parameter in command.params:
            named = [option for option in parameter.opts if option.startswith("--")]
            assert all(option in text for option in named), named


# Submissions to the test server of ZEDD.


def submission(path, change=lambda files: None, shape=(1216, 1824), dtype=np.float16):
    """Write a zip of 50 arrays of zeros, changed."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype))
    files = dict.fromkeys(zedd_submission.NAMES, buffer.getvalue())
    change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_a_right_submission_passes(tmp_path):
    done = run("evaluate", "zedd", "--check-submission", submission(tmp_path / "s.zip"))
    assert done.exit_code == 0 and "50 arrays of 1216x1824, all finite" in done.output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda files: files.pop("zedd_output_0017.npy"), "lacks zedd_output_0017.npy;"),
        (lambda files: files.update({"more.txt": b""}), "holds more.txt besides"),
        (lambda files: files.update({"out/zedd_output_0001.npy": b""}), "holds out/zedd_output_0001.npy besides"),
        (
            lambda files: files.update({"zedd_output_0002.npy": array(np.zeros((3, 2)))}),
            r"_0002.npy is \(3, 2\) float64",
        ),
        (lambda files: files.update({"zedd_output_0003.npy": array(np.zeros((4, 5), int))}), r"\(4, 5\) int64"),
        (lambda files: files.update({"zedd_output_0004.npy": array(np.array([1.0, np.nan, np.inf]))}), "2 values that"),
        (lambda files: files.update({"zedd_output_0005.npy": b"\x93NUMPY"}), "damaged"),
    ],
)
def test_a_wrong_submission_is_reported(tmp_path, monkeypatch, change, sentence):
    monkeypatch.setitem(SIZES, "test", (3,))  # small, so that it is the names and contents that take the time
    path = submission(tmp_path / "s.zip", change, (3,))
    with pytest.raises(InputError, match=sentence):
        zedd_submission.check_submission(path)


def test_no_zip_is_no_submission(tmp_path):
    (tmp_path / "s.zip").write_bytes(b"nothing")
    done = run("evaluate", "zedd", "--check-submission", tmp_path / "s.zip")
    assert done.exit_code == 1 and "not an .npz file" not in done.output and "not a readable zip" in done.output
    done = run("evaluate", "ibims", "--check-submission", tmp_path / "s.zip")
    assert done.exit_code == 2


def test_a_submission_is_written_in_order_of_the_scenes(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "test", (24, 36))
    scenes = [f"test_{number:04}" for number in range(1, 51)]
    root = make_zedd(tmp_path / "zedd", "test", scenes, (24, 36))
    estimator = Even(2.5, unknown=9)
    seen = []
    filled = zedd_submission.write_submission(tmp_path / "s.zip", root, estimator, progress=seen.append)
    assert seen == scenes and filled == 0.25
    assert estimator.seen[0].focus_distances.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert estimator.seen[0].K.tolist() == [[80.0, 0, 19.0], [0, 81.0, 11.0], [0, 0, 1]]
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == list(zedd_submission.NAMES)
        depth = np.load(archive.open("zedd_output_0050.npy"))
    assert depth.dtype == np.float32 and depth.shape == (24, 36) and (depth == 2.5).all()
    with pytest.raises(InputError, match="no depth in test_0001"):
        zedd_submission.write_submission(tmp_path / "t.zip", root, Even(2.5, unknown=36))
    assert not (tmp_path / "t.zip").exists()
    next((root / "test").glob("test_0050")).rename(root / "elsewhere")
    with pytest.raises(InputError, match="49 scenes of 50"):
        zedd_submission.write_submission(tmp_path / "t.zip", root, estimator)


# Comparisons.


def figures(**columns):
    names = [f"image {index}" for index in range(len(next(iter(columns.values()))))]
    return Run({}, {name: {f: v[i] for f, v in columns.items()} for i, name in enumerate(names)})


def test_intervals_are_those_of_the_paired_difference():
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.5, 400)  # images differ much, the two models little
    change = rng.normal(-0.03, 0.1, 400)
    a, b = figures(abs_rel=base, coverage=base), figures(abs_rel=base + change, coverage=base - change)
    error, coverage = compare_runs(a, b)
    assert (error.a, error.b) == (pytest.approx(base.mean()), pytest.approx((base + change).mean()))
    half = 1.96 * change.std() / 20
    assert error.low == pytest.approx(change.mean() - half, abs=0.001)
    assert error.high == pytest.approx(change.mean() + half, abs=0.001)
    assert error.better == coverage.better == "b"  # less error; more coverage
    assert compare_runs(b, a)[0].better == "a" and compare_runs(a, a)[0].better == ""
    assert compare_runs(a, b, seed=0) == compare_runs(a, b, seed=0)
    low, high = mean_interval(base)
    assert (low, high) == (
        pytest.approx(base.mean() - 1.96 * base.std() / 20, abs=0.005),
        pytest.approx(base.mean() + 1.96 * base.std() / 20, abs=0.005),
    )


def test_images_without_a_figure_are_left_out_of_it():
    a, b = figures(abs_rel=[1.0, np.nan, 3.0, 4.0]), figures(abs_rel=[2.0, 2.0, np.nan, 5.0])
    (row,) = compare_runs(a, b)
    assert (row.images, row.a, row.b, row.difference, row.low, row.high) == (2, 2.5, 3.5, 1.0, 1.0, 1.0)
    (single,) = compare_runs(figures(abs_rel=[1.0]), figures(abs_rel=[2.0]))
    assert single.difference == 1.0 and np.isnan(single.low) and single.better == ""
    assert np.isnan(mean_interval([1.0])).all()
    with pytest.raises(InputError, match="no image in common"):
        compare_runs(a, Run({}, {"other": {"abs_rel": 1.0}}))


# The commands.


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_figures_that_cannot_be_written_are_refused_before_the_work(tmp_path, option):
    done = run("evaluate", "stacks", "--data", KEPT, option, tmp_path)
    assert done.exit_code != 0 and "Stacks" not in done.output
    assert "folder" in done.output + str(done.exception) or "directory" in done.output


def test_a_file_of_the_data_is_not_replaced_by_the_figures(tmp_path):
    shutil.copytree(KEPT, tmp_path / "data")
    kept = next(path for path in sorted((tmp_path / "data").rglob("*")) if path.is_file())
    before = kept.read_bytes()
    done = run("evaluate", "stacks", "--data", tmp_path / "data", "--json", kept)
    assert done.exit_code == 2 and "is among the data" in done.output and kept.read_bytes() == before


def test_figures_and_their_plot_cannot_be_one_file(tmp_path):
    done = run("evaluate", "stacks", "--data", KEPT, "--json", tmp_path / "a.png", "--plot", tmp_path / "a.png")
    assert done.exit_code != 0 and "one file" in done.output + str(done.exception)


def test_evaluate_prints_and_writes_the_same_figures(tmp_path):
    done = run("evaluate", "stacks", "--data", KEPT, "--planes", 3, 5, "--json", tmp_path / "f.json", "--images")
    assert done.exit_code == 0, done.output
    results = read_results(tmp_path / "f.json")
    assert results.benchmark == "stacks" and results.model == {"name": "classical"}
    assert [run.label for run in results.runs] == ["3 planes, fixed", "5 planes, fixed"]
    for result in results.runs:
        assert list(result.images) == ["breakfast", "living_room", "workbench"]
        for figure in ("abs_rel", "delta_1.05"):
            mean = np.mean([image[figure] for image in result.images.values()])
            assert result.mean[figure] == pytest.approx(mean) and f"{mean:.4f}" in done.output
            assert f"{result.images['workbench'][figure]:.4f}" in done.output
    # Depth from five planes of a close, textured scene is right: loader, planes and truth belong together.
    assert results.runs[1].images["workbench"]["abs_rel"] < 0.08
    same = run("compare", tmp_path / "f.json", tmp_path / "f.json", "--figure", "abs_rel")
    assert same.exit_code == 0 and same.output.count("+0.0000 .. +0.0000") == 2
    other = run(
        *("compare", tmp_path / "f.json", tmp_path / "f.json"),
        *("--setting-a", "3 planes, fixed", "--setting-b", "5 planes, fixed"),
    )
    difference = results.runs[1].mean["abs_rel"] - results.runs[0].mean["abs_rel"]
    assert f"{difference:+.4f}" in other.output
    wrong = run("compare", tmp_path / "f.json", tmp_path / "f.json", "--setting-a", "no")
    assert wrong.exit_code == 1 and "one of: 3 planes, fixed; 5 planes, fixed" in wrong.output


def test_evaluate_stands_beside_the_published_figures(tmp_path):
    done = run("evaluate", "infinigen", "--data", make_infinigen(tmp_path), "--json", tmp_path / "f.json")
    assert done.exit_code == 0, done.output
    rows = {line[:10].strip(): line[10:].split() for line in done.output.splitlines()}
    mean = read_results(tmp_path / "f.json").runs[0].mean
    assert np.isfinite(mean["abs_rel"]) and rows["AbsRel"] == [f"{mean['abs_rel']:.4f}", "0.0847", "0.0908"]
    assert rows["d<1.05"][1:] == ["0.5201", "0.4199"] and rows["d<1.25"][1:] == ["0.9400", "0.9355"]
    assert "another setting" not in done.output
    done = run("evaluate", "infinigen", "--data", tmp_path, "--apertures", 2.8, "--limit", 1)
    assert "another setting" in done.output and "F2.8, 5 planes, fixed, 1 images" in done.output
    done = run("evaluate", "infinigen", "--data", tmp_path, "--limit", 1)
    assert "The first 1 of 2 images" in done.output


def test_published_figures_are_shares_and_errors():
    assert set(PUBLISHED) == {"zedd", "infinigen", "ibims", "diode", "hammer", "ddff12"}
    for models in PUBLISHED.values():
        for row in models.values():
            assert all(0 < value < 1 for value in row.values())
    assert PUBLISHED["ddff12"]["vitb fine tuned"]["mse"] == 0.0003


def test_a_study_of_apertures_planes_and_focus(tmp_path):
    make_ibims(tmp_path)
    done = run(
        *("evaluate", "ibims", "--data", tmp_path, "--apertures", 1.4, 2.8, "--planes", "3,5"),
        *("--focus", "uniform,near", "--json", tmp_path / "f.json", "--plot", tmp_path / "p.png"),
    )
    assert done.exit_code == 0, done.output
    labels = [run.label for run in read_results(tmp_path / "f.json").runs]
    assert labels == [
        "F1.4, 5 planes, uniform",
        "F2.8, 5 planes, uniform",
        "F1.4, 3 planes, uniform",
        "F1.4, 5 planes, near",
    ]
    picture = read_photograph(tmp_path / "p.png").image
    assert picture.shape[1] > 1000 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_a_plot_has_a_panel_for_what_varies(tmp_path):
    images = {"a": {"abs_rel": 0.1, "delta_1.05": 0.5}, "b": {"abs_rel": 0.2, "delta_1.05": 0.4}}
    runs = [Run({"f_number": 1.4, "planes": count, "focus": "near"}, images) for count in (5, 3)]
    for kinds, more in ((1, []), (2, [Run({"f_number": 2.8, "planes": 5, "focus": "near"}, images)])):
        draw_study(tmp_path / "p.png", Results("ibims", {"name": "x"}, (*runs, *more)), "a title")
        assert read_photograph(tmp_path / "p.png").image.shape[1] == round(130 * (1.2 + 3.4 * kinds))
    check_plot(tmp_path / "p.svg")
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        check_plot(tmp_path / "p.bmp")


def test_networks_are_given_unrounded_planes(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "vits", SMALL)
    make_ibims(tmp_path, 1)
    weights = {name: value.contiguous() for name, value in small_fossa().state_dict().items()}
    save_file(weights, tmp_path / "small.safetensors")
    predictor = create_estimator("fossa", model="vits", checkpoint=str(tmp_path / "small.safetensors"), device="cpu")
    ibims = open_set("ibims", tmp_path)
    sample = ibims.sample(0, ibims.protocol)
    (result,) = evaluate(ibims, [ibims.protocol], predictor)
    fine = np.abs(predictor.estimate_unrounded(sample.stack, sample.unrounded).depth - sample.truth) / sample.truth
    coarse = np.abs(predictor.estimate(sample.stack).depth - sample.truth) / sample.truth
    assert result.images["000000"]["abs_rel"] == pytest.approx(np.nanmean(fine), rel=1e-5)
    assert np.nanmean(fine) != pytest.approx(np.nanmean(coarse), rel=1e-7)
    done = run(
        *("evaluate", "ibims", "--data", tmp_path, "--model", "vits", "--json", tmp_path / "f.json"),
        *("--checkpoint", tmp_path / "small.safetensors", "--device", "cpu"),
    )
    assert done.exit_code == 0, done.output
    results = read_results(tmp_path / "f.json")
    assert len(results.model["checkpoint_sha256"]) == 64 and results.model["device"] == "cpu"
    assert results.runs[0].mean["abs_rel"] == pytest.approx(np.nanmean(fine), rel=1e-4)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("zedd",), 2, "Give --data"),
        (("kitti", "--data", "."), 2, "is not one of"),
        (("zedd", "--data", "/nowhere"), 1, "fossa: /nowhere does not exist"),
        (("stacks", "--data", KEPT, "--checkpoint", "x"), 2, "belongs to a network"),
        (("stacks", "--data", KEPT, "--apertures", "1.4"), 1, "leave out --apertures"),
        (("stacks", "--data", KEPT, "--focus", "near"), 1, "give --planes too"),
        (("stacks", "--data", KEPT, "--planes", "3", "many"), 2, "unexpected extra argument"),
        (("stacks", "--data", KEPT, "--focus", "here"), 2, "is not a list of words"),
        (("stacks", "--data", KEPT, "--plot", "p.bmp"), 1, ".png, .svg, .pdf"),
        (("stacks", "--data", KEPT, "--zedd-submission", "s.zip"), 2, "test server of zedd"),
    ],
)
def test_wrong_commands_are_reported_in_a_sentence(words, status, sentence):
    done = run("evaluate", *words)
    assert done.exit_code == status and sentence in " ".join(done.output.split())


def test_files_that_do_not_compare(tmp_path):
    run("evaluate", "stacks", "--data", KEPT, "--limit", 1, "--json", tmp_path / "s.json")
    run("evaluate", "infinigen", "--data", make_infinigen(tmp_path / "i"), "--json", tmp_path / "i.json")
    done = run("compare", tmp_path / "s.json", tmp_path / "i.json")
    assert done.exit_code == 1 and "of stacks and" in done.output
    done = run("compare", tmp_path / "s.json", KEPT / "workbench.npz")
    assert done.exit_code == 1 and "not valid JSON" in done.output


def test_the_command_as_a_process(tmp_path):
    done = subprocess.run(
        [Path(sys.executable).with_name("fossa"), "evaluate", "stacks", "--data", KEPT, "--shuffle", "--blind"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "fixed, shuffled, blind, 3 images" in done.stdout and "3/3" in done.stderr


def pack(file, photograph, depth, K):
    """Write a real image of the sets in the layout of theirs, its holes filled from what is nearest."""
    valid = np.isfinite(depth) & (depth > 0)
    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    rgb = read_photograph(photograph).image
    content = {"gt": depth, "depth_filled": depth[tuple(nearest)], "rgb": rgb, "valid_mask": valid, "K": np.array(K)}
    file.parent.mkdir(parents=True)
    np.save(file, content, allow_pickle=True)


@pytest.mark.skipif(not RGBD.is_dir(), reason="there are no RGB-D images beside the repository")
def test_real_images_of_ibims_and_diode(tmp_path):
    folder = RGBD / "ibims1_atrium"
    # Intrinsics are not among the files: 60 degrees of view. This part of the archive has them transposed.
    K = np.array([[0.866 * 640, 0, 319.5], [0, 0.866 * 640, 239.5], [0, 0, 1]]).T
    pack(tmp_path / "ibims/000000.npy", folder / "rgb.png", np.load(folder / "gt_depth_m.npy").astype(np.float32), K)
    name = RGBD / "diode_indoor_sample" / "00019_00183_indoors_150_000"
    depth = np.load(f"{name}_depth.npy")[..., 0]
    depth[np.load(f"{name}_depth_mask.npy") < 0.5] = np.nan
    K = [[886.81, 0, 512], [0, 927.06, 384], [0, 0, 1]]
    pack(tmp_path / "diode/diode_indoor_v2/000000.npy", f"{name}.png", depth, K)
    (tmp_path / "diode/diode_outdoor_v2").mkdir()
    np.save(tmp_path / "diode/diode_outdoor_v2/000000.npy", uniformat(), allow_pickle=True)
    images = {}
    for kind in ("ibims", "diode"):
        benchmark = open_set(kind, tmp_path)
        (result,) = evaluate(benchmark, [benchmark.protocol], create_estimator("classical"), limit=1)
        images[kind] = next(iter(result.images.values()))
        assert images[kind]["coverage"] > 0.95
    # 2 to 7 m, and an atrium of 3 to 13 m, where blur hardly changes.
    assert images["diode"]["abs_rel"] < 0.11 and images["diode"]["delta_1.25"] > 0.9
    assert images["ibims"]["abs_rel"] < 0.25
