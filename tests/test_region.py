"""The region of interest: the same depth as in the whole view, published as that of a smaller camera."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import point_cloud
from fossa_ros.core.rectified import rectified
from fossa_ros.core.stack import DepthMap
from fossa_ros.estimators import Estimator
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.messages import topics
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.region import LEAST, MARGIN, Region, Window, cut_depth, cut_stack, surroundings
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.result_messages import result_messages
from fossa_ros.pipeline.steps import estimate_depth
from fossa_ros.pipeline.temporal_filter import TemporalConfig, TemporalFilter
from fossa_ros.pipeline.worker import DepthWorker
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import CapturedSweep

CAMERA = SimulatedCamera(width=320, height=240, fx=300.0)
BARREL = replace(CAMERA, distortion_model="plumb_bob", distortion=(-0.35, 0.12, 0.001, -0.001, 0.0))
FOCUS = [0.4, 0.6, 0.9, 1.5, 4.0]
ROI = Region(120, 90, 100, 80)


@cache
def rendered(camera=CAMERA):
    return render_stack(1, camera, FOCUS, rng=1, views=24)


def sweep_of(stack, number=0):
    return CapturedSweep(number, stack, "", (), (), (), {}, 0, 330_000_000)


def depth_of(stack, region=None, valid=None):
    result = SweepResult(sweep_of(stack), "still", stack=stack, valid=valid)
    return estimate_depth(result, ClassicalEstimator(), region=region)


@pytest.mark.parametrize("camera", [CAMERA, BARREL], ids=["rectified", "raw"])
@pytest.mark.parametrize(
    "region", [ROI, Region(0, 0, 96, 64), Region(240, 180)], ids=["middle", "corner", "to the edge"]
)
def test_depth_of_a_region_is_that_of_the_whole_view(camera, region):
    stack, truth = rendered(camera)
    whole, part = depth_of(stack), depth_of(stack, region)
    window = part.window
    expected, found = window.cut(whole.depth.depth), part.depth.depth
    assert found.shape == (region.height or 60, region.width or 80) and part.stamp_ns == whole.stamp_ns
    both = np.isfinite(expected) & np.isfinite(found)
    assert abs(np.isfinite(found).mean() - np.isfinite(expected).mean()) < 0.02
    difference = np.abs(found - expected)[both] / expected[both]
    assert np.median(difference) < 0.015  # the estimator weighs evidence over all of the image that it is given
    errors = [depth_metrics(np.where(both, each, np.nan), part.seen(truth))["abs_rel"] for each in (expected, found)]
    assert errors[1] < 1.1 * errors[0] + 0.005
    images = [whole.depth.all_in_focus, part.depth.all_in_focus]
    assert np.abs(window.cut(images[0]).astype(int) - images[1]).mean() < 2.0
    # The points lie where they lay: intrinsics and window agree.
    points = [point_cloud(each.depth.depth, each.depth.K) for each in (whole, part)]
    rays = [each[..., :2] / each[..., 2:] for each in (window.cut(points[0]), points[1])]
    np.testing.assert_allclose(rays[1][both], rays[0][both], atol=1e-5)


def test_work_is_done_only_there():
    class Watching(Estimator):
        name = "watching"

        def estimate(self, stack):
            self.stack = stack
            ones = np.ones(stack.size, np.float32)
            return DepthMap(ones, ones, self.image, stack.K, stack.stamp_ns)

        def image(self):
            return self.stack.planes[0].image

    stack, _ = rendered()
    estimator = Watching()
    valid = np.ones(stack.size, bool)
    valid[110:120, 150:160] = False
    result = SweepResult(sweep_of(stack), "masked", stack=stack, valid=valid)
    part = estimate_depth(result, estimator, region=Region(140, 100, 60, 40))
    seen = estimator.stack
    assert seen.size == (40 + 2 * MARGIN, 60 + 2 * MARGIN) and seen.cropped
    assert seen.K[0, 2] == stack.K[0, 2] - (140 - MARGIN) and seen.K[1, 2] == stack.K[1, 2] - (100 - MARGIN)
    assert np.array_equal(seen.planes[2].image, stack.planes[2].image[4:236, 44:296])
    assert np.isnan(part.depth.depth[10:20, 10:20]).all() and np.isfinite(part.depth.depth).sum() == 2400 - 100
    assert estimate_depth(result, estimator, region=Region()).window is None and estimator.stack is stack


def test_what_is_published_is_a_smaller_camera():
    stack, _ = rendered()
    part = depth_of(stack, ROI)
    sent = {topic: fields() for topic, fields in result_messages(part, ResultFormat())}
    for topic in (topics.DEPTH, topics.CONFIDENCE, topics.ALL_IN_FOCUS, topics.POINTS, topics.DEPTH_CAMERA_INFO):
        assert (sent[topic]["width"], sent[topic]["height"]) == (100, 80), topic
    info = sent[topics.DEPTH_CAMERA_INFO]
    K = info["k"].reshape(3, 3)
    assert np.array_equal(K, [[300, 0, stack.K[0, 2] - 120], [0, 300, stack.K[1, 2] - 90], [0, 0, 1]])
    assert np.array_equal(info["p"].reshape(3, 4)[:, :3], K) and not any(info["d"])
    # K is that of the window: with a roi, image_geometry would move it once more, and rtabmap not at all.
    assert not any(info["roi"].values()) and not info["binning_x"]


def test_a_region_that_is_not_in_the_images_is_a_sentence():
    for region in (Region(300, 0, 100, 0), Region(0, 0, 0, 241), Region(300)):
        with pytest.raises(InputError, match=r"^roi\.[xy] .* do not leave 32 px or more within images"):
            region.window((240, 320))
    failed = depth_of(rendered()[0], Region(10, 0, 320, 0))
    assert failed.verdict == "failed" and failed.depth is None
    assert failed.reason == (
        "roi.x 10 and roi.width 320 do not leave 32 px or more within images with a width of 320 px; correct them, "
        "or set all of roi to 0."
    )
    with pytest.raises(InputError, match=r"width must be within"):
        Region(width=-1)
    with pytest.raises(InputError, match=r"roi\.height must be 0 or at least 32 px, not 31; correct it\."):
        Region(height=LEAST - 1)


def test_surroundings_hold_all_raw_pixels_of_the_region():
    stack, _ = rendered(BARREL)
    for region in (Region(0, 0, 96, 64), Region(240, 180), ROI):
        window = region.window(stack.size)
        around = surroundings(window, stack)
        assert around.left <= window.left and around.top <= window.top
        part = rectified(_flat(cut_stack(stack, around)), cut_stack(stack, around))
        whole = rectified(_flat(stack), stack)
        cut = cut_depth(part, window.seen_from(around))
        np.testing.assert_array_equal(np.isnan(cut.depth), np.isnan(window.cut(whole.depth)))
    assert surroundings(Window(140, 100, 60, 40, (240, 320))).size == (40 + 2 * MARGIN, 60 + 2 * MARGIN)


def test_a_truth_of_another_size_is_no_truth():
    part = depth_of(rendered()[0], ROI)
    assert part.seen(np.ones((240, 320))).shape == (80, 100)
    assert part.seen(np.ones((480, 640))) is None and part.seen(np.ones((80, 100))) is None and part.seen(None) is None


def test_a_worker_changes_its_region_from_the_next_sweep_on():
    results, temporal = [], TemporalFilter(TemporalConfig())
    motion = MotionConfig(accept_unknown=True)
    worker = DepthWorker(MotionCheck(motion), ClassicalEstimator(), results.append, temporal=temporal, region=ROI)
    worker.start()
    for number, region in enumerate((ROI, Region(0, 0, 100, 80))):
        worker.reconfigure(motion, 0, TemporalConfig(), region=region)
        worker.submit(sweep_of(rendered()[0], number))
        deadline = time.monotonic() + 30
        while len(results) <= number and time.monotonic() < deadline:
            time.sleep(0.01)
    worker.stop()
    assert [result.window for result in results] == [
        Window(120, 90, 100, 80, (240, 320)),
        Window(0, 0, 100, 80, (240, 320)),
    ]
    assert [result.depth.depth.shape for result in results] == [(80, 100), (80, 100)]


def _flat(stack):
    ones = np.ones(stack.size, np.float32)
    return DepthMap(ones, ones, stack.planes[0].image, stack.K)
