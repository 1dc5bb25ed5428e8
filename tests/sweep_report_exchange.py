"""Pass one SweepReport over DDS: as a script this talks, and ``received_from`` listens to it.

The talker may run in another environment, built another way; the middleware pairs the two only if their type
hashes agree.
"""

from __future__ import annotations

import subprocess
import time

import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile

from fossa_ros.msg import SweepReport

TOPIC = "sweep_report_exchange"
# A late listener still gets it, so that neither side has to wait for discovery of the other.
QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def report() -> SweepReport:
    """Return a message that uses nested, repeated and text fields."""
    message = SweepReport(sweep=7, accepted=True, verdict="repaired", focus_distances=[0.3, float("inf")])
    message.header.frame_id = "camera_optical_frame"
    message.stamps = [message.header.stamp, message.header.stamp]
    message.drop_reasons, message.drop_counts = ["late", "gap"], [2, 1]
    return message


def talk():
    rclpy.init()
    node = rclpy.create_node("talker")
    publisher = node.create_publisher(SweepReport, TOPIC, QOS)
    publisher.publish(report())
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
    publisher.wait_for_all_acked(Duration(seconds=10))
    rclpy.shutdown()


def received_from(command: list[str], env: dict[str, str] | None = None) -> SweepReport:
    """Start the talker and return the first report that arrives within 30 s."""
    received = []
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    node.create_subscription(SweepReport, TOPIC, received.append, QOS)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    talker = subprocess.Popen(command, env=env)
    try:
        deadline = time.monotonic() + 30
        while not received and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
        assert received, "nothing arrived within 30 s"
        assert talker.wait(timeout=15) == 0
    finally:
        talker.kill()
        node.destroy_node()
        rclpy.shutdown(context=context)
    return received[0]


if __name__ == "__main__":
    talk()
