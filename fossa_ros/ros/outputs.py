"""Publish depth maps: only what somebody subscribes to is computed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from fossa_ros.core.geometry import POINT, coloured_cloud
from fossa_ros.core.stack import DepthMap
from fossa_ros.messages.fields import depth_fields, image_fields
from fossa_ros.motion import debug_picture
from fossa_ros.msg import SweepReport
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import (
    calibration_of,
    depth_camera_info,
    empty_cloud,
    image_message,
    sweep_report,
    time_message,
)
from fossa_ros.ros.in_place import InPlacePublisher


class Outputs:
    """The publishers of depth, and of what became of each sweep."""

    def __init__(self, node: LifecycleNode, depth_encoding: str):
        self._node = node
        self._depth_encoding = depth_encoding
        self._publishers: list[LifecyclePublisher] = []
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="send")
        self._depth = InPlacePublisher(self._publisher(Image, "depth/image", qos.RESULTS))
        self._depth_info = self._publisher(CameraInfo, "depth/camera_info", qos.RESULTS)
        self._points = InPlacePublisher(self._publisher(PointCloud2, "points", qos.RESULTS))
        self._all_in_focus = InPlacePublisher(self._publisher(Image, "all_in_focus/image", qos.RESULTS))
        self._confidence = InPlacePublisher(self._publisher(Image, "confidence/image", qos.RESULTS))
        self._debug = self._publisher(Image, "motion/debug_image", qos.RESULTS)
        self._report = self._publisher(SweepReport, "sweep", qos.REPORTS)

    def close(self) -> None:
        """Destroy the publishers."""
        self._sending.shutdown()
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
        """Publish the depth first; one image is on its way while the next is made."""
        header = Header(stamp=time_message(depth.stamp_ns), frame_id=frame_id)
        sent = []

        def send(publisher: InPlacePublisher, image: dict) -> None:
            data = image.pop("data")
            publisher.write(Image(header=header, **image), data)
            sent.append(self._sending.submit(publisher.send))

        if self._depth.wanted():
            send(self._depth, depth_fields(depth.depth, self._depth_encoding))
        self._depth_info.publish(depth_camera_info(info, header))
        if self._confidence.wanted():
            send(self._confidence, image_fields(depth.confidence, "32FC1"))
        if self._all_in_focus.wanted():
            send(self._all_in_focus, image_fields(depth.all_in_focus, "rgb8"))
        if self._points.wanted():
            self._write_cloud(depth, header)
            self._points.send()
        for one in sent:
            one.result()

    def _write_cloud(self, depth: DepthMap, header: Header) -> None:
        height, width = depth.depth.shape
        data = self._points.lay_out(empty_cloud(height, width, header), depth.depth.size * POINT.itemsize)
        coloured_cloud(depth.depth, depth.K, depth.all_in_focus, out=data.view(POINT).reshape(height, width))

    def _publisher(self, kind, topic: str, profile) -> LifecyclePublisher:
        publisher = self._node.create_lifecycle_publisher(
            kind, topic, profile, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )
        self._publishers.append(publisher)
        return publisher
