"""From a focus stack on disk to depth on disk: what ``fossa predict`` does."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np

from fossa_ros.atomic import replacing_files
from fossa_ros.estimator import Estimator
from fossa_ros.geometry import coloured_cloud, write_ply
from fossa_ros.pictures import confidence_picture, depth_picture, write_png
from fossa_ros.resampling import enlarge_depth, shrink_stack
from fossa_ros.stack import DepthMap
from fossa_ros.stack_files import StackFile

OUTPUTS = ("depth.npy", "depth.png", "all_in_focus.png", "confidence.png", "cloud.ply", "metrics.json")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What an estimator made of one stack.

    Attributes:
        depth: (H, W) float32 metres at the size of the input's images, NaN where unknown.
        depth_map: the estimate at the size it was made.
        seconds: time the estimator took.
    """

    depth: np.ndarray
    depth_map: DepthMap
    seconds: float


def predict(source: StackFile, estimator: Estimator, max_size: int = 0) -> Prediction:
    """Estimate the depth of a stack at a working size, its long edge at most ``max_size`` px (0: as it is).

    Raises:
        InputError: the estimator needs something that the stack does not have.
    """
    stack = shrink_stack(source.stack, max_size)
    began = time.perf_counter()
    depth_map = estimator.estimate(stack)
    seconds = time.perf_counter() - began
    return Prediction(enlarge_depth(depth_map.depth, source.stack.size), depth_map, seconds)


def write_outputs(folder, prediction: Prediction, metrics: dict[str, float] | None = None) -> list[str]:
    """Write a prediction's files to ``folder``, all of them or none; return their names.

    ``cloud.ply`` needs intrinsics and ``metrics.json`` metrics; where this run lacks one, that of an earlier
    run is removed.

    Raises:
        InputError: the folder cannot be written.
    """
    depth_map = prediction.depth_map
    with replacing_files(folder, outdated=OUTPUTS) as partial:
        np.save(partial / "depth.npy", prediction.depth)
        write_png(partial / "depth.png", depth_picture(depth_map.depth))
        write_png(partial / "all_in_focus.png", depth_map.all_in_focus)
        write_png(partial / "confidence.png", confidence_picture(depth_map.confidence))
        if depth_map.K is not None:
            write_ply(
                partial / "cloud.ply", coloured_cloud(depth_map.depth, depth_map.K, depth_map.all_in_focus)
            )
        if metrics is not None:
            (partial / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        return [name for name in OUTPUTS if (partial / name).exists()]
