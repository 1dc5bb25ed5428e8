"""What the demo prints: the table of a run, and the sentence of one without depth."""

from __future__ import annotations

import pytest

from fossa_ros.ros.demo_results import describe_failure, print_summary

FIGURES = {"abs_rel": 0.05, "delta_1_25": 0.9, "coverage": 0.95, "depth_rate_hz": 3.0, "seconds": 20.0}
TIMES = {"sweep_ms": 200.0, "motion_ms": 20.0, "inference_ms": 30.0}


def summary(accepted: int, rejections=None, **verdicts: int):
    counts = {"sweeps": accepted + sum(verdicts.values()), "sweeps_accepted": accepted, "not_accepted": verdicts}
    return {**FIGURES, **TIMES, **counts, "rejections": rejections or {}}


def lines(capsys, figures, tmp_path) -> list[str]:
    print_summary(figures, tmp_path)
    return [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]


def test_a_knock_that_met_no_complete_sweep_is_in_the_table(capsys, tmp_path):
    shown = lines(capsys, summary(12, incomplete=2), tmp_path)
    assert {"sweeps rejected 0", "sweeps incomplete 2", "the knock met no complete sweep"} <= set(shown)


def test_the_rejections_are_in_the_table(capsys, tmp_path):
    shown = lines(capsys, summary(12, {"7": "the view moved"}, rejected=1), tmp_path)
    assert {"sweeps rejected 1", "sweep 7 the view moved"} <= set(shown)
    assert not [line for line in shown if "knock" in line]


@pytest.mark.parametrize(
    "figures, seen, change",
    [
        (summary(0), "0 sweeps: 0 accepted", "stop other programs"),
        (summary(0, incomplete=5, rejected=1), "6 sweeps: 0 accepted, 5 incomplete, 1 rejected", "every frame"),
        (summary(0, superseded=3), "3 superseded", "faster estimator"),
        (summary(0, rejected=3), "3 rejected", "for longer (--seconds)"),
        (summary(0, failed=3), "3 failed", "the estimator reports"),
        (summary(1, rejected=3), "1 accepted, 3 rejected", "before the knock"),
    ],
)
def test_a_run_without_depth_says_what_was_seen_and_what_to_change(figures, seen, change):
    words = describe_failure(figures, "")
    assert seen in words and change in words and words.startswith("No depth could be scored in 20 s (")
    assert not set("{}'") & set(words) and "ROS_DOMAIN_ID" not in words
    assert "unset ROS_DOMAIN_ID (42)" in describe_failure(figures, "42")
