"""A simulated camera and lens, and the depth node that drives them.

ros2 launch fossa_ros sim.launch.py rviz:=true
"""

import os
import tempfile

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from fossa_ros.ros import environment

SHARE = FindPackageShare("fossa_ros")
LENS_LINK = os.path.join(tempfile.gettempdir(), f"fossa_rig_lens_{os.getpid()}")
ARGUMENTS = (
    ("namespace", "", "Namespace of both nodes and their topics"),
    ("params_file", PathJoinSubstitution([SHARE, "config", "rig.yaml"]), "Parameter file of both nodes"),
    ("scene", "0", "Which scene: a seed"),
    ("lens_link", LENS_LINK, "Where the rig puts the link to its lens"),
    ("use_sim_time", "false", "Take the time from /clock"),
    ("autostart", "true", "Configure and activate the nodes, trying again until that succeeds"),
    ("rviz", "false", "Show depth, all-in-focus image and points in RViz"),
    ("log_level", "info", "Verbosity of the nodes: debug, info, warn, error"),
)
HANDED_ON = ("namespace", "params_file", "use_sim_time", "autostart", "rviz", "log_level")


def generate_launch_description():
    environment.complete()  # where packages are, and a transport for large images; inherited by the nodes
    argument = {name: LaunchConfiguration(name) for name, *_ in ARGUMENTS}
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS),
            Node(
                package="fossa_ros",
                executable="sim_rig_node",
                name="sim_rig_node",
                namespace=argument["namespace"],
                parameters=[
                    ParameterFile(argument["params_file"], allow_substs=True),
                    {name: ParameterValue(argument[name], value_type=bool) for name in ("use_sim_time", "autostart")},
                    {
                        "scene": ParameterValue(argument["scene"], value_type=int),
                        "lens.link": ParameterValue(argument["lens_link"], value_type=str),
                    },
                ],
                ros_arguments=["--log-level", argument["log_level"]],
                output="screen",
            ),
            IncludeLaunchDescription(
                PathJoinSubstitution([SHARE, "launch", "fossa.launch.py"]),
                launch_arguments=[
                    *((name, argument[name]) for name in HANDED_ON),
                    ("lens_port", argument["lens_link"]),
                    ("rviz_config", PathJoinSubstitution([SHARE, "launch", "sim.rviz"])),
                ],
            ),
        ]
    )
