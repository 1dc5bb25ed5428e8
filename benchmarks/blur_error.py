"""Measure the precision of blur estimates: the depth error in dioptres times the blur per dioptre, on rendered scenes.

``fossa range`` predicts resolution from one number, the standard deviation of an estimated blur diameter in pixels.
This benchmark measures that number for an estimator, at several apertures, to check that one number fits all of them.
It uses only pixels whose depth lies between the nearest and the farthest plane.
"""

from __future__ import annotations

import argparse

import numpy as np

from fossa_ros.core import optics
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack

NEAR, FAR = 0.35, 6.0  # m


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--planes", type=int, default=5)
    parser.add_argument("--height", type=int, default=300, help="of the images, px")
    parser.add_argument("--f-numbers", type=float, nargs="+", default=[1.4, 2.0, 2.8])
    parser.add_argument("--estimator", default="classical")
    options = parser.parse_args()
    estimator = create_estimator(options.estimator)
    focus = optics.dioptre_space(NEAR, FAR, options.planes).tolist()
    size = {"width": options.height * 4 // 3, "height": options.height, "fx": 1.25 * options.height}
    for f_number in options.f_numbers:
        camera = SimulatedCamera(**size, f_number=f_number)
        scale = optics.blur_per_dioptre(1.0, camera.focal_length, f_number, camera.pixel_size)
        errors = []
        for scene in range(options.scenes):
            stack, truth = render_stack(scene, camera, focus, rng=scene, workers=2)
            depth = estimator.estimate(stack).depth
            known = np.isfinite(depth) & (truth > NEAR) & (truth < FAR)
            errors.append(np.abs(1 / depth[known] - 1 / truth[known]) * scale)
        half, most, nearly_all = np.quantile(np.concatenate(errors), [0.5, 0.68, 0.9])
        print(
            f"F/{f_number:g}, {scale:.2f} px per dioptre: within {half:.2f} px (half), {most:.2f} px (68 %), "
            f"{nearly_all:.2f} px (90 % of the pixels)",
            flush=True,
        )


if __name__ == "__main__":
    main()
