"""Messages, files and bags with anything in them: an answer or a sentence, never a traceback, never a hang."""

from __future__ import annotations

import array
import contextlib
import json

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from fossa_ros.calibration.bag import read_bag
from fossa_ros.calibration.calibration_file import read_calibration
from fossa_ros.core.errors import FossaError
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.io.stack_description import read_description
from fossa_ros.messages.camera_info import CameraCalibration
from fossa_ros.messages.fields import captured_sweep, lens_state
from fossa_ros.messages.images import rgb_from_message
from fossa_ros.motion import MotionCheck
from fossa_ros.msg import FocusStack
from fossa_ros.msg import LensState as LensStateMessage
from fossa_ros.pipeline.steps import check_motion, estimate_depth
from fossa_ros.sweep import Frame, SweepConfig, SweepMode, SweepPlan, SweepTiming
from fossa_ros.sweep.machines import Ended
from fossa_ros.sweep.sequencer import Sequencer

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
UINT32 = st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1))
NUMBER = st.floats(allow_nan=True, allow_infinity=True)
STAMP = st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1))
ENCODINGS = ("rgb8", "bgra8", "mono8", "mono16", "bayer_rggb16", "yuv422", "yuv422_yuy2", "nv12", "32FC1", "\x00")
HEADERS = st.builds(Header, stamp=STAMP, frame_id=st.text(max_size=5))
IMAGES = st.builds(
    Image,
    header=HEADERS,
    height=UINT32,
    width=UINT32,
    encoding=st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=8)),
    is_bigendian=st.integers(0, 255),
    step=UINT32,
    data=st.binary(max_size=400).map(lambda data: array.array("B", data)),
)
INFOS = st.builds(
    CameraInfo,
    header=HEADERS,
    height=UINT32,
    width=UINT32,
    k=st.one_of(st.lists(NUMBER, min_size=9, max_size=9), st.just([8.0, 0.0, 4.0, 0.0, 8.0, 4.0, 0.0, 0.0, 1.0])),
    d=st.lists(NUMBER, max_size=15),
    distortion_model=st.one_of(st.sampled_from(["plumb_bob", "rational_polynomial", "fisheye"]), st.text(max_size=5)),
    p=st.one_of(st.lists(NUMBER, min_size=12, max_size=12), st.just([0.0] * 12)),
    binning_x=UINT32,
    roi=st.one_of(
        st.just(RegionOfInterest()), st.builds(RegionOfInterest, x_offset=UINT32, y_offset=UINT32, width=UINT32)
    ),
)
STACKS = st.builds(
    FocusStack,
    header=HEADERS,
    sweep=UINT32,
    reference=UINT32,
    focus_distances=st.lists(NUMBER, max_size=4).map(lambda numbers: array.array("d", numbers)),
    planes=st.lists(IMAGES, max_size=4),
    camera_info=INFOS,
    f_number=NUMBER,
    focal_length=NUMBER,
    breathing=st.lists(NUMBER, max_size=6).map(lambda numbers: array.array("d", numbers)),
    sweep_ms=st.floats(width=32),
)
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), NUMBER, st.text(max_size=10)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@FEW
@given(IMAGES)
def test_images_are_pixels_or_a_sentence(image):
    with contextlib.suppress(FossaError):
        pixels = rgb_from_message(image)
        assert pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3) and pixels.size


@settings(FEW, max_examples=300)
@given(INFOS, st.booleans())
def test_a_camera_info_is_a_camera_or_a_sentence(info, rectified):
    calibration = CameraCalibration.of(info, rectified)
    assert calibration == CameraCalibration.of(info, rectified)
    size = info.height // (info.binning_y or 1), info.width // (info.binning_x or 1)
    with contextlib.suppress(FossaError):
        camera = calibration.model(size)
        assert np.isfinite(camera.K).all() and camera.K[0, 0] > 0
        if camera.rectification is not None:
            pixels = camera.rectification.raw_pixels(camera.K, [[0, 0], [3, 4], [1e4, -1e4]])
            assert pixels.shape == (3, 2)


