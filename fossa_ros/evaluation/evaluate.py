"""Evaluate an estimator on a benchmark: every image under every setting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.rectified import rectified
from fossa_ros.core.stack import DepthMap
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.evaluation.coverage import KEY, coverage_curve, ranked_pixels
from fossa_ros.evaluation.datasets.benchmark import Benchmark
from fossa_ros.evaluation.disturbance import Disturbance
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.evaluation.protocol import Sample, Setting
from fossa_ros.evaluation.results import Run

INTERRUPTED = "interrupted"  # in the extra of a run: Ctrl-C ended it before the last image


def vary(
    protocol: Setting, f_numbers: Sequence[float] = (), planes: Sequence[int] = (), focus: Sequence[str] = ()
) -> list[Setting]:
    """Return the settings of a study around a protocol.

    A single value of an argument replaces that of the protocol. Several values are varied while the other arguments
    stay as in the protocol.
    """
    kinds = {"f_number": tuple(f_numbers), "planes": tuple(planes), "focus": tuple(focus)}
    base = replace(protocol, **{kind: values[0] for kind, values in kinds.items() if len(values) == 1})
    several = {kind: values for kind, values in kinds.items() if len(values) > 1}
    settings = [replace(base, **{kind: value}) for kind, values in several.items() for value in values]
    return list(dict.fromkeys(settings or [base]))


def evaluate(
    benchmark: Benchmark,
    settings: Sequence[Setting],
    estimator: Estimator,
    *,
    limit: int | None = None,
    disturbance: Disturbance | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Run]:
    """Score an estimator; Ctrl-C ends the evaluation and keeps the finished images.

    Args:
        benchmark: the set.
        settings: of the stacks, one run each.
        estimator: to be scored.
        limit: number of images, from the first; None for all.
        disturbance: applied to every stack.
        progress: called after each stack with the name of its image.

    Raises:
        InputError: the data is incomplete, does not have a setting, or is refused by the estimator.
    """
    disturbance = disturbance or Disturbance()
    for setting in settings:
        benchmark.check(setting)
    images: list[dict[str, dict[str, float]]] = [{} for _ in settings]
    pools: list[list[np.ndarray]] = [[] for _ in settings]
    interrupted = False
    try:
        for index, name in enumerate(benchmark.names[:limit]):
            for setting, figures, pool in zip(settings, images, pools, strict=True):
                sample = benchmark.sample(index, setting)
                if sample is not None:
                    sample = disturbance.apply(sample, index)
                    began = time.perf_counter()
                    result = estimate(estimator, sample)
                    seconds = time.perf_counter() - began
                    found, truth = scored(benchmark, result.depth, sample.truth)
                    pool.append(ranked_pixels(found, truth, result.confidence))
                    figures[name] = {**depth_metrics(found, truth), "seconds": seconds}
                progress(name)
    except KeyboardInterrupt:
        if not all(images):
            raise
        interrupted = True  # the finished images may have taken hours
    runs = []
    for setting, figures, pool in zip(settings, images, pools, strict=True):
        if not figures:
            raise InputError(f"No image of {benchmark.title} has {setting.planes} planes; give fewer.")
        extra = {KEY: coverage_curve(pool).as_dict()} | ({INTERRUPTED: True} if interrupted else {})
        runs.append(Run(setting.as_dict() | disturbance.as_dict(), figures, extra))
    return runs


def estimate(estimator: Estimator, sample: Sample) -> DepthMap:
    """Estimate the depth of a sample, from its planes before rounding if it has them."""
    if sample.unrounded is None:
        return rectified(estimator.estimate(sample.stack), sample.stack)
    return estimator.estimate_unrounded(sample.stack, sample.unrounded)


def scored(benchmark: Benchmark, depth: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is compared: depth and truth, or their disparity, as the set defines."""
    if benchmark.in_disparity:
        return benchmark.disparity(depth), benchmark.disparity(truth)
    return depth, truth
