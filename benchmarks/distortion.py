"""Depth through lenses with distortion, compared with depth of the same scenes without.

    python benchmarks/distortion.py --scenes 8

Every scene is rendered without distortion and through each lens; depth is estimated in the raw images and brought to
the rectified view. AbsRel is compared where both have depth; the lateral error is that of the all-in-focus image in the
four corners, in millimetres per metre of distance.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import click
import cv2
import numpy as np

from fossa_ros.core.optics import dioptre_space
from fossa_ros.core.rectified import rectified
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack

LENSES = {
    "barrel": ("plumb_bob", (-0.35, 0.12, 0.001, -0.001, 0.0)),
    "pincushion": ("plumb_bob", (0.2, -0.03, 0.0, 0.0, 0.0)),
    "rational": ("rational_polynomial", (0.4, -0.1, 0.001, -0.002, 0.02, 0.7, 0.05, 0.01)),
    "fisheye": ("equidistant", (-0.02, 0.01, -0.003, 0.001)),
}
CORNER = 64  # px: side of the square in which images are registered


def lateral_error(image: np.ndarray, expected: np.ndarray, known: np.ndarray, fx: float) -> float:
    """Return the largest displacement (mm per metre) of an image in its corners; NaN where no corner is known."""
    height, width = known.shape
    gray = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (expected, image)]
    window = cv2.createHanningWindow((CORNER, CORNER), cv2.CV_32F)
    errors = [np.nan]
    for top, left in product((0, height - CORNER), (0, width - CORNER)):
        corner = slice(top, top + CORNER), slice(left, left + CORNER)
        if known[corner].all():
            shift, _ = cv2.phaseCorrelate(gray[0][corner], gray[1][corner], window)
            errors.append(float(np.hypot(*shift)) / fx * 1e3)
    return float(np.fmax.reduce(errors))


@click.command()
@click.option("--scenes", default=8, show_default=True, help="Number of scenes.")
@click.option("--estimator", default="classical", show_default=True)
@click.option("--width", default=480, show_default=True, help="Of the images, px.")
@click.option("--lens", "lenses", multiple=True, type=click.Choice(list(LENSES)), help="Default: all.")
def main(scenes: int, estimator: str, width: int, lenses: tuple[str, ...]) -> None:
    """Print AbsRel with and without distortion, and the lateral error, for each lens."""
    cv2.setNumThreads(1)
    plain = SimulatedCamera(width=width, height=width * 3 // 4, fx=width * 15 / 16)
    focus, made = dioptre_space(0.35, 6.0, 5), create_estimator(estimator)
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in lenses or LENSES}
    for scene in range(scenes):
        stack, truth = render_stack(scene, plain, focus, rng=1)
        expected = made.estimate(stack)
        for name, rows in found.items():
            model, coefficients = LENSES[name]
            raw, _ = render_stack(scene, replace(plain, distortion_model=model, distortion=coefficients), focus, rng=1)
            depth = rectified(made.estimate(raw), raw)
            known = np.isfinite(depth.depth)
            errors = [
                depth_metrics(np.where(known, each.depth, np.nan), truth)["abs_rel"] for each in (expected, depth)
            ]
            lateral = lateral_error(depth.all_in_focus, expected.all_in_focus, known, plain.fx)
            rows.append((*errors, known.mean(), lateral))
            print(f"scene {scene} {name}: AbsRel {errors[0]:.4f} {errors[1]:.4f}, {lateral:.2f} mm/m", flush=True)
    print("| lens | AbsRel without | AbsRel with | ratio | known | lateral, mm per m: median, largest |")
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        without, through, known, _ = np.mean(rows, axis=0)
        lateral = [row[3] for row in rows if np.isfinite(row[3])]
        shown = f"{np.median(lateral):.2f}, {max(lateral):.2f}" if lateral else "no corner seen"
        print(f"| {name} | {without:.4f} | {through:.4f} | {through / without:.3f} | {known:.1%} | {shown} |")


if __name__ == "__main__":
    main()
