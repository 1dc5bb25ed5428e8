"""Pairs of image and calibration by stamp: as message_filters makes them, and better where time goes back."""

from __future__ import annotations

import importlib.util
import random

import pytest
from sensor_msgs.msg import CameraInfo, Image

from fossa_ros.messages.stamp_pairs import StampPairs
from fossa_ros.ros.conversions import time_message


def stamped(kind, stamp_ns):
    message = kind()
    message.header.stamp = time_message(stamp_ns)
    return message


class Filters:
    """message_filters' TimeSynchronizer behind the face of ours."""

    def __init__(self, on_pair):
        from message_filters import SimpleFilter, TimeSynchronizer

        self._inputs = SimpleFilter(), SimpleFilter()
        TimeSynchronizer(self._inputs, 10).registerCallback(on_pair)

    def add(self, topic, message):
        self._inputs[topic].signalMessage(message)


BOTH = pytest.mark.parametrize(
    "make",
    [
        StampPairs,
        pytest.param(
            Filters,
            marks=pytest.mark.skipif(
                importlib.util.find_spec("message_filters") is None,
                reason="message_filters comes with a ROS distribution",
            ),
        ),
    ],
)


@BOTH
def test_pairs_have_one_stamp_and_come_whatever_the_order_of_arrival(make):
    pairs = []
    synchroniser = make(lambda image, info: pairs.append((image, info)))
    stamps = [1_000_000_000 + 33_333_333 * i for i in range(200)]
    messages = [
        (topic, stamp + 5_000_000 * random.Random(stamp + topic).random(), stamp)
        for stamp in stamps
        for topic in (0, 1)
    ]
    for topic, _, stamp in sorted(messages, key=lambda entry: entry[1]):
        synchroniser.add(topic, stamped((Image, CameraInfo)[topic], stamp))
    assert [image.header.stamp for image, _ in pairs] == [time_message(stamp) for stamp in stamps]
    assert all(isinstance(image, Image) and isinstance(info, CameraInfo) for image, info in pairs)
    assert all(image.header.stamp == info.header.stamp for image, info in pairs)


@BOTH
def test_what_lost_its_partner_does_not_pair_with_another(make):
    pairs = []
    synchroniser = make(lambda image, info: pairs.append(image.header.stamp.sec))
    for second in range(1, 60):
        if second % 3:
            synchroniser.add(0, stamped(Image, second * 10**9))
        if second % 4:
            synchroniser.add(1, stamped(CameraInfo, second * 10**9))
    assert pairs == [second for second in range(1, 60) if second % 3 and second % 4]


def test_pairs_continue_when_time_goes_back_although_unmatched_images_wait():
    pairs = []
    synchroniser = StampPairs(lambda image, info: pairs.append(image.header.stamp.sec), queue=5)
    for second in range(1000, 1005):  # a bag ends with images whose calibration was not recorded
        synchroniser.add(0, stamped(Image, second * 10**9))
    for second in range(1, 20):
        synchroniser.add(0, stamped(Image, second * 10**9))
        synchroniser.add(1, stamped(CameraInfo, second * 10**9))
    assert pairs == list(range(1, 20))


def test_a_bounded_number_waits():
    synchroniser = StampPairs(lambda *_: None, queue=5)
    for second in range(1, 1000):
        synchroniser.add(0, stamped(Image, second * 10**9))
    assert [len(waiting) for waiting in synchroniser._waiting] == [5, 0]
