"""The topics of the package: name, message type and quality of service.

Nodes, bags and the recorder take topics from here, and a test compares the tables of docs/nodes.md with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    """Quality of service of a topic; ``fossa_ros.ros.qos`` holds the settings."""

    FRAMES = "frames"
    SENSOR = "sensor"
    RESULTS = "results"
    REPORTS = "reports"
    STACKS = "stacks"
    LATCHED = "latched"


@dataclass(frozen=True)
class Topic:
    """A topic.

    Attributes:
        name: relative to the node's namespace, except for ``/diagnostics`` and ``/tf_static``.
        type: of its messages, ``PACKAGE/msg/NAME``.
        profile: with which it is published; for inputs, with which the nodes subscribe.
    """

    name: str
    type: str
    profile: Profile


_IMAGE, _CAMERA_INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_LENS_STATE, _DIAGNOSTICS = "fossa_ros/msg/LensState", "diagnostic_msgs/msg/DiagnosticArray"

IMAGE = Topic("image", _IMAGE, Profile.FRAMES)
COMPRESSED_IMAGE = Topic("image/compressed", _COMPRESSED, Profile.FRAMES)
CAMERA_INFO = Topic("camera_info", _CAMERA_INFO, Profile.FRAMES)
IMU = Topic("imu", "sensor_msgs/msg/Imu", Profile.SENSOR)
LENS_STATE = Topic("lens/state", _LENS_STATE, Profile.LATCHED)
LENS_TRIGGER = Topic("lens/trigger", "sensor_msgs/msg/TimeReference", Profile.SENSOR)
FOCUS_STACK = Topic("focus_stack", "fossa_ros/msg/FocusStack", Profile.STACKS)
DEPTH = Topic("depth/image", _IMAGE, Profile.RESULTS)
DEPTH_CAMERA_INFO = Topic("depth/camera_info", _CAMERA_INFO, Profile.RESULTS)
CONFIDENCE = Topic("confidence/image", _IMAGE, Profile.RESULTS)
CONFIDENCE_CAMERA_INFO = Topic("confidence/camera_info", _CAMERA_INFO, Profile.RESULTS)
ALL_IN_FOCUS = Topic("all_in_focus/image", _IMAGE, Profile.RESULTS)
ALL_IN_FOCUS_CAMERA_INFO = Topic("all_in_focus/camera_info", _CAMERA_INFO, Profile.RESULTS)
COMPRESSED_DEPTH = Topic("depth/image/compressedDepth", _COMPRESSED, Profile.RESULTS)
COMPRESSED_ALL_IN_FOCUS = Topic("all_in_focus/image/compressed", _COMPRESSED, Profile.RESULTS)
POINTS = Topic("points", "sensor_msgs/msg/PointCloud2", Profile.RESULTS)
MOTION_DEBUG = Topic("motion/debug_image", _IMAGE, Profile.RESULTS)
SWEEP = Topic("sweep", "fossa_ros/msg/SweepReport", Profile.REPORTS)
TF_STATIC = Topic("/tf_static", "tf2_msgs/msg/TFMessage", Profile.LATCHED)
DIAGNOSTICS = Topic("/diagnostics", _DIAGNOSTICS, Profile.RESULTS)

# Of sim_rig_node, beside image and camera_info.
METADATA = Topic("metadata", _DIAGNOSTICS, Profile.FRAMES)
TRUE_DEPTH = Topic("truth/depth", _IMAGE, Profile.LATCHED)
TRUE_LENS = Topic("truth/lens", _LENS_STATE, Profile.REPORTS)

INPUTS = (IMAGE, COMPRESSED_IMAGE, CAMERA_INFO, IMU, LENS_TRIGGER)
# What becomes of a sweep, in the order of publishing: depth first, and the report when everything else is out.
RESULTS = (
    *(DEPTH, DEPTH_CAMERA_INFO, CONFIDENCE, CONFIDENCE_CAMERA_INFO, ALL_IN_FOCUS, ALL_IN_FOCUS_CAMERA_INFO),
    *(POINTS, COMPRESSED_DEPTH, COMPRESSED_ALL_IN_FOCUS, MOTION_DEBUG, SWEEP),
)
COMPRESSED_RESULTS = (COMPRESSED_DEPTH, COMPRESSED_ALL_IN_FOCUS)  # of what is among the results already
OUTPUTS = (*RESULTS, LENS_STATE, FOCUS_STACK, TF_STATIC, DIAGNOSTICS)
RIG = (IMAGE, CAMERA_INFO, METADATA, LENS_TRIGGER, TRUE_DEPTH, TRUE_LENS, DIAGNOSTICS)
