"""A captured sweep as a message and back, through the bytes that DDS sends: nothing of it is lost."""

from __future__ import annotations

import array
from dataclasses import replace

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.factory import create_estimator
from fossa_ros.messages.camera_info import CameraCalibration
from fossa_ros.messages.fields import captured_sweep
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.motion import MotionCheck
from fossa_ros.msg import FocusStack as FocusStackMessage
from fossa_ros.pipeline.steps import check_motion, estimate_depth
from fossa_ros.ros.conversions import focus_stack_message, image_message, sweep_report, time_message
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import CapturedSweep, Frame, GyroSamples

CAMERA = SimulatedCamera(width=160, height=120, fx=150.0, breathing_length=0.004)
DISTANCES = (0.4, 0.8, 3.0)
START, PERIOD = 1_700_000_000_123_456_789, 66_666_667


@pytest.fixture(scope="module")
def sweep() -> CapturedSweep:
    """A sweep as SweepCapture hands it over: breathing, a gyroscope, dropped frames, stamps that mean arrival."""
    rendered, _ = render_stack(3, CAMERA, DISTANCES, rng=1, views=24)
    info = CameraInfo(width=CAMERA.width, height=CAMERA.height, k=CAMERA.K.ravel().tolist())
    info.header.frame_id = "optical"
    starts = [START + index * PERIOD for index in range(3)]
    messages = [
        image_message(plane.image, "rgb8", Header(stamp=time_message(start + 10_000_000), frame_id="optical"))
        for plane, start in zip(rendered.planes, starts, strict=True)
    ]
    planes = tuple(
        FocusPlane(rgb_from_message(message), distance, start)
        for message, distance, start in zip(messages, DISTANCES, starts, strict=True)
    )
    stamps = np.arange(START, START + 200_000_000, 5_000_000)
    scales = [CAMERA.K_at(distance, DISTANCES[1]) @ np.linalg.inv(CAMERA.K) for distance in DISTANCES]
    return CapturedSweep(
        number=41,
        stack=FocusStack(planes, CAMERA.K, CAMERA.f_number, CAMERA.focal_length),
        reason="",
        focus_distances=DISTANCES,
        stamps_ns=tuple(starts),
        frames=tuple(
            Frame(start, start, None, (), message, info) for start, message in zip(starts, messages, strict=True)
        ),
        drops={"exposed while the lens was settling": 3, "its stamp was seen before": 1},
        started_ns=START - 20_000_001,
        duration_ns=187_654_321,
        uncertainties=(0.0, 0.013, 0.0),
        gyro=GyroSamples(stamps, np.random.default_rng(2).normal(size=(40, 3))),
        breathing=np.array([(matrix[0, 0], matrix[0, 2], matrix[1, 2]) for matrix in scales]),
    )


def over_the_wire(sweep: CapturedSweep) -> CapturedSweep:
    return captured_sweep(deserialize_message(serialize_message(focus_stack_message(sweep)), FocusStackMessage))


def test_nothing_of_a_sweep_is_lost(sweep):
    again = over_the_wire(sweep)
    for name in ("number", "reason", "focus_distances", "stamps_ns", "drops", "started_ns", "duration_ns"):
        assert getattr(again, name) == getattr(sweep, name), name
    assert again.uncertainties == sweep.uncertainties
    np.testing.assert_array_equal(again.breathing, sweep.breathing)
    np.testing.assert_array_equal(again.gyro.stamps_ns, sweep.gyro.stamps_ns)
    np.testing.assert_array_equal(again.gyro.rates, sweep.gyro.rates)
    for plane, other in zip(again.stack.planes, sweep.stack.planes, strict=True):
        np.testing.assert_array_equal(plane.image, other.image)
        assert (plane.focus_distance, plane.stamp_ns) == (other.focus_distance, other.stamp_ns)
    np.testing.assert_array_equal(again.stack.K, sweep.stack.K)
    for name in ("f_number", "focal_length", "reference"):
        assert getattr(again.stack, name) == getattr(sweep.stack, name)


