"""A costmap of nav2 marks and clears by the cloud: nav2_voxel_layer.yaml, which a robot's own parameters can take over.

ros2 launch fossa_ros fossa.launch.py params_file:=...     # with points.stride: 2 and points.voxel: 0.05
ros2 launch fossa_ros nav2_voxel_layer.launch.py
"""

from __future__ import annotations

from fossa_ros.ros.launch_parts import consumer, example_description, fossa_topic, launch_file


def generate_launch_description():
    def entities(context):
        topic = {"voxel_layer.fossa.topic": fossa_topic(context, "points")}
        file = launch_file("examples/nav2_voxel_layer.yaml")
        return [consumer(context, "nav2_costmap_2d", "nav2_costmap_2d", {}, file, topic)]

    return example_description(entities)
