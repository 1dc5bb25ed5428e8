"""depth_image_proc makes a cloud of depth and colour, beside ``points`` of the node: to see that they are the same.

ros2 launch fossa_ros sim.launch.py
ros2 launch fossa_ros point_cloud_xyzrgb.launch.py
"""

from __future__ import annotations

from fossa_ros.ros.launch_parts import consumer, example_description


def generate_launch_description():
    def entities(context):
        remappings = {
            "depth_registered/image_rect": "depth/image",
            "rgb/image_rect_color": "all_in_focus/image",
            "rgb/camera_info": "all_in_focus/camera_info",
            "points": "depth_image_proc/points",
        }
        return [consumer(context, "depth_image_proc", "point_cloud_xyzrgb_node", remappings)]

    return example_description(entities)