def test_depth_mask_and_report_are_those_of_the_sweep_itself(sweep):
    here, there = (
        estimate_depth(check_motion(one, MotionCheck()), create_estimator("classical"))
        for one in (sweep, over_the_wire(sweep))
    )
    assert here.verdict == "still" and here.depth is not None, here.reason
    np.testing.assert_array_equal(there.depth.depth, here.depth.depth)
    np.testing.assert_array_equal(there.depth.confidence, here.depth.confidence)
    np.testing.assert_array_equal(there.valid, here.valid)
    assert 0 < (~here.valid).sum() < 0.1 * here.valid.size  # the edge that a magnified plane did not see
    assert np.isnan(there.depth.depth[~here.valid]).all()
    reports = sweep_report(here), sweep_report(there)
    for report in reports:
        report.motion_ms = report.inference_ms = report.age_ms = 0.0
    assert reports[0] == reports[1] and reports[0].header.frame_id == "optical"


def test_rectified_images_need_no_other_mark_than_their_camera_info(sweep):
    K, distorted = CAMERA.K, CameraInfo(width=CAMERA.width, height=CAMERA.height, distortion_model="plumb_bob")
    distorted.k, distorted.d = (1.2 * K * [[1], [1], [1 / 1.2]]).ravel().tolist(), [-0.3, 0.1, 0.0, 0.0, 0.0]
    distorted.p = np.hstack([K, [[-5.0], [0.0], [0.0]]]).ravel().tolist()
    for rectified in (True, False):
        camera = CameraCalibration.of(distorted, rectified)
        model = camera.model((CAMERA.height, CAMERA.width))
        stack = replace(sweep.stack, K=model.K, rectification=model.rectification)
        frames = tuple(replace(frame, intrinsics=camera, camera_info=distorted) for frame in sweep.frames)
        received = over_the_wire(replace(sweep, stack=stack, frames=frames))
        assert np.array_equal(received.stack.K, model.K) and received.stack.rectification == model.rectification
        assert received.frames[0].intrinsics.baseline() == (-5.0, 0.0)


def test_planes_travel_in_the_cameras_encoding_and_share_its_pixels(sweep):
    message = focus_stack_message(sweep)
    for plane, frame in zip(message.planes, sweep.frames, strict=True):
        assert plane.data is frame.image.data and plane.header.stamp != frame.image.header.stamp


@pytest.mark.parametrize(("encoding", "sent"), [("mono16", "mono8"), ("bayer_rggb16", "rgb8")])
def test_planes_of_16_bits_travel_as_they_were_scaled(sweep, encoding, sent):
    """The range is known where the camera is: the other half of the node cannot find another."""
    deep = [np.uint16(4) * plane.image[..., 1] for plane in sweep.stack.planes]  # 10 bits
    messages = [
        image_message(pixels, encoding, frame.image.header) for pixels, frame in zip(deep, sweep.frames, strict=True)
    ]
    decoded = [rgb_from_message(message) for message in messages]
    frames = [replace(frame, image=message) for frame, message in zip(sweep.frames, messages, strict=True)]
    taken = replace(sweep, stack=sweep.stack.with_images(decoded), frames=tuple(frames))
    assert [plane.encoding for plane in focus_stack_message(taken).planes] == [sent] * 3
    for plane, other in zip(over_the_wire(taken).stack.planes, taken.stack.planes, strict=True):
        np.testing.assert_array_equal(plane.image, other.image)


def test_planes_of_16_bits_that_another_program_sends_have_one_range(sweep):
    message = focus_stack_message(sweep)
    message.planes = [
        image_message(np.full((120, 160), value, np.uint16), "mono16", plane.header)
        for value, plane in zip((500, 4000, 1000), message.planes, strict=True)
    ]
    assert [plane.image[0, 0, 0] for plane in captured_sweep(message).stack.planes] == [31, 249, 62]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: m.focus_distances.pop(), "has 2 focus distances"),
        (lambda m: m.breathing.pop(), "8 numbers of breathing"),
        (lambda m: m.gyro_rates.pop(), "gyro_rates"),
        (lambda m: m.planes.clear(), "0 planes"),
        (lambda m: setattr(m, "reference", 9), "Reference plane 9"),
        (lambda m: setattr(m, "focus_distances", array.array("d", [0.4, float("nan"), 3.0])), "positive number"),
        (lambda m: setattr(m.planes[1], "height", 999), "cannot have"),
        (lambda m: setattr(m.camera_info, "k", [0.0] * 9), "uncalibrated"),
    ],
)
def test_a_message_that_cannot_be_used_is_a_sweep_without_stack_that_says_why(sweep, damage, words):
    message = deserialize_message(serialize_message(focus_stack_message(sweep)), FocusStackMessage)
    damage(message)
    damaged = captured_sweep(message)
    assert damaged.stack is None and words in damaged.reason and damaged.number == sweep.number
