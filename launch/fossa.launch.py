"""The depth node for a real camera and lens.

    ros2 launch fossa_ros fossa.launch.py params_file:=my_robot.yaml image:=/camera/image_raw \
        camera_info:=/camera/camera_info lens_port:=/dev/ttyACM0
"""

from launch.substitutions import LaunchConfiguration

from fossa_ros.ros import launch_parts

ARGUMENTS = (
    ("params_file", launch_parts.config_file("fossa.yaml"), "Parameter file of the node"),
    ("image", "image", "Topic of the camera's images"),
    ("camera_info", "camera_info", "Topic of the camera's calibration"),
    ("imu", "imu", "Topic of an IMU that is fixed to the camera"),
    ("lens_port", "", "Serial port of the lens; empty for the one in the parameter file"),
    ("rviz_config", launch_parts.launch_file("fossa.rviz"), "What RViz shows"),
)


def entities(context):
    """Return RViz and the node; the port given as an argument goes before the parameter file's."""
    topics = {name: name for name in ("image", "camera_info", "imu")}
    return [
        *launch_parts.rviz(context, LaunchConfiguration("rviz_config")),
        launch_parts.package_node(context, "fossa_node", launch_parts.lens_port(context), topics),
    ]


def generate_launch_description():
    return launch_parts.launch_description(ARGUMENTS, entities)
