"""``fossa demo``: the nodes with a simulated camera and lens, scored."""

from __future__ import annotations

import array

import click

from fossa_ros.commands.option_types import NUMBER, PATH
from fossa_ros.commands.signals import interrupted_by_sigterm
from fossa_ros.core.errors import InputError


@click.command("demo")
@click.option("--out", default="out/demo", show_default=True, type=PATH, help="Output folder.")
@click.option(
    "--seconds",
    default=20.0,
    show_default=True,
    type=NUMBER,
    help="Seconds of sweeps, and until the knock is detected.",
)
@click.option("--scene", default=0, show_default=True, help="Random seed of the simulated scene.")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter of fossa_node.")
@click.option("--raw", is_flag=True, help="Record frames and lens states (28 MB/s) instead of results.")
@click.option("--distortion", is_flag=True, help="Give the camera a lens with barrel distortion (plumb_bob).")
def command(out, seconds, scene, parameters, raw, distortion):
    """Sweep a simulated scene with the real nodes over DDS, and score the depth.

    A simulated camera and lens run in one process, the node that drives them in another. Halfway, the camera is
    knocked until a sweep reports motion. OUT gets summary.json, overview.jpg, depth.png, all_in_focus.png,
    confidence.png, cloud.ply, a bag of the run (bag/) and the logs of the nodes.
    """
    from fossa_ros.parameters.config import parameters_of
    from fossa_ros.parameters.node_config import FossaNodeConfig
    from fossa_ros.parameters.typed_value import typed_text, unknown_parameter

    pairs = dict(parameter.partition("=")[::2] for parameter in parameters)
    if not all(pairs.values()):
        raise InputError("--set takes NAME=VALUE, for example --set sweep.planes=7.")
    known = {parameter.name: parameter for parameter in parameters_of(FossaNodeConfig)}
    for name, text in pairs.items():
        if name not in known:
            raise InputError(unknown_parameter(name, "fossa_node", known))
        if name.startswith("roi."):
            raise InputError(f"The demo scores the depth of the whole view; leave out --set {name}.")
        value = typed_text(known[name], text, "the command line")  # the node would refuse it, after it has started
        if isinstance(value, float | array.array):  # of which a node takes 5.0 and not 5
            pairs[name] = str(value if isinstance(value, float) else list(value))
    try:
        from fossa_ros.ros.demo import run_demo
    except ImportError as error:
        raise InputError(f"The demo needs ROS 2 ({error}); install the package with its ROS wheels.") from error
    with interrupted_by_sigterm():
        run_demo(out, seconds, scene, pairs, raw, distortion)
