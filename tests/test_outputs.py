"""Only what somebody subscribes to is made, and an estimator that is slow holds nobody up."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from fossa_ros.core.geometry import coloured_cloud
from fossa_ros.core.stack import DepthMap
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.lens import open_lens
from fossa_ros.messages.compressed_images import compressed_colour_fields, compressed_depth_fields
from fossa_ros.messages.fields import cloud_fields
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.worker import DepthWorker
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import build_message, depth_image, image_message
from fossa_ros.ros.outputs import Outputs
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.rig import RigConfig, SimulatedRig
from fossa_ros.sweep import CapturedSweep, Frame, SweepCapture, SweepDecoder, SweepPlan, SweepTiming

K = np.array([[50.0, 0, 4.0], [0, 50.0, 3.0], [0, 0, 1]])
SHARP = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEPTH = np.where(np.eye(6, 8) > 0, np.nan, 1.5).astype(np.float32)


def result(composed: list) -> SweepResult:
    """A sweep with depth; ``composed`` grows when its all-in-focus image is made."""
    info = CameraInfo(header=Header(frame_id="optical"), width=8, height=6, k=K.ravel().tolist())
    sweep = CapturedSweep(0, None, "", (), (5,), (Frame(5, 5, None, (), Image(), info),), {}, 0, 0)

    def compose():
        composed.append(1)
        return SHARP

    return SweepResult(sweep, "still", depth=DepthMap(DEPTH, np.ones_like(DEPTH), compose, K, 5))


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = LifecycleNode("publishing", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ("topic", "kind", "made"),
    [
        (None, None, 0),
        ("depth/image", Image, 0),
        ("confidence/image", Image, 0),
        ("all_in_focus/image", Image, 1),
        ("points", PointCloud2, 1),
        ("depth/image/compressedDepth", CompressedImage, 0),
        ("all_in_focus/image/compressed", CompressedImage, 1),
    ],
)
def test_the_all_in_focus_image_is_made_only_for_who_sees_it(node, topic, kind, made):
    node, executor = node
    outputs, heard, composed = Outputs(node, ResultFormat()), [], []
    node.trigger_configure()
    node.trigger_activate()
    if topic is not None:
        node.create_subscription(kind, topic, heard.append, qos.RESULTS)
        publisher = next(one for one in outputs._publishers.values() if one.topic_name == f"/{topic}")
        _until(lambda: publisher.get_subscription_count() == 1)
    for _ in range(2):
        outputs.publish(result(composed))
    assert len(composed) == 2 * made
    if topic is not None:
        _until(lambda: executor.spin_once(timeout_sec=0.05) or len(heard) == 2)
    header = Header(stamp=Time(nanosec=5), frame_id="optical")
    expected = {
        "depth/image": lambda: depth_image(DEPTH, "32FC1", header),
        "confidence/image": lambda: image_message(np.ones_like(DEPTH), "32FC1", header),
        "all_in_focus/image": lambda: image_message(SHARP, "rgb8", header),
        "points": lambda: cloud_message(coloured_cloud(DEPTH, K, SHARP), header),
        "depth/image/compressedDepth": lambda: compressed(compressed_depth_fields(DEPTH, "32FC1"), header),
        "all_in_focus/image/compressed": lambda: compressed(compressed_colour_fields(SHARP, 95), header),
    }
    assert all(same(message, expected[topic]()) for message in heard)


def cloud_message(points, header):
    return build_message(PointCloud2, {"header": header, **cloud_fields(points)})


def compressed(fields, header):
    return build_message(CompressedImage, {"header": header, **fields})


def same(one, other) -> bool:
    """Compare two messages; NaN is among the bytes of their data, and equal."""
    return all(getattr(one, field) == getattr(other, field) for field in one.get_fields_and_field_types())


class Slow(Estimator):
    """The classical estimator, which does not begin until it is let."""

    name = "slow"

    def __init__(self):
        self._estimator = create_estimator("classical")
        self.may = threading.Semaphore(0)
        self.begun = []

    def estimate(self, stack):
        self.begun.append(stack.stamp_ns)
        assert self.may.acquire(timeout=60)
        return self._estimator.estimate(stack)


@pytest.mark.real_time
def test_a_slow_estimator_delays_no_capture_and_works_on_nothing_that_is_old():
    camera = SimulatedCamera(width=96, height=72, fx=90.0)
    rig = SimulatedRig(RigConfig(camera=camera, rate=60.0, exposure=0.004), lambda frame: on_frame(frame))
    sweeps, results, slow = [], [], Slow()
    worker = DepthWorker(MotionCheck(MotionConfig(accept_unknown=True)), slow, results.append)

    def on_sweep(sweep):
        sweeps.append(sweep)
        worker.submit(sweep)

    capture = SweepCapture(
        SweepPlan.evenly(0.35, 6.0, 3),
        SweepTiming(settling_ns=18_000_000, exposure_ns=4_000_000),
        lambda: open_lens("optotune_ld4", rig.port, power_offset=2.0),
        SweepDecoder(lambda frame: frame.image, focal_length=camera.focal_length, f_number=camera.f_number),
        on_sweep,
    )

    def on_frame(frame):
        intrinsics = tuple(camera.K.ravel())
        capture.add_frame(Frame(frame.stamp_ns, time.time_ns(), frame.image.shape, intrinsics, frame.image))

    try:
        rig.start()
        worker.start()
        capture.start()
        newest = []
        for index in range(3):  # each estimate lasts for eight sweeps
            _until(lambda index=index: len(slow.begun) == index + 1)
            seen = len(sweeps)
            _until(lambda seen=seen: len(sweeps) >= seen + 8)
            newest.append(sweeps[-1].number)
            slow.may.release()
        _until(lambda: len(slow.begun) == 4)
        slow.may.release()
        capture.close()
    finally:
        rig.close()
    slow.may.release()
    worker.stop()
    assert sorted(one.sweep.number for one in results) == [sweep.number for sweep in sweeps], "one result each"
    estimated = [one.sweep for one in results if one.inference_ms > 0]
    assert [sweep.stack.stamp_ns for sweep in estimated] == slow.begun
    # What is begun next was among the newest: one may be at its motion check, and one may have been no stack.
    for ready, sweep in zip(newest, estimated[1:], strict=False):
        assert sweep.number >= ready - 3
    assert len(results) > 3 * len(estimated)


def _until(condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