@FEW
@given(st.text(max_size=12), st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]))
def test_compressed_images_are_pixels_or_a_sentence(encoding, data, magic):
    with contextlib.suppress(FossaError):
        rgb_from_message(CompressedImage(format=encoding, data=array.array("B", magic + data)))


@FEW
@given(STACKS)
def test_a_focus_stack_is_depth_or_a_reason(message):
    result = check_motion(captured_sweep(message), MotionCheck())
    if result.stack is not None:
        result = estimate_depth(result, ClassicalEstimator())
    assert (result.depth is None) == bool(result.reason)


@FEW
@given(st.builds(LensStateMessage, header=HEADERS, focus_distance=NUMBER, power=NUMBER, temperature=NUMBER))
def test_a_lens_state_of_anything_is_read(message):
    assert lens_state(message).faults == ()


@FEW
@given(
    st.sampled_from(list(SweepMode)),
    st.lists(st.tuples(st.integers(-(2**63), 2**63), st.integers(0, 10**10), st.integers(0, 3)), max_size=80),
    st.lists(st.tuples(NUMBER, st.integers(-(2**63), 2**63), st.booleans()), max_size=20),
)
def test_frames_and_lens_states_of_any_time_never_stop_the_sequencer(mode, frames, states):
    sequencer = Sequencer(SweepPlan.evenly(0.35, 6.0, 5), SweepTiming(), SweepConfig(mode=mode))
    now = 10**9
    sequencer.begin(now)
    for index, (stamp, wait, kind) in enumerate(frames):
        now += wait
        sequencer.add_frame(Frame(stamp, now, kind, (600.0,), index))
        if index < len(states) and mode is SweepMode.EXTERNAL:
            focus, when, measured = states[index]
            stamp = Time(sec=(when // 10**9) % 2**31, nanosec=when % 10**9)
            message = LensStateMessage(header=Header(stamp=stamp), focus_distance=focus)
            sequencer.on_external_state(lens_state(message), measured)
        if index < len(states) and mode is SweepMode.COUNTED:
            sequencer.on_trigger(states[index][1], now, "")
        if isinstance(sequencer.next(now), Ended):
            sequencer.begin(now)
    sequencer.abort("over")
    for outcome in sequencer.outcomes():
        assert outcome.reason or len(outcome.planes) == 5
    assert sequencer.outcomes() == []


@FEW
@given(st.one_of(JUNK.map(yaml.safe_dump), st.text(max_size=80)))
def test_calibrations_of_anything_are_a_sentence(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(FossaError):
        read_calibration(path)


def test_a_yaml_that_would_run_code_or_grow_without_end_is_refused(tmp_path):
    path = tmp_path / "calibration.yaml"
    laughs = "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True))
    for text in ("!!python/object/apply:os.system ['touch /tmp/should_not_be']", "a: &a [1, 1]\n" + laughs):
        path.write_text(text)
        with pytest.raises(FossaError):
            read_calibration(path)


@FEW
@given(st.one_of(JUNK.map(json.dumps), st.text(max_size=80)))
def test_stack_descriptions_of_anything_are_a_sentence(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "stack.json"
    path.write_text(text)
    with pytest.raises(FossaError):
        read_description(path)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.sampled_from(["bag.mcap", "bag.db3"]), st.booleans())
def test_bags_of_anything_are_a_sentence(tmp_path_factory, data, name, magic):
    path = tmp_path_factory.getbasetemp() / name
    start = {"bag.mcap": b"\x89MCAP0\r\n", "bag.db3": b"SQLite format 3\x00"}[name] if magic else b""
    path.write_bytes(start + data)
    with pytest.raises(FossaError):
        read_bag(
            path, 0.5, rgb_from_message, image_topic="/image", command_topic="/command", settling=0.02, exposure=0.01
        )
