"""Play a bag over DDS as ``ros2 bag play --clock-topics-all`` does: the time on /clock before every message."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock

from fossa_ros.messages.bags import BagReader
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import time_message

PROFILES = {"sensor_msgs/msg/Image": qos.FRAMES, "sensor_msgs/msg/CameraInfo": qos.FRAMES}
OTHERS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CLOCK_FIRST_S = 0.003  # by which the clock goes before the message


def play(node, path, topics, rate: float, pause: Callable[[int], None], ready_s: float = 60.0) -> None:
    """Publish ``topics`` of a bag from ``node`` once all of them have a subscriber.

    ``pause`` is called with the time of the bag before every message, and may take its time.
    """
    with BagReader(path) as bag:
        publishers = {}
        for topic in topics:
            package, folder, name = bag.types[topic].split("/")
            kind = getattr(importlib.import_module(f"{package}.{folder}"), name)
            publishers[topic] = node.create_publisher(kind, topic, PROFILES.get(bag.types[topic], OTHERS))
        clock = node.create_publisher(Clock, "/clock", qos.REPORTS)
        deadline = time.monotonic() + ready_s
        while not all(publisher.get_subscription_count() for publisher in (clock, *publishers.values())):
            assert time.monotonic() < deadline, "a topic has no subscriber"
            time.sleep(0.05)
        # A subscriber may know us later than we know it. It learns of publishers in the order of their creation, so
        # that one that acknowledges the clock knows the others.
        clock.publish(Clock(clock=time_message(bag.begin_ns)))
        assert clock.wait_for_all_acked(Duration(seconds=ready_s)), "the clock has no subscriber"
        time.sleep(1.0)  # for the other direction: the subscriber's publishers may not know those who listen to it
        began, waited = time.monotonic(), 0.0
        for message in bag.messages(topics):
            due = began + waited + (message.recorded_ns - bag.begin_ns) / 1e9 / rate
            time.sleep(max(due - time.monotonic(), 0.0))
            before = time.monotonic()
            pause(message.recorded_ns)
            waited += time.monotonic() - before
            clock.publish(Clock(clock=time_message(message.recorded_ns)))
            time.sleep(CLOCK_FIRST_S)
            publishers[message.topic].publish(bytes(message.raw))
