"""Hold the confidence of an estimator against the share of pixels that are right, on stacks with known depth.

    python benchmarks/confidence.py --data stacks:validation --data photographs:rgbd --model classical --picture out.png

Every stack weighs the same. A pixel is right if its relative error is below 10 %; confidence is to be the probability
of that. AbsRel follows by decile of confidence, and by how much defocus there is to tell depth by: the blur of a
surface in the plane where it is largest. ``--stated`` shows the confidence before it was calibrated, from which the
curve of the estimator was read.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from confidence_sets import samples

from fossa_ros.commands.evaluate import make_estimator
from fossa_ros.core import optics
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.calibration_curve import CLOSE, CalibrationCurve

BINS = np.linspace(0, 1, 11)
LIMITS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BLURS = (0.5, 1.0, 2.0, 4.0, 8.0)  # px; between the bins
IDENTITY = CalibrationCurve((0.0, 1.0), (0.0, 1.0))


def measured(estimator, kind: str, folder: str) -> tuple[np.ndarray, ...]:
    """Return confidence, relative error, weight and largest blur of every pixel with known and estimated depth."""
    parts = []
    for _, stack, truth in samples(kind, folder):
        found = estimator.estimate(stack)
        known = np.isfinite(truth) & (truth > 0)
        both = known & np.isfinite(found.depth)
        error = np.abs(found.depth[both] / truth[both] - 1)
        weight = np.full(error.shape, 1 / known.sum())
        parts.append((found.confidence[both], error, weight, largest_blur(stack, truth[both])))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def largest_blur(stack: FocusStack, depth: np.ndarray) -> np.ndarray:
    """Return the blur radius (px) of each of (M,) depths in the plane where it is largest; NaN without a known lens."""
    if stack.K is None or stack.focal_length is None or stack.f_number is None:
        return np.full(depth.shape, np.nan)
    pitch = optics.pixel_size(stack.focal_length, stack.K[0, 0])
    focus = stack.focus_distances[:, None]
    return optics.blur_radius(depth, focus, stack.focal_length, stack.f_number, pitch).max(axis=0)


def print_bins(what: str, number: np.ndarray, labels: list[str], weight: np.ndarray, error: np.ndarray) -> None:
    """Print the AbsRel and the share of the pixels of each bin."""
    share = np.bincount(number, weight, len(labels))
    rel = np.bincount(number, weight * error, len(labels)) / np.maximum(share, 1e-12)
    for label, part, each in zip(labels, share, rel, strict=True):
        if part > 1e-4:
            print(f"  {what} {label}: AbsRel {each:.3f}, {100 * part:5.1f} % of the pixels")


@click.command()
@click.option(
    "--data",
    "sets",
    multiple=True,
    required=True,
    help="KIND:DIR, a set of fossa evaluate; repeatable.",
)
@click.option("--model", type=click.Choice(["classical", "lens_aware"]), default="classical", show_default=True)
@click.option("--stated", is_flag=True, help="Show the confidence before calibration.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the reliability diagram.")
def main(sets, model, stated, picture):
    """Print expected calibration error, reliability, and what limits of confidence leave."""
    if stated:
        from fossa_ros.estimators.classical import estimator as classical
        from fossa_ros.estimators.lens_aware import estimator as lens_aware

        classical.CALIBRATION = lens_aware.CALIBRATION = IDENTITY
    estimator, _ = make_estimator(model, None, None if model == "classical" else "cpu", None)
    curves = {}
    for name in sets:
        kind, _, folder = name.partition(":")
        confidence, error, weight, blur = measured(estimator, kind, folder)
        weight = weight / weight.sum()
        number = np.clip(np.digitize(confidence, BINS) - 1, 0, len(BINS) - 2)
        share = np.bincount(number, weight, len(BINS) - 1)
        mean = np.bincount(number, weight * confidence, len(BINS) - 1) / np.maximum(share, 1e-12)
        right = np.bincount(number, weight * (error < CLOSE), len(BINS) - 1) / np.maximum(share, 1e-12)
        print(f"{name}: expected calibration error {np.sum(share * np.abs(mean - right)):.3f}")
        for i in np.flatnonzero(share > 1e-4):
            print(f"  confidence {mean[i]:.3f}: {100 * right[i]:5.1f} % right, {100 * share[i]:5.1f} % of the pixels")
        for limit in LIMITS:
            kept = confidence >= limit
            left = weight[kept].sum()
            within = (weight[kept] * (error[kept] < 0.25)).sum() / left
            rel = (weight[kept] * error[kept]).sum() / left
            print(f"  from {limit}: {100 * left:5.1f} % left, {100 * within:.1f} % within 25 %, AbsRel {rel:.3f}")
        ascending = np.argsort(confidence, kind="stable")
        decile = np.empty(len(weight), np.int64)
        decile[ascending] = np.minimum(10 * np.cumsum(weight[ascending]), 9).astype(np.int64)
        print_bins("decile of confidence", decile, [str(i + 1) for i in range(10)], weight, error)
        if np.isfinite(blur).all():
            edges = [f"{low:g} to {high:g} px" for low, high in pairwise((0.0, *BLURS))] + [f"above {BLURS[-1]:g} px"]
            print_bins("largest blur", np.digitize(blur, BLURS), edges, weight, error)
        curves[kind] = mean, right, share
    if picture is not None:
        draw(curves, model, picture)


def draw(curves: dict, model: str, path: Path) -> None:
    """Draw the share of right pixels against confidence; the area of a point is its share of the pixels."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4.2), layout="constrained")
    axes.plot((0, 1), (0, 1), color="0.7", linewidth=1)
    for name, (mean, right, share) in curves.items():
        there = share > 1e-3
        axes.plot(mean[there], right[there], linewidth=1)
        axes.scatter(mean[there], right[there], 600 * share[there], label=name, alpha=0.7)
    axes.set(xlabel="confidence", ylabel="share within 10 %", xlim=(0, 1), ylim=(0, 1.02), title=model)
    axes.legend(loc="upper left", markerscale=0.4)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
