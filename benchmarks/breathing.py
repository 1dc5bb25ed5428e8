"""What focus breathing costs, and what its calibration gives back: AbsRel with 2 % of it, on rendered scenes.

Every stack is rendered three times from the same scene: by a lens that does not breathe, and by one that does, whose
planes are then used as they are, or resampled by a calibration that the rig's own procedure measured (images of a
flat target, not the law of the renderer). Each goes through the motion check, as in the node.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from fossa_ros.calibration.breathing_correction import resample_to_reference
from fossa_ros.calibration.calibrate import calibrate
from fossa_ros.calibration.live import CalibratedDevice
from fossa_ros.commands.calibrate_demo import errors, record_demo
from fossa_ros.core.optics import dioptre_space
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.target_rig import TargetRigConfig

REFERENCE_D = 2.0
OVER_D = 5.0  # the range of focus over which the image grows by the stated share


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--breathing", type=float, default=0.02, help="growth of the image over the lens's range")
    parser.add_argument("--planes", type=int, default=5)
    parser.add_argument("--size", type=int, default=480, help="height of the images, px")
    parser.add_argument("--estimator", default="classical")
    options = parser.parse_args()
    size = {"width": options.size * 4 // 3, "height": options.size, "fx": 1.25 * options.size}
    still = SimulatedCamera(**size)
    breathing = replace(still, breathing_length=options.breathing / OVER_D)
    config = replace(TargetRigConfig(), camera=breathing, reference_power=REFERENCE_D)
    with tempfile.TemporaryDirectory() as folder:
        _, series = record_demo(Path(folder) / "rig", config)
        device = CalibratedDevice("optotune_ld4", "rig", "current", "mA", -292.84, 292.84)
        made = calibrate(series, device, reference_distance=1 / REFERENCE_D)
    print("calibration off by {:.4f} D and {:.4%} of scale".format(*errors(config, made, 25.0)))
    estimator = create_estimator(options.estimator)
    # The reference focus is one of the planes, so that the truth holds for all three.
    focus = sorted({*dioptre_space(0.35, 6.0, options.planes - 1).tolist(), 1 / REFERENCE_D})
    reference = focus.index(1 / REFERENCE_D)
    rows = {"no breathing": [], "uncorrected": [], "corrected": []}
    verdicts = {name: [] for name in rows}
    for scene in range(options.scenes):
        stacks = {}
        plain, truth = render_stack(scene, still, focus, rng=scene, reference=reference, workers=2)
        breathes, _ = render_stack(scene, breathing, focus, rng=scene, reference=reference, workers=2)
        stacks["no breathing"] = plain, None
        stacks["uncorrected"] = breathes, None
        stacks["corrected"] = resample_to_reference(breathes, made.calibration.breathing)
        for name, (stack, valid) in stacks.items():
            checked = MotionCheck(MotionConfig()).check(stack)
            verdicts[name].append(checked.verdict)
            rows[name].append(depth_metrics(estimator.estimate(checked.stack or stack).within(valid).depth, truth))
        print(scene, *(f"{name}: {rows[name][-1]['abs_rel']:.4f}" for name in rows), flush=True)
    for name, results in rows.items():
        words = ", ".join(f"{key} {np.mean([each[key] for each in results]):.4f}" for key in ("abs_rel", "delta_1.25"))
        print(f"{name}: {words}; {', '.join(f'{verdicts[name].count(v)} {v}' for v in sorted(set(verdicts[name])))}")


if __name__ == "__main__":
    main()
