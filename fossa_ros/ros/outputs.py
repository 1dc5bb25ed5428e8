"""Publish depth maps: only what somebody subscribes to is computed."""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from fossa_ros.geometry import POINT, coloured_cloud
from fossa_ros.motion import debug_picture
from fossa_ros.msg import SweepReport
from fossa_ros.pipeline import SweepResult
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import (
    calibration_of,
    cloud_message,
    depth_camera_info,
    depth_image,
    image_message,
    sweep_report,
    time_message,
)
from fossa_ros.stack import DepthMap


class Outputs:
    """The publishers of depth, and of what became of each sweep."""

    def __init__(self, node: LifecycleNode, depth_encoding: str):
        self._node = node
        self._depth_encoding = depth_encoding
        self._publishers: list[LifecyclePublisher] = []
        self._cloud: PointCloud2 | None = None
        self._depth = self._publisher(Image, "depth/image", qos.RESULTS)
        self._depth_info = self._publisher(CameraInfo, "depth/camera_info", qos.RESULTS)
        self._points = self._publisher(PointCloud2, "points", qos.RESULTS)
        self._all_in_focus = self._publisher(Image, "all_in_focus/image", qos.RESULTS)
        self._confidence = self._publisher(Image, "confidence/image", qos.RESULTS)
        self._debug = self._publisher(Image, "motion/debug_image", qos.RESULTS)
        self._report = self._publisher(SweepReport, "sweep", qos.REPORTS)

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = []

    def publish(self, result: SweepResult) -> SweepReport:
        """Publish what is wanted of a result, and its report last, so that a report means its depth is out."""
        if result.depth is not None:
            info = calibration_of(result.sweep)
            self._publish_depth(result.depth, info, info.header.frame_id)
        report = sweep_report(result)
        if result.motion is not None and self._debug.get_subscription_count():
            self._debug.publish(image_message(debug_picture(result.motion), "rgb8", report.header))
        self._report.publish(report)
        return report

    def _publish_depth(self, depth: DepthMap, info: CameraInfo, frame_id: str) -> None:
        header = Header(stamp=time_message(depth.stamp_ns), frame_id=frame_id)
        if self._depth.get_subscription_count():
            self._depth.publish(depth_image(depth.depth, self._depth_encoding, header))
        self._depth_info.publish(depth_camera_info(info, header))
        if self._all_in_focus.get_subscription_count():
            self._all_in_focus.publish(image_message(depth.all_in_focus, "rgb8", header))
        if self._confidence.get_subscription_count():
            self._confidence.publish(image_message(depth.confidence, "32FC1", header))
        if self._points.get_subscription_count():
            self._points.publish(self._cloud_message(depth, header))

    def _cloud_message(self, depth: DepthMap, header: Header) -> PointCloud2:
        # One message for all: fresh memory for every cloud costs more than filling it.
        shape = depth.depth.shape
        if self._cloud is None or (self._cloud.height, self._cloud.width) != shape:
            self._cloud = cloud_message(np.empty(shape, POINT), header)
        self._cloud.header = header
        points = np.frombuffer(self._cloud.data, POINT).reshape(shape)
        coloured_cloud(depth.depth, depth.K, depth.all_in_focus, out=points)
        return self._cloud

    def _publisher(self, kind, topic: str, profile) -> LifecyclePublisher:
        publisher = self._node.create_lifecycle_publisher(
            kind, topic, profile, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )
        self._publishers.append(publisher)
        return publisher
