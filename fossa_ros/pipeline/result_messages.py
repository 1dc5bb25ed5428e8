"""The messages that the result of a sweep becomes: nodes publish them, bags hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fossa_ros.core.stack import DepthMap
from fossa_ros.messages import topics
from fossa_ros.messages.camera_info import CameraCalibration, rectified_info_fields
from fossa_ros.messages.compressed_images import compressed_colour_fields, compressed_depth_fields
from fossa_ros.messages.fields import (
    cloud_fields,
    depth_fields,
    depth_pixels,
    header_fields,
    image_fields,
    stamp_fields,
)
from fossa_ros.messages.topics import Topic
from fossa_ros.motion import debug_picture
from fossa_ros.pipeline.cloud import cloud_of
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat

Fields = dict[str, Any]


def result_messages(result: SweepResult, results: ResultFormat) -> Iterator[tuple[Topic, Callable[[], Fields]]]:
    """Yield the topics of a result, each with a function that returns the fields of its message.

    Nothing is computed until that function is called, so that a topic without subscribers costs nothing. The order is
    that of ``topics.RESULTS``.

    Args:
        result: of a sweep, with depth or without.
        results: how they are written.
    """
    header = _header(result)

    def stamped(topic: Topic, make: Callable[[], Fields]) -> tuple[Topic, Callable[[], Fields]]:
        return topic, lambda: {"header": header, **make()}

    if (depth := result.depth) is not None:
        encoding, quality = results.depth_encoding, results.jpeg_quality
        yield stamped(topics.DEPTH, lambda: depth_fields(depth.depth, encoding))
        K = depth.K
        if K is not None:
            yield stamped(topics.DEPTH_CAMERA_INFO, lambda: _camera_info(result, depth))
        yield stamped(topics.CONFIDENCE, lambda: image_fields(depth.confidence, "32FC1"))
        if K is not None:
            yield stamped(topics.CONFIDENCE_CAMERA_INFO, lambda: _camera_info(result, depth))
        yield stamped(topics.ALL_IN_FOCUS, lambda: image_fields(depth.all_in_focus, "rgb8"))
        if K is not None:
            yield stamped(topics.ALL_IN_FOCUS_CAMERA_INFO, lambda: _camera_info(result, depth))
            yield stamped(topics.POINTS, lambda: cloud_fields(cloud_of(depth, results.points)))
        yield stamped(
            topics.COMPRESSED_DEPTH,
            lambda: compressed_depth_fields(depth_pixels(depth.depth, encoding), encoding, results.depth_compression),
        )
        yield stamped(topics.COMPRESSED_ALL_IN_FOCUS, lambda: compressed_colour_fields(depth.all_in_focus, quality))
    if (motion := result.motion) is not None:
        yield stamped(topics.MOTION_DEBUG, lambda: image_fields(debug_picture(motion), "rgb8"))
    yield topics.SWEEP, lambda: report_fields(result)


def report_fields(result: SweepResult) -> Fields:
    """Return the fields of ``fossa_ros/SweepReport``."""
    sweep = result.sweep
    return {
        "header": _header(result),
        "sweep": sweep.number,
        "accepted": result.depth is not None,
        "verdict": str(result.verdict),
        "reason": result.reason,
        "motion_px": float(result.motion_px),
        "motion_uncertainty_px": float(result.motion.uncertainty_px) if result.motion else math.nan,
        "moving_share": float(result.motion.moving_share) if result.motion else math.nan,
        "focus_distances": np.array(sweep.focus_distances, np.float64),
        "stamps": [stamp_fields(stamp) for stamp in sweep.stamps_ns],
        "drop_reasons": list(sweep.drops),
        "drop_counts": np.array(list(sweep.drops.values()), np.uint32),
        "sweep_ms": sweep.duration_ns / 1e6,
        "motion_ms": float(result.motion_ms),
        "inference_ms": float(result.inference_ms),
        "age_ms": float(result.age_ms),
    }


def _camera_info(result: SweepResult, depth: DepthMap) -> Fields:
    """Return the camera_info of what is published: no distortion, and the size and K of the depth."""
    assert depth.K is not None
    camera = result.sweep.frames[0].intrinsics if result.sweep.frames else None
    baseline = camera.baseline() if isinstance(camera, CameraCalibration) else (0.0, 0.0)
    return rectified_info_fields(depth.K, depth.depth.shape, baseline)


def _header(result: SweepResult) -> Fields:
    info = result.sweep.camera_info
    return header_fields(result.stamp_ns, "" if info is None else info.header.frame_id)
