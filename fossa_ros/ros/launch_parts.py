"""What the launch files have in common: arguments, nodes of this package, RViz.

Imported by launch files only: the packages launch and launch_ros come with a ROS distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from fossa_ros.core.errors import InputError
from fossa_ros.ros import environment, launcher

SHARE = FindPackageShare("fossa_ros")
Argument = tuple[str, Any, str]  # name, default, description
COMMON: tuple[Argument, ...] = (
    ("namespace", "fossa", "Namespace of the nodes and their topics and services; / for none"),
    ("use_sim_time", "false", "Take the time from /clock"),
    ("autostart", "true", "Configure and activate the nodes, trying again until that succeeds"),
    ("respawn", "false", "Start a node again that ended by itself"),
    ("respawn_delay", "2.0", "Seconds until then"),
    ("rviz", "false", "Show depth, all-in-focus image and points in RViz"),
    ("fixed_frame", "camera_optical_frame", "Fixed frame of RViz: the camera's, or one that TF relates to it"),
    ("log_level", "info", "Verbosity of the nodes: debug, info, warn, error"),
)


def config_file(name: str) -> PathJoinSubstitution:
    """Return the path of a parameter file of this package."""
    return PathJoinSubstitution([SHARE, "config", name])


def launch_file(name: str) -> PathJoinSubstitution:
    """Return the path of a file in the folder of the launch files."""
    return PathJoinSubstitution([SHARE, "launch", name])


def argument(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument."""
    return LaunchConfiguration(name).perform(context)


def switched_on(context: LaunchContext, name: str) -> bool:
    """Return whether a launch argument is true; raises launch's own error where it is neither true nor false."""
    return IfCondition(LaunchConfiguration(name)).evaluate(context)


def launch_description(
    arguments: Iterable[Argument], entities: Callable[[LaunchContext], list[Any]], **defaults: str
) -> LaunchDescription:
    """Return a description of the common arguments, ``arguments``, and what ``entities`` makes of their values.

    Args:
        arguments: of this launch file.
        entities: raises an exception before anything is started; launch shows its sentence and ends.
        defaults: of common arguments, in place of the usual ones.
    """
    environment.find_packages()
    common = ((name, defaults.get(name, value), text) for name, value, text in COMMON)
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, value, text in (*arguments, *common)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=entities)])


def package_node(
    context: LaunchContext,
    executable: str,
    overrides: Mapping[str, Any],
    remappings: Mapping[str, str],
) -> Node:
    """Return a node of this package.

    Args:
        context: with the common arguments, and ``params_file``.
        executable: of the node, and its name.
        overrides: parameters that go before those of ``params_file``.
        remappings: names of topics, and the arguments that hold their replacements.
    """
    try:
        delay = float(argument(context, "respawn_delay"))
    except ValueError as error:
        raise InputError(
            f"respawn_delay must be a number of seconds, not '{argument(context, 'respawn_delay')}'."
        ) from error
    switches = {
        name: ParameterValue(LaunchConfiguration(name), value_type=bool) for name in ("use_sim_time", "autostart")
    }
    return Node(
        package="fossa_ros",
        executable=executable,
        name=executable,
        namespace=LaunchConfiguration("namespace"),
        parameters=[ParameterFile(LaunchConfiguration("params_file"), allow_substs=True), {**switches, **overrides}],
        remappings=[(name, LaunchConfiguration(own)) for name, own in remappings.items()],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=delay,
        additional_env=own_environment(),
        output="screen",
    )


def example_description(entities: Callable[[LaunchContext], list[Any]], *arguments: Argument) -> LaunchDescription:
    """Return a description of an example: a program of another package, beside a node of this one.

    Args:
        entities: as for ``launch_description``.
        arguments: of this example.
    """
    environment.find_packages()
    common = [argument for argument in COMMON if argument[0] in ("namespace", "use_sim_time")]
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, value, text in (*arguments, *common)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=entities)])


def consumer(
    context: LaunchContext, package: str, executable: str, topics: Mapping[str, str], *parameters: Any
) -> Node:
    """Return a node of another package that takes what a node of this package publishes.

    Args:
        context: with the arguments of ``example_description``.
        package: of the node.
        executable: of the node.
        topics: of the node, and what they are called in the namespace of this package's node.
        parameters: of the node: by name, or files.

    Raises:
        InputError: the package is not installed.
    """
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        raise InputError(f"This example needs the package {package}, which is not installed; install it.") from error
    clock = {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}
    return Node(
        package=package,
        executable=executable,
        parameters=[*parameters, clock],
        remappings=[(own, fossa_topic(context, name)) for own, name in topics.items()],
        additional_env=environment.transport(),
        output="screen",
    )


def fossa_topic(context: LaunchContext, name: str) -> str:
    """Return the full name of a topic of this package's node, in the namespace that the argument gives."""
    return f"/{argument(context, 'namespace').strip('/')}/{name}".replace("//", "/")


def lens_port(context: LaunchContext) -> dict[str, Any]:
    """Return the parameter that the argument ``lens_port`` overrides; nothing where that is empty."""
    if not argument(context, "lens_port"):
        return {}
    return {"lens.port": ParameterValue(LaunchConfiguration("lens_port"), value_type=str)}


def own_environment() -> dict[str, str]:
    """Return the environment variables of the processes of this package, which no other process in a launch gets."""
    return {**environment.transport(), **launcher.variables()}


def rviz(context: LaunchContext, config: Any) -> list[Node]:
    """Return RViz where the argument ``rviz`` wants it, to be started before the nodes.

    Raises:
        InputError: it is not installed.
    """
    if not switched_on(context, "rviz"):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        raise InputError(
            "rviz:=true needs the package rviz2, which is not installed; install it, or leave rviz:=false."
        ) from error
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            namespace=LaunchConfiguration("namespace"),
            arguments=["-d", config, "-f", LaunchConfiguration("fixed_frame")],
            parameters=[{"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}],
            remappings=[("image", LaunchConfiguration("image", default="image"))],
            additional_env=environment.transport(),
        )
    ]
