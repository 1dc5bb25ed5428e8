"""The exposure time that a camera reports for each frame: matched by stamp, refused where it is impossible."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from fossa_ros.messages.exposure_times import PATIENCE, ExposureTimes
from fossa_ros.ros.conversions import time_message
from fossa_ros.sweep import Frame, StampReference, SweepTiming

MS = 1_000_000


def metadata(stamp_ns, *reported, frame_id="optical", key="ExposureTime"):
    status = [DiagnosticStatus(values=[KeyValue(key=key, value=value)]) for value in reported]
    return DiagnosticArray(header=Header(stamp=time_message(stamp_ns), frame_id=frame_id), status=status)


class Camera:
    """Frames of stamp 1, 2, 3, ... seconds and what they were passed on with, in ms."""

    def __init__(self):
        self.passed = []
        self.times = ExposureTimes(lambda frame: self.passed.append((frame.stamp_ns // 10**9, frame.exposure_ns)))

    def frame(self, second):
        self.times.add_frame(Frame(second * 10**9, 0, None, None, None), "optical")

    def report(self, second, *values, **options):
        self.times.add_metadata(metadata(second * 10**9, *values, **options))


@pytest.fixture
def camera():
    return Camera()


def test_frames_get_their_own_exposure_whichever_comes_first(camera):
    camera.report(1, "4000")
    camera.frame(1)
    camera.frame(2)
    assert camera.passed == [(1, 4 * MS)]
    camera.report(2, "9998.5")
    camera.report(3, "7000", frame_id="")  # one that does not say whose it is goes by its stamp
    camera.frame(3)
    assert camera.passed == [(1, 4 * MS), (2, 9_998_500), (3, 7 * MS)]
    assert camera.times.fault() == ""


def test_a_frame_waits_until_the_next_and_goes_on_with_what_is_configured_in_order(camera):
    camera.frame(1)
    camera.report(2, "4000")
    assert camera.passed == []
    camera.frame(2)
    assert camera.passed == [(1, None), (2, 4 * MS)]
    camera.report(1, "4000")  # too late for it
    assert len(camera.passed) == 2


@pytest.mark.parametrize("reported", ["0", "-5", "nan", "inf", "12000000", "auto", ""])
def test_what_cannot_be_an_exposure_time_is_refused_with_a_reason(camera, reported):
    for second in range(1, PATIENCE + 1):
        camera.report(second, reported)
        camera.frame(second)  # it need not wait
        assert camera.passed[-1] == (second, None)
    assert f"'{reported}'" in camera.times.fault() and "microseconds" in camera.times.fault()
    camera.report(99, "4000")
    camera.frame(99)
    assert camera.passed[-1] == (99, 4 * MS) and camera.times.fault() == ""


def test_two_cameras_under_one_name_and_stamp_are_not_taken_for_one(camera):
    for second in range(1, PATIENCE + 1):
        camera.report(second, "4000")
        camera.report(second, "5000")
        camera.frame(second)
    assert camera.passed[-1] == (PATIENCE, None) and "frame_id" in camera.times.fault()


def test_metadata_of_others_is_ignored_and_reported_where_there_is_no_better(camera):
    for second in range(1, PATIENCE + 2):
        camera.report(second, "4000", key="Battery")
        camera.frame(second)
    assert "nothing" in camera.times.fault()
    for second in range(20, 22):
        camera.report(second, "4000", frame_id="other_camera")
        camera.frame(second)
        assert camera.passed[-1] == (second, None)
    assert "other_camera" in camera.times.fault()


def test_frames_no_longer_wait_for_what_never_came_until_it_comes(camera):
    for second in range(1, PATIENCE + 2):
        camera.frame(second)
    assert camera.passed[-1][0] == PATIENCE + 1  # at once, not with the next
    camera.report(PATIENCE + 1, "4000")  # late, but it begins
    camera.frame(PATIENCE + 2)
    camera.report(PATIENCE + 2, "4000")
    assert camera.passed[-1] == (PATIENCE + 2, 4 * MS) and camera.times.fault() == ""


def test_the_window_of_a_frame_is_that_of_its_own_exposure():
    timing = SweepTiming(exposure_ns=20 * MS, stamp_reference=StampReference.FIRST_ROW_END, readout_ns=5 * MS)
    frame = Frame(100 * MS, 0, None, None, None)
    assert timing.exposed(frame) == (80 * MS, 105 * MS)
    reported = []
    times = ExposureTimes(reported.append)
    times.add_metadata(metadata(100 * MS, "4000"))
    times.add_frame(frame, "optical")
    assert timing.exposed(reported[0]) == (96 * MS, 105 * MS)


def test_frames_get_the_number_of_their_exposure_where_its_key_is_known():
    passed = []
    times = ExposureTimes(lambda frame: passed.append((frame.exposure_ns, frame.counter)), "FrameNumber")

    def report(second, *pairs):
        status = [DiagnosticStatus(values=[KeyValue(key=key, value=value) for key, value in pairs])]
        header = Header(stamp=time_message(second * 10**9), frame_id="optical")
        times.add_metadata(DiagnosticArray(header=header, status=status))
        times.add_frame(Frame(second * 10**9, 0, None, None, None), "optical")

    report(1, ("FrameNumber", "41"))
    report(2, ("FrameNumber", "42"), ("ExposureTime", "4000"))
    assert passed == [(None, 41), (4 * MS, 42)] and times.fault() == ""
    for second in range(3, 3 + PATIENCE):
        report(second, ("ExposureTime", "4000"))
    assert set(passed[2:]) == {(None, None)}
    assert times.fault() == "the key FrameNumber is missing beside others; correct sweep.counter_key"
    report(99, ("FrameNumber", "first"))
    report(100, ("FrameNumber", "1.5"))
    assert times.fault() == "the key FrameNumber of '1.5' is no whole number; correct sweep.counter_key"
