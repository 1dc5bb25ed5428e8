"""JSON and YAML against types: every refusal is one sentence that names file, entry, value and what is allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.io.documents import Finite, NotNegative, convert, load_json, load_yaml, null_for_nan


class Limits(msgspec.Struct):
    low: Finite
    high: Finite

    def __post_init__(self) -> None:
        if self.high <= self.low:
            raise ValueError("high must exceed low")


@dataclass(frozen=True)
class Document:
    name: str
    limits: Limits | None = None
    gain: NotNegative = 1.0
    size: tuple[int, int] = (1, 2)
    values: Annotated[list[Finite], msgspec.Meta(min_length=2)] = field(default_factory=lambda: [0.0, 1.0])
    figures: dict[str, float | None] = field(default_factory=dict)
    on: bool = False


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "name is missing"),
        ({"name": 3}, "name must be text, not 3"),
        ({"name": None}, "name must be text, not null"),
        ({"name": "a", "limits": {"low": 1}}, "limits.high is missing"),
        (
            {"name": "a", "limits": {"low": "x" * 100, "high": 2}},
            'limits.low must be a finite number, not "' + 39 * "x",
        ),
        ({"name": "a", "limits": {"low": 1, "high": math.inf}}, "limits.high must be a finite number, not Infinity"),
        ({"name": "a", "limits": {"low": True, "high": 2}}, "limits.low must be a finite number, not true"),
        ({"name": "a", "limits": {"low": 10**400, "high": 2}}, "limits.low must be a finite number, not 1000000000"),
        ({"name": "a", "limits": {"low": 3, "high": 2}}, "limits.high must exceed low"),
        ({"name": "a", "limits": [1, 2]}, "limits must be a mapping, not a list of 2"),
        ({"name": "a", "gain": -1}, "gain must be a number >= 0, not -1"),
        ({"name": "a", "size": [1, 2, 3]}, "size must be a list of 2 entries, not a list of 3"),
        ({"name": "a", "size": [1, 2.5]}, "size[1] must be a whole number, not 2.5"),
        ({"name": "a", "values": [1]}, "values must be a list of length >= 2, not a list of 1"),
        ({"name": "a", "values": [1, 2, {}]}, "values[2] must be a finite number, not a mapping"),
        ({"name": "a", "figures": {"abs_rel": "low"}}, "figures[...] must be a finite number"),
        ({"name": "a", "figures": {1: 2.0}}, "the names in figures must be text"),
        ({"name": "a", "on": 1}, "on must be true or false, not 1"),
        ([], "the document must be a mapping, not a list of 0"),
    ],
)
def test_what_is_wrong_is_named(content, sentence):
    with pytest.raises(InputError) as caught:
        convert(content, Document, "settings.yaml")
    assert str(caught.value).startswith(f"settings.yaml: {sentence}") and str(caught.value).endswith("; correct it.")


def test_unknown_entries_are_ignored_or_refused():
    content = {"name": "a", "limits": {"low": 1, "high": 2, "middle": 1.5}}
    assert convert(content, Document, "a.yaml").limits == Limits(1.0, 2.0)
    with pytest.raises(InputError, match=r"a.yaml has the unknown field limits.middle; known are low, high\."):
        convert(content, Document, "a.yaml", only_known=True)


@pytest.mark.parametrize(
    "text", ["!!timestamp x", "!!bool no way", "!!int ''", "a: [", "? [a]\n: b", "a: \x00", "\xff"]
)
def test_yaml_that_cannot_be_read_is_a_sentence(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"a\.yaml is not valid YAML \(.*\); correct it, or write one\.$"):
        load_yaml(tmp_path / "a.yaml", "write one")


def test_files_are_refused_before_they_are_parsed(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match=r"a\.json does not exist; write one\."):
        load_json(path, "write one")
    with pytest.raises(InputError, match="cannot be read"):
        load_json(tmp_path, "write one")
    path.write_text('{"a": 1}')
    assert load_json(path, "write one") == {"a": 1}
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_json(path, "write one") == {"a": 1}
    with pytest.raises(InputError, match="is larger than 5e-06 MB; write one"):
        load_json(path, "write one", largest=5)
    assert load_yaml_of(tmp_path, "") == {}


def load_yaml_of(folder, text) -> dict[str, Any]:
    (folder / "b.yaml").write_text(text)
    return load_yaml(folder / "b.yaml", "write one")


def test_a_small_file_with_a_large_value_is_answered_at_once(tmp_path):
    """Every level of aliases doubles the value: printed, it would fill the memory."""
    text = "v0: &v0 [1, 1]\n" + "".join(f"v{n}: &v{n} [*v{n - 1}, *v{n - 1}]\n" for n in range(1, 60)) + "name: *v59\n"
    with pytest.raises(InputError, match="name must be text, not a list of 2"):
        convert(load_yaml_of(tmp_path, text), Document, "b.yaml")


def test_json_has_null_for_what_is_not_finite():
    assert null_for_nan({"a": (1.0, math.nan), "b": {"c": -math.inf, "d": "x"}}) == {
        "a": [1.0, None],
        "b": {"c": None, "d": "x"},
    }
