"""The sentence about an estimator that is slower than the sweeps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from fossa_ros.pipeline.pace import SWEEPS, Pace
from fossa_ros.pipeline.result import SweepResult, Verdict


def result(superseded: bool, inference_ms: float = math.nan) -> SweepResult:
    sweep = SimpleNamespace(number=1, started_ns=0)
    if superseded:
        return SweepResult(sweep, Verdict.SUPERSEDED)
    return SweepResult(sweep, "still", inference_ms=inference_ms)


@pytest.mark.parametrize(("period", "said"), [(2, True), (3, True), (10, False)])
def test_it_is_said_once_if_half_of_the_sweeps_are_superseded(period, said):
    """One of ``period`` sweeps has depth; or, for 10, all but one."""
    pace = Pace("lens_aware")
    sentences = []
    for number in range(6 * SWEEPS):
        superseded = number % period != 0 if period < 10 else number % period == 0
        sentences.append(pace.apply(result(superseded, 630.0)))
    found = [(number, sentence) for number, sentence in enumerate(sentences) if sentence]
    assert len(found) == said
    if said:
        assert found[0][0] == SWEEPS - 1
        assert "inference takes 630 ms" in found[0][1] and "estimator: classical" in found[0][1]


def test_without_any_depth_nothing_is_said():
    pace = Pace("lens_aware")
    assert not any(pace.apply(result(True)) for _ in range(3 * SWEEPS))


def test_classical_is_not_advised_to_classical():
    pace = Pace("classical")
    said = [pace.apply(result(number % 3 != 0, 90.0)) for number in range(SWEEPS)][-1]
    assert "fewer planes would be faster" in said and "estimator: classical" not in said
