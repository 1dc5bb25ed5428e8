"""AbsRel by coverage: figures against values worked out by hand, the command's table, its file and its plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.coverage import KEY, SHOWN, coverage_curve, curve_of, ranked_pixels
from fossa_ros.evaluation.results import Results, Run, read_results, write_results
from fossa_ros.io.photographs import read_photograph

KEPT = Path(__file__).parent / "data" / "path_traced"
NAN = np.nan


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def approx(*values):
    return tuple(None if value is None else pytest.approx(value) for value in values)


def pixels(errors, confidences):
    """Return the pixels of an image whose depth is off by ``errors`` of a truth of 2 m."""
    return ranked_pixels(2 * (1 + np.array([errors])), np.full((1, len(errors)), 2.0), np.array([confidences]))


def test_figures_by_hand():
    # By confidence 0.4, 0.1, 0.3, 0.0, ...; by error 0.0, 0.1, 0.1, 0.3, ...
    errors = [0.1, 0.4, 0.0, 0.3, 1.0, 0.9, 0.8, 0.7, 0.6, 0.1]
    confidences = [0.9, 1.0, 0.7, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    curve = coverage_curve([pixels(errors, confidences)])
    assert curve.at(0.5) == approx(0.9 / 5, 0.9 / 5)  # the same five pixels
    assert curve.at(0.4) == approx(0.8 / 4, 0.5 / 4)
    assert curve.at(0.1) == approx(0.4, 0.0)
    assert curve.at(0.15) == approx((0.4 + 0.05) / 1.5, 0.05 / 1.5)  # half of the second pixel
    assert curve.at(0.9) == approx(3.9 / 9, 3.9 / 9) and curve.at(1.0) == approx(0.49, 0.49)


def test_coverage_counts_pixels_without_depth_but_not_those_without_truth():
    found = np.array([[2.2, NAN, 2.4, -1.0, 3.0, 2.0]])
    truth = np.array([[2.0, 2.0, 2.0, 2.0, 2.0, NAN]])
    confidence = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 1.0]])
    curve = coverage_curve([ranked_pixels(found, truth, confidence)])
    # Three of five have a depth: 60 %.
    assert curve.at(0.2) == approx(0.1, 0.1) and curve.at(0.6) == approx((0.1 + 0.2 + 0.5) / 3, 0.8 / 3)
    assert [curve.at(share) for share in (0.65, 0.7, 0.9, 1.0)] == [(None, None)] * 4
    nothing = coverage_curve([ranked_pixels(found, np.full_like(truth, NAN), confidence)])
    assert nothing.at(0.05) == (None, None)


def test_equal_confidence_counts_by_its_mean():
    curve = coverage_curve([pixels([0.0, 0.2, 0.4, 0.6], [0.5, 0.5, 0.5, 0.5])])
    assert [curve.at(share)[0] for share in SHOWN] == pytest.approx([0.3] * 4)
    assert curve.at(0.5)[1] == pytest.approx(0.1)


def test_images_are_ranked_together_and_weigh_the_same():
    sure, doubtful = pixels([0.1] * 8, [0.9] * 8), pixels([0.5, 0.7], [0.2, 0.1])
    curve = coverage_curve([doubtful, sure])
    assert curve.at(0.5) == approx(0.1, 0.1) and curve.at(0.75) == approx(0.35 / 1.5, 0.35 / 1.5)
    assert curve.at(1.0) == approx(0.35, 0.35)


def test_a_large_image_is_ranked_by_some_of_its_pixels():
    truth = np.full((300, 400), 2.0)
    found = truth * (1 + np.linspace(0, 1, truth.size).reshape(truth.shape))
    chosen = ranked_pixels(found, truth, 1 - found / 4)
    assert chosen.shape == (2, 5000)
    assert coverage_curve([chosen]).at(0.5) == (pytest.approx(0.25, abs=1e-3),) * 2


def test_the_command_prints_the_curve_that_it_writes(tmp_path):
    words = ("evaluate", "stacks", "--data", KEPT)
    done = run(*words, "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    assert done.exit_code == 0, done.output
    (result,) = read_results(tmp_path / "a.json").runs
    curve = curve_of(result, "a.json")
    assert curve.coverage == tuple(np.arange(1, 21) / 20)
    assert result.mean["coverage"] == 1.0
    assert curve.at(1.0) == (pytest.approx(result.mean["abs_rel"], abs=1e-3),) * 2  # of some of the pixels
    known = [(share, *curve.at(share)) for share in curve.coverage if curve.at(share)[0] is not None]
    assert all(best <= found + 1e-9 for _, found, best in known) and known[-1][0] >= 0.9
    line = next(line for line in done.output.splitlines() if line.startswith("fixed"))
    found, best = curve.at(0.5)
    assert f"{found:.3f} ({best:.3f})" in line and found < 0.9 * curve.at(0.9)[0]
    assert "100 %" in done.output and "best possible ranking" in done.output
    assert read_photograph(tmp_path / "a.png").image.shape[:2] == (494, 702)
    done = run(*words, "--planes", "3,5", "--json", tmp_path / "b.json")
    assert len([line for line in done.output.splitlines() if " planes, fixed" in line and "(" in line]) == 2
    done = run("compare", tmp_path / "a.json", tmp_path / "b.json", "--setting-b", "3 planes, fixed", "--plot", "x.bmp")
    assert done.exit_code == 1 and ".png, .svg, .pdf" in done.output
    plot = tmp_path / "both.png"
    done = run("compare", tmp_path / "a.json", tmp_path / "b.json", "--setting-b", "3 planes, fixed", "--plot", plot)
    assert done.exit_code == 0, done.output
    assert len(np.unique(read_photograph(plot).image.reshape(-1, 3), axis=0)) > 50


def test_files_without_a_curve_or_with_a_wrong_one_are_refused(tmp_path):
    images = {"a": {"abs_rel": 0.1}}
    with pytest.raises(InputError, match=r"old.json has no error by coverage; write it anew"):
        curve_of(Run({}, images), "old.json")
    wrong = {"coverage": [0.5, 1.0], "by_confidence": [0.1, "x"], "best": [0.1, 0.2]}
    write_results(tmp_path / "r.json", Results("stacks", {"name": "x"}, (Run({}, images, {KEY: wrong}),)))
    done = run("compare", tmp_path / "r.json", tmp_path / "r.json", "--plot", tmp_path / "p.png")
    assert done.exit_code == 1 and "r.json" in done.output and "by_confidence" in done.output
    with pytest.raises(InputError, match="must have the same length"):
        curve_of(Run({}, images, {KEY: wrong | {"by_confidence": [0.1]}}), "r.json")
