"""The graph of sim.launch.py under launch_testing: run by test_launch.py, not collected by itself."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, TimerAction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing import post_shutdown_test
from launch_testing.actions import ReadyToTest
from launch_testing.asserts import assertExitCodes
from launch_testing_ros import WaitForTopics
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from fossa_ros.msg import SweepReport

ROOT = Path(__file__).parents[1]
LENS = Path(tempfile.gettempdir()) / f"fossa_test_lens_{os.getpid()}"
ARGUMENTS = {
    "namespace": "left",
    "params_file": str(ROOT / "tests" / "data" / "small_rig.yaml"),
    "lens_link": str(LENS),
    "log_level": "warn",
}


def generate_test_description():
    source = PythonLaunchDescriptionSource(str(ROOT / "launch" / "sim.launch.py"))
    graph = IncludeLaunchDescription(source, launch_arguments=ARGUMENTS.items())
    return LaunchDescription([graph, TimerAction(period=1.0, actions=[ReadyToTest()])])


class WhileRunning(unittest.TestCase):
    def test_depth_and_points_arrive_under_the_namespace(self):
        topics = [
            ("/left/sweep", SweepReport),
            ("/left/depth/image", Image),
            ("/left/depth/camera_info", CameraInfo),
            ("/left/points", PointCloud2),
        ]
        with WaitForTopics(topics, timeout=60.0, messages_received_buffer_length=3) as waiting:
            image = waiting.received_messages("/left/depth/image")[0]
        self.assertEqual((image.width, image.height, image.encoding), (320, 240, "32FC1"))
        self.assertTrue(LENS.is_symlink())


@post_shutdown_test()
class AfterShutdown(unittest.TestCase):
    def test_every_process_ended_in_order_and_the_lens_is_gone(self, proc_info):
        assertExitCodes(proc_info)
        self.assertEqual(len(proc_info.process_names()), 2)
        self.assertFalse(LENS.is_symlink())
