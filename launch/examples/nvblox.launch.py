"""nvblox fuses depth and colour into a map of distances, on a GPU.

ros2 launch fossa_ros fossa.launch.py params_file:=...
ros2 launch fossa_ros nvblox.launch.py global_frame:=odom
"""

from __future__ import annotations

from fossa_ros.ros.launch_parts import argument, consumer, example_description


def generate_launch_description():
    def entities(context):
        remappings = {
            "camera_0/depth/image": "depth/image",
            "camera_0/depth/camera_info": "depth/camera_info",
            "camera_0/color/image": "all_in_focus/image",
            "camera_0/color/camera_info": "all_in_focus/camera_info",
        }
        parameters = {
            "num_cameras": 1,
            "use_depth": True,
            "use_color": True,
            "use_lidar": False,
            "global_frame": argument(context, "global_frame"),
        }
        return [consumer(context, "nvblox_ros", "nvblox_node", remappings, parameters)]

    return example_description(entities, ("global_frame", "odom", "Frame of the map, which TF relates to the camera's"))
