"""RTAB-Map maps with depth and colour; odometry comes from TF, because a sweep takes too long for visual odometry.

ros2 launch fossa_ros fossa.launch.py params_file:=...
ros2 launch fossa_ros rtabmap.launch.py odom_frame_id:=odom frame_id:=base_link
"""

from __future__ import annotations

from fossa_ros.ros.launch_parts import argument, consumer, example_description


def generate_launch_description():
    def entities(context):
        remappings = {
            "rgb/image": "all_in_focus/image",
            "rgb/camera_info": "all_in_focus/camera_info",
            "depth/image": "depth/image",
        }
        parameters = {
            "frame_id": argument(context, "frame_id"),
            "odom_frame_id": argument(context, "odom_frame_id"),
            "subscribe_depth": True,
            "approx_sync": False,  # the stamps of depth and colour are equal
            "Rtabmap/DetectionRate": "0",  # every image: there are few
        }
        return [consumer(context, "rtabmap_slam", "rtabmap", remappings, parameters)]

    return example_description(
        entities,
        ("frame_id", "base_link", "Frame of the robot"),
        ("odom_frame_id", "odom", "Frame of odometry, which TF relates to it"),
    )
