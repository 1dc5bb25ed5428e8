"""A bag played through the depth node, in the bag's own time.

    ros2 launch fossa_ros replay.launch.py bag:=my_bag params_file:=my_robot.yaml rviz:=true

The bag holds images, their calibration and lens/state (stacks:=false), or focus_stack (stacks:=true). What else it
holds is not played: it may be the very topics that the node publishes.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from fossa_ros.ros import environment

SHARE = FindPackageShare("fossa_ros")
ARGUMENTS = (
    ("bag", "", "The bag to play: its folder"),
    ("stacks", "false", "Play recorded focus stacks through depth_node, not frames through fossa_node"),
    ("rate", "1.0", "Times real time; a rate at which every sweep is worked on in time gives what fossa replay gives"),
    ("delay", "5.0", "Seconds that the node has to start before the bag does"),
    ("namespace", "", "Namespace of the node and its topics"),
    ("params_file", PathJoinSubstitution([SHARE, "config", "fossa.yaml"]), "Parameter file of the node"),
    ("image", "image", "Topic of the camera's images in the bag"),
    ("camera_info", "camera_info", "Topic of the camera's calibration in the bag"),
    ("lens_state", "lens/state", "Topic of the lens's states in the bag"),
    ("imu", "imu", "Topic of the gyroscope in the bag, if there is one"),
    ("focus_stack", "focus_stack", "Topic of the recorded stacks in the bag"),
    ("use_sim_time", "true", "Take the time from the bag; only false makes stamps and clock disagree"),
    ("autostart", "true", "Configure and activate the node"),
    ("rviz", "false", "Show depth, all-in-focus image and points in RViz"),
    ("log_level", "info", "Verbosity of the node: debug, info, warn, error"),
)
FRAMES = {"image": "image", "camera_info": "camera_info", "lens/state": "lens_state", "imu": "imu"}
STACKS = {"focus_stack": "focus_stack"}


def player_and_node(context):
    """Return the node, the player, and what ends everything after the bag."""
    argument = {name: LaunchConfiguration(name) for name, *_ in ARGUMENTS}

    def text(name):
        return argument[name].perform(context)

    if not text("bag"):
        raise RuntimeError("Say which bag to play: bag:=FOLDER.")
    stacks = text("stacks").lower() == "true"
    required = STACKS if stacks else FRAMES
    namespace = f"/{text('namespace').strip('/')}".rstrip("/")
    topics = [name if (name := text(own)).startswith("/") else f"{namespace}/{name}" for own in required.values()]
    overrides = {name: ParameterValue(argument[name], value_type=bool) for name in ("use_sim_time", "autostart")}
    if not stacks:
        overrides["sweep.mode"] = "external"  # the lens was driven while the bag was recorded
    node = Node(
        package="fossa_ros",
        executable="depth_node" if stacks else "fossa_node",
        name="depth_node" if stacks else "fossa_node",
        namespace=argument["namespace"],
        parameters=[ParameterFile(argument["params_file"], allow_substs=True), overrides],
        remappings=[(name, argument[own]) for name, own in required.items()],
        ros_arguments=["--log-level", argument["log_level"]],
        output="screen",
    )
    # The clock goes before every message: frames must not arrive before they were exposed.
    command = ["ros2", "bag", "play", text("bag"), "--rate", text("rate"), "--delay", text("delay")]
    player = ExecuteProcess(cmd=[*command, "--clock-topics-all", "--topics", *topics], name="player", output="screen")
    ended = RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[Shutdown(reason="the bag has ended")]))
    return [node, player, ended]


def generate_launch_description():
    environment.complete()  # where packages are, and a transport for large images; inherited by the nodes
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS),
            OpaqueFunction(function=player_and_node),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                namespace=LaunchConfiguration("namespace"),
                arguments=["-d", PathJoinSubstitution([SHARE, "launch", "replay.rviz"])],
                parameters=[{"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}],
                remappings=[("image", LaunchConfiguration("image"))],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )
