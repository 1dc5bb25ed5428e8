"""The JSON of figures: written whole, read back equal, and nothing else taken for it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fossa_ros import __version__
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.evaluation.results import FORMAT, Results, Run, read_results, write_results


def results():
    images = {
        "one": {"abs_rel": 0.1, "rmse": 0.5, "coverage": 1.0},
        "two": {"abs_rel": math.nan, "rmse": 0.25, "coverage": 0.0},
    }
    runs = (Run({"f_number": 2.8, "planes": 5, "focus": "fixed"}, images), Run({}, images, {"tenths": [0.1, math.nan]}))
    return Results("zedd", {"name": "vits", "checkpoint": None}, runs)


def test_what_is_written_is_read_back(tmp_path):
    written = results()
    write_results(tmp_path / "r.json", written)
    read = read_results(tmp_path / "r.json")
    assert (read.benchmark, read.model, read.made) == ("zedd", {"name": "vits", "checkpoint": None}, written.made)
    assert read.versions == written.versions and read.versions["fossa_ros"] == __version__
    assert [run.label for run in read.runs] == ["F2.8, 5 planes, fixed", "as recorded"]
    assert read.runs[0].images["one"] == written.runs[0].images["one"]
    assert math.isnan(read.runs[0].images["two"]["abs_rel"])
    assert read.runs[0].mean == {"abs_rel": 0.1, "rmse": 0.375, "coverage": 0.5}
    assert read.runs[1].extra == {"tenths": [0.1, None]}


def test_the_file_is_strict_json_with_the_means_in_it(tmp_path):
    write_results(tmp_path / "r.json", results())
    content = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert content["format"] == FORMAT
    assert content["runs"][0]["mean"] == {"abs_rel": 0.1, "rmse": 0.375, "coverage": 0.5}
    assert content["runs"][0]["images"]["two"]["abs_rel"] is None


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_results(tmp_path / "r.json", results())
    before = (tmp_path / "r.json").read_bytes()
    bad = Results("zedd", {"name": "vits"}, (Run({}, {"one": {"abs_rel": 0.1}}, {"what": object()}),))
    with pytest.raises(TypeError):
        write_results(tmp_path / "r.json", bad)
    assert (tmp_path / "r.json").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(InputError, match="cannot be written"):
        write_results(tmp_path / "r.json" / "r.json", results())
    write_results(tmp_path / "missing" / "r.json", results())
    assert (tmp_path / "missing" / "r.json").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.update(format="another"), "not marked"),
        (lambda content: content.update(runs=[]), "runs must be a list of length >= 1"),
        (lambda content: content.update(runs={}), "runs must be a list, not a mapping"),
        (lambda content: content.pop("made"), "made is missing"),
        (lambda content: content["model"].update(name=["vits"]), r"model\[...\] must be true or false or .* or text"),
        (lambda content: content["runs"][0].update(images={}), "images must be a mapping of length >= 1"),
        (
            lambda content: content["runs"][0]["images"]["one"].update(abs_rel="small"),
            "images.* must be a finite number",
        ),
        (lambda content: content["runs"][0]["images"]["one"].pop("abs_rel"), "images must have the same figures each"),
        (lambda content: content["runs"].append(3), r"runs\[2\] must be a mapping, not 3"),
    ],
)
def test_another_layout_is_refused(tmp_path, change, sentence):
    write_results(tmp_path / "r.json", results())
    content = json.loads((tmp_path / "r.json").read_text())
    change(content)
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence):
        read_results(tmp_path / "r.json")


@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b"\xff\xfe", b"[]", b"3"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(InputError):
        read_results(tmp_path / "r.json")
    with pytest.raises(InputError, match="does not exist"):
        read_results(tmp_path / "none.json")


def test_the_figures_of_depth_metrics_fit(tmp_path):

    figures = depth_metrics(np.full((4, 5), 1.1, np.float32), np.ones((4, 5)))
    write_results(tmp_path / "r.json", Results("mine", {"name": "classical"}, (Run({}, {"a": figures}),)))
    assert read_results(tmp_path / "r.json").runs[0].images["a"] == pytest.approx(figures)
