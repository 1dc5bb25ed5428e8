"""Estimators by name: options, and those of other packages."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators import create_estimator
from fossa_ros.estimators.factory import NETWORK_OPTIONS, estimator_options

EXAMPLE = Path(__file__).parents[1] / "docs/architecture.md"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs the source of another package's module and its class as estimator ``acme``."""

    def write(source: str) -> None:
        info = tmp_path / "acme_depth-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-depth\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[fossa_ros.estimators]\nacme = acme_depth:Acme\n")
        (tmp_path / "acme_depth.py").write_text(source)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "acme_depth", raising=False)
    return write


def test_the_documented_estimator_works(install):
    (source,) = re.findall(r"```python\n(# acme_depth\.py\n.*?)```", EXAMPLE.read_text(), re.DOTALL)
    install(source)
    estimator = create_estimator("acme")
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, 4:] = 255
    stack = FocusStack((FocusPlane(np.full_like(stripes, 9), 1.0), FocusPlane(stripes, 2.0)))
    depth = estimator.estimate(stack)
    assert (depth.depth[:, 3:5] == 2.0).all() and (depth.depth[:, :3] == 1.0).all() and depth.estimator == "acme"
    assert (estimator.name, estimator.description, estimator.gpu_memory()) == ("acme", "acme", None)
    assert estimator.warm_up((8, 8), 2) is None
    assert np.array_equal(estimator.estimate_unrounded(stack, stack.images().astype(np.float32)).depth, depth.depth)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "class Acme:\n    name = 'acme'\n    def estimate(self, stack): ...",
            "not a subclass of fossa_ros.estimators",
        ),
        ("from fossa_ros.estimators import Estimator\nclass Acme(Estimator):\n    name = 'acme'", "abstract"),
        (
            "from fossa_ros.estimators import Estimator\nclass Acme(Estimator):\n    def estimate(self, stack): ...",
            "no attribute 'name'",
        ),
        ("class Other: ...", "no attribute 'Acme'"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
    ],
)
def test_what_is_no_estimator_is_refused_in_a_sentence(install, source, reason):
    install(source)
    with pytest.raises(InputError, match=rf"Estimator 'acme' \(acme_depth:Acme\) cannot be made \(.*{reason}.*\); rep"):
        create_estimator("acme")


def test_options_are_a_networks():
    assert estimator_options("auto") == estimator_options("fossa") == NETWORK_OPTIONS
    assert estimator_options("lens_aware") == ("checkpoint", "device")
    assert estimator_options("classical") == estimator_options("acme") == ()
    with pytest.raises(InputError, match="Estimator 'classical' has no option device; remove it"):
        create_estimator("classical", device="cpu")
    assert create_estimator("classical", device=None).name == "classical"


def test_an_unknown_name_is_refused():
    with pytest.raises(
        InputError, match="There is no estimator 'acme'; choose one of auto, classical, lens_aware, fossa"
    ):
        create_estimator("acme")
