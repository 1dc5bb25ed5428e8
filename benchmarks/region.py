"""Depth of a region of interest, compared with the same part of the depth of the whole view, and its cost.

    python benchmarks/region.py --scenes 4

Rendered scenes of five planes. AbsRel is that within the region, where both have depth; the time is that of the
estimate, one thread.
"""

from __future__ import annotations

from dataclasses import replace

import click
import cv2
import numpy as np

from fossa_ros.core.optics import dioptre_space
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.region import Region
from fossa_ros.pipeline.steps import check_focus, check_motion, estimate_depth
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import CapturedSweep

REPEATS = 3


@click.command()
@click.option("--scenes", default=4, show_default=True, help="Number of scenes.")
@click.option("--width", default=640, show_default=True, help="Of the images, px.")
@click.option("--distortion", is_flag=True, help="A barrel lens; the images are raw.")
@click.option("--estimator", "names", multiple=True, default=("classical", "fossa"), show_default=True)
def main(scenes: int, width: int, distortion: bool, names: tuple[str, ...]) -> None:
    """Print AbsRel and known pixels with and without a region, and the time of both."""
    cv2.setNumThreads(1)
    height = width * 3 // 4
    camera = SimulatedCamera(width=width, height=height, fx=width * 15 / 16)
    if distortion:
        camera = replace(camera, distortion_model="plumb_bob", distortion=(-0.35, 0.12, 0.001, -0.001, 0.0))
    focus = dioptre_space(0.35, 6.0, 5)
    regions = {
        "middle": Region(width // 3, height // 3, width // 3, height // 3),
        "corner": Region(0, 0, width // 3, height // 3),
    }
    print("| estimator | region | AbsRel whole | AbsRel region | known whole | known region | ms whole | ms region |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        made = create_estimator(name)
        rows: dict[str, list[tuple[float, ...]]] = {place: [] for place in regions}
        for scene in range(scenes):
            stack, truth = render_stack(scene, camera, focus, rng=1)

            def depth_of(region: Region, stack=stack, made=made):
                sweep = CapturedSweep(0, stack, "", (), (), (), {}, 0, 0)
                best = np.inf
                for _ in range(REPEATS):
                    checked = check_focus(check_motion(sweep, MotionCheck()))
                    result = estimate_depth(checked, made, limits=DepthLimits(), region=region)
                    best = min(best, result.inference_ms)
                return result, best

            whole, whole_ms = depth_of(Region())
            for place, region in regions.items():
                cut, cut_ms = depth_of(region)
                if cut.depth is None or whole.depth is None:
                    print(f"scene {scene} {place}: {cut.verdict} {cut.reason} {whole.reason}")
                    continue
                there = cut.window.cut(whole.depth.depth)
                known = np.isfinite(there), np.isfinite(cut.depth.depth)
                both = known[0] & known[1]
                errors = [
                    depth_metrics(np.where(both, each, np.float32(np.nan)), cut.seen(truth))["abs_rel"]
                    for each in (there, cut.depth.depth)
                ]
                rows[place].append((*errors, known[0].mean(), known[1].mean(), whole_ms, cut_ms))
        for place, found in rows.items():
            a, b, c, d, e, f = np.mean(found, axis=0)
            print(f"| {name} | {place} | {a:.4f} | {b:.4f} | {c:.1%} | {d:.1%} | {e:.0f} | {f:.0f} |", flush=True)


if __name__ == "__main__":
    main()
