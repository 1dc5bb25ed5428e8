"""The depth node in two halves on two machines: sweep_node beside camera and lens, depth_node where the GPU is.

    ros2 launch fossa_ros split.launch.py half:=sweep params_file:=my_robot.yaml image:=/camera/image_raw \
        camera_info:=/camera/camera_info lens_port:=/dev/ttyACM0         # on the robot
    ros2 launch fossa_ros split.launch.py half:=depth params_file:=my_robot.yaml rviz:=true
"""

from fossa_ros.core.errors import InputError
from fossa_ros.ros import launch_parts

ARGUMENTS = (
    ("half", "both", "Which half to start here: sweep, depth or both"),
    ("params_file", launch_parts.config_file("split.yaml"), "Parameter file of the nodes"),
    ("image", "image", "Topic of the camera's images"),
    ("camera_info", "camera_info", "Topic of the camera's calibration"),
    ("imu", "imu", "Topic of an IMU that is fixed to the camera"),
    ("lens_port", "", "Serial port of the lens; empty for the one in the parameter file"),
)
HALVES = {"sweep": ("sweep_node",), "depth": ("depth_node",), "both": ("sweep_node", "depth_node")}
TOPICS = {name: name for name in ("image", "camera_info", "imu")}


def entities(context):
    """Return RViz and the nodes of this machine; the port given as an argument goes before the parameter file's."""
    half = launch_parts.argument(context, "half")
    if half not in HALVES:
        raise InputError(f"half must be one of {', '.join(HALVES)}, not '{half}'.")
    port = {"sweep_node": launch_parts.lens_port(context)}
    return [
        *launch_parts.rviz(context, launch_parts.launch_file("fossa.rviz")),
        *(launch_parts.package_node(context, node, port.get(node, {}), TOPICS) for node in HALVES[half]),
    ]


def generate_launch_description():
    return launch_parts.launch_description(ARGUMENTS, entities)
