"""A bag played through the depth node, in the bag's own time.

    ros2 launch fossa_ros replay.launch.py bag:=my_bag params_file:=my_robot.yaml rviz:=true

The bag holds images, their calibration and lens/state (stacks:=false), or focus_stack (stacks:=true). What else it
holds is not played: it may be the very topics that the node publishes.
"""

from launch.actions import ExecuteProcess, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit

from fossa_ros.core.errors import InputError
from fossa_ros.ros import launch_parts

ARGUMENTS = (
    ("bag", "", "The bag to play: its folder"),
    ("stacks", "false", "Play recorded focus stacks through depth_node, not frames through fossa_node"),
    ("rate", "1.0", "Times real time; a rate at which every sweep is worked on in time gives what fossa replay gives"),
    ("delay", "5.0", "Seconds that the node has to start before the bag does"),
    ("params_file", launch_parts.config_file("fossa.yaml"), "Parameter file of the node"),
    ("image", "image", "Topic of the camera's images in the bag"),
    ("camera_info", "camera_info", "Topic of the camera's calibration in the bag"),
    ("lens_state", "lens/state", "Topic of the lens's states in the bag"),
    ("imu", "imu", "Topic of the gyroscope in the bag, if there is one"),
    ("focus_stack", "focus_stack", "Topic of the recorded stacks in the bag"),
)
FRAMES = {"image": "image", "camera_info": "camera_info", "lens/state": "lens_state", "imu": "imu"}
STACKS = {"focus_stack": "focus_stack"}


def entities(context):
    """Return RViz, the node, the player, and what ends everything after the bag."""

    def text(name):
        return launch_parts.argument(context, name)

    if not text("bag"):
        raise InputError("Say which bag to play: bag:=FOLDER.")
    stacks = launch_parts.switched_on(context, "stacks")
    required = STACKS if stacks else FRAMES
    namespace = f"/{text('namespace').strip('/')}".rstrip("/")
    topics = [name if (name := text(own)).startswith("/") else f"{namespace}/{name}" for own in required.values()]
    overrides = {} if stacks else {"sweep.mode": "external"}  # the lens was driven while the bag was recorded
    node = launch_parts.package_node(context, "depth_node" if stacks else "fossa_node", overrides, required)
    # The clock goes before every message: frames must not arrive before they were exposed.
    command = ["ros2", "bag", "play", text("bag"), "--rate", text("rate"), "--delay", text("delay")]
    player = ExecuteProcess(
        cmd=[*command, "--clock-topics-all", "--topics", *topics],
        name="player",
        additional_env=launch_parts.own_environment(),
        output="screen",
    )
    ended = RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[Shutdown(reason="the bag has ended")]))
    return [*launch_parts.rviz(context, launch_parts.launch_file("replay.rviz")), node, player, ended]


def generate_launch_description():
    return launch_parts.launch_description(ARGUMENTS, entities, use_sim_time="true")
