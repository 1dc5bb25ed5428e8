"""The depth node for a real camera and lens.

    ros2 launch fossa_ros fossa.launch.py params_file:=my_robot.yaml image:=/camera/image_raw \
        camera_info:=/camera/camera_info lens_port:=/dev/ttyACM0
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from fossa_ros.ros import environment

SHARE = FindPackageShare("fossa_ros")
ARGUMENTS = (
    ("namespace", "", "Namespace of the node and its topics"),
    ("params_file", PathJoinSubstitution([SHARE, "config", "fossa.yaml"]), "Parameter file of the node"),
    ("image", "image", "Topic of the camera's images"),
    ("camera_info", "camera_info", "Topic of the camera's calibration"),
    ("imu", "imu", "Topic of an IMU that is fixed to the camera"),
    ("lens_port", "", "Serial port of the lens; empty for the one in the parameter file"),
    ("use_sim_time", "false", "Take the time from /clock"),
    ("autostart", "true", "Configure and activate the node, trying again until that succeeds"),
    ("rviz_config", PathJoinSubstitution([SHARE, "launch", "fossa.rviz"]), "What RViz shows"),
    ("rviz", "false", "Show depth, all-in-focus image and points in RViz"),
    ("log_level", "info", "Verbosity of the node: debug, info, warn, error"),
)


def fossa_node(context):
    """Return the node; the port given as an argument goes before the parameter file's."""
    argument = {name: LaunchConfiguration(name) for name, *_ in ARGUMENTS}
    overrides = {name: ParameterValue(argument[name], value_type=bool) for name in ("use_sim_time", "autostart")}
    if argument["lens_port"].perform(context):
        overrides["lens.port"] = ParameterValue(argument["lens_port"], value_type=str)
    return [
        Node(
            package="fossa_ros",
            executable="fossa_node",
            name="fossa_node",
            namespace=argument["namespace"],
            parameters=[ParameterFile(argument["params_file"], allow_substs=True), overrides],
            remappings=[(name, argument[name]) for name in ("image", "camera_info", "imu")],
            ros_arguments=["--log-level", argument["log_level"]],
            output="screen",
        )
    ]


def generate_launch_description():
    environment.complete()  # where packages are, and a transport for large images; inherited by the nodes
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS),
            OpaqueFunction(function=fossa_node),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                namespace=LaunchConfiguration("namespace"),
                arguments=["-d", LaunchConfiguration("rviz_config")],
                remappings=[("image", LaunchConfiguration("image"))],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )
