"""A simulated camera and lens, and the depth node that drives them.

ros2 launch fossa_ros sim.launch.py rviz:=true
"""

import os
import secrets
import tempfile

from launch.actions import GroupAction, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue

from fossa_ros.ros import launch_parts

ARGUMENTS = (
    ("params_file", launch_parts.config_file("rig.yaml"), "Parameter file of both nodes"),
    ("scene", "0", "Which scene: a seed"),
    ("lens_link", "", "Where the rig puts the link to its lens; empty for a name of its own in the temporary folder"),
)
HANDED_ON = ("params_file", *(name for name, *_ in launch_parts.COMMON))


def entities(context):
    """Return the rig, and what fossa.launch.py makes of a lens at the rig's link."""
    # Made here and not as a default, which a launch that includes this file twice would have for both.
    own = os.path.join(tempfile.gettempdir(), f"fossa_rig_lens_{os.getpid()}_{secrets.token_hex(4)}")
    link = launch_parts.argument(context, "lens_link") or own
    overrides = {
        "scene": ParameterValue(LaunchConfiguration("scene"), value_type=int),
        "lens.link": ParameterValue(link, value_type=str),
    }
    included = IncludeLaunchDescription(
        launch_parts.launch_file("fossa.launch.py"),
        launch_arguments=[
            *((name, LaunchConfiguration(name)) for name in HANDED_ON),
            ("lens_port", link),
            ("rviz_config", launch_parts.launch_file("sim.rviz")),
        ],
    )
    # In a scope of its own: its port must not become that of a fossa.launch.py that is included later.
    return [GroupAction([included]), launch_parts.package_node(context, "sim_rig_node", overrides, {})]


def generate_launch_description():
    return launch_parts.launch_description(ARGUMENTS, entities)
