"""Accuracy and time of the classical estimator on rendered focus stacks.

Every scene is rendered through a thin lens of 12 mm F/1.4 (fx 600 px, blur 5.1 px per dioptre) with sensor noise, at
planes evenly spaced in dioptres. AbsRel counts all pixels whose true depth is known and that have a depth.

    python benchmarks/classical.py --seeds 8 --planes 3 5 9
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fossa_ros.classical import ClassicalEstimator
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.optics import dioptre_space
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.scenes import make_scene
from fossa_ros.simulation.stack_renderer import render_stack

FIGURES = ("abs_rel", "rmse", "delta_1.05", "delta_1.25", "coverage")
TENTHS = np.linspace(0.0, 1.0, 11)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="scenes 0 .. SEEDS-1")
    parser.add_argument("--planes", type=int, nargs="+", default=[3, 5, 9], help="numbers of planes")
    parser.add_argument("--near", type=float, default=0.35, help="nearest focus distance, m")
    parser.add_argument("--far", type=float, default=6.0, help="farthest focus distance, m")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs a stack")
    arguments = parser.parse_args()
    console, estimator = Console(), ClassicalEstimator()
    for count in arguments.planes:
        known, unknown, times, errors, confidences = [], [], [], [], []
        table = Table("scene", *FIGURES, title=f"{count} planes, {arguments.near:g} to {arguments.far:g} m, 640x480")
        for seed in track(range(arguments.seeds), f"{count} planes", console=console, transient=True):
            distances = dioptre_space(arguments.near, arguments.far, count)
            stack, truth = render_stack(seed, SimulatedCamera(), distances, rng=seed, workers=2)
            result = estimator.estimate(stack)
            known.append(depth_metrics(result.depth, truth))
            table.add_row(make_scene(seed).name, *(f"{known[-1][figure]:.4f}" for figure in FIGURES))
            blind = dataclasses.replace(stack, f_number=None, focal_length=None)
            unknown.append(depth_metrics(estimator.estimate(blind).depth, truth))
            has_both = np.isfinite(result.depth) & np.isfinite(truth)
            errors.append(np.abs(result.depth - truth)[has_both] / truth[has_both])
            confidences.append(result.confidence[has_both])
            for _ in range(arguments.repeats):
                began = time.perf_counter()
                estimator.estimate(stack)
                times.append(1e3 * (time.perf_counter() - began))
        table.add_section()
        for name, metrics in (("mean", known), ("lens not known", unknown)):
            table.add_row(name, *(f"{mean_metrics(metrics)[figure]:.4f}" for figure in FIGURES))
        console.print(table)
        error, confidence = np.concatenate(errors), np.concatenate(confidences)
        tenth = np.searchsorted(np.quantile(confidence, TENTHS[1:-1]), confidence)
        by_confidence = " ".join(f"{error[tenth == k].mean():.3f}" for k in range(10))
        console.print(f"AbsRel by tenths of confidence, least first: {by_confidence}")
        console.print(f"time: p50 {np.quantile(times, 0.5):.0f} ms, p95 {np.quantile(times, 0.95):.0f} ms\n")


if __name__ == "__main__":
    main()
