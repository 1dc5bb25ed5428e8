"""What each result costs to make, and how many bytes it is on the wire, for one sweep of a rendered scene.

    python benchmarks/outputs.py

The time is that of the processor, the least of several, with one thread: what the node adds is in node_overhead.py.
"""

from __future__ import annotations

import time

import click
import cv2
import numpy as np

from fossa_ros.core.optics import dioptre_space
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.messages import topics
from fossa_ros.pipeline.cloud import CloudConfig
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.result_messages import result_messages
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import CapturedSweep

FORMATS = {
    "default": (ResultFormat(), (topics.DEPTH, topics.ALL_IN_FOCUS, *topics.COMPRESSED_RESULTS, topics.POINTS)),
    "depth.encoding 16UC1": (ResultFormat(depth_encoding="16UC1"), (topics.DEPTH, topics.COMPRESSED_DEPTH)),
    "depth.compression rvl": (ResultFormat(depth_compression="rvl"), (topics.COMPRESSED_DEPTH,)),
    "depth.encoding 16UC1, depth.compression rvl": (
        ResultFormat(depth_encoding="16UC1", depth_compression="rvl"),
        (topics.COMPRESSED_DEPTH,),
    ),
    "points.stride 2": (ResultFormat(points=CloudConfig(stride=2)), (topics.POINTS,)),
    "points.stride 4": (ResultFormat(points=CloudConfig(stride=4)), (topics.POINTS,)),
    "points.dense": (ResultFormat(points=CloudConfig(dense=True)), (topics.POINTS,)),
    "points.confidence": (ResultFormat(points=CloudConfig(confidence=True)), (topics.POINTS,)),
    "points.voxel 0.02": (ResultFormat(points=CloudConfig(voxel=0.02)), (topics.POINTS,)),
    "points.stride 2, voxel 0.02": (ResultFormat(points=CloudConfig(stride=2, voxel=0.02)), (topics.POINTS,)),
    "points.stride 2, voxel 0.05": (ResultFormat(points=CloudConfig(stride=2, voxel=0.05)), (topics.POINTS,)),
    "all_in_focus.jpeg_quality 80": (ResultFormat(jpeg_quality=80), (topics.COMPRESSED_ALL_IN_FOCUS,)),
}


@click.command()
@click.option("--width", default=1280, show_default=True, help="Of the images, px.")
@click.option("--scene", default=3, show_default=True, help="Seed of the scene.")
@click.option("--repeat", default=7, show_default=True)
def main(width: int, scene: int, repeat: int) -> None:
    """Print a table."""
    cv2.setNumThreads(1)
    camera = SimulatedCamera(width=width, height=width * 3 // 4, fx=width * 15 / 16)
    stack, _ = render_stack(scene, camera, dioptre_space(0.35, 6.0, 5), rng=1)
    depth = DepthLimits().apply(create_estimator("classical").estimate(stack))
    result = SweepResult(CapturedSweep(0, None, "", (), (0,), (), {}, 0, 0), "still", depth=depth)
    depth.all_in_focus  # noqa: B018  composed once, for all topics
    print(f"{np.isfinite(depth.depth).mean():.1%} of {depth.depth.shape} pixels have depth")
    print("| parameters | topic | MB | ms |\n|---|---|---|---|")
    for name, (form, shown) in FORMATS.items():
        for topic, fields in result_messages(result, form):
            if topic in shown:
                took = []
                for _ in range(repeat):
                    began = time.process_time()
                    made = fields()
                    took.append(time.process_time() - began)
                print(f"| {name} | `{topic.name}` | {len(made['data']) / 1e6:.2f} | {min(took) * 1e3:.1f} |")


if __name__ == "__main__":
    main()
