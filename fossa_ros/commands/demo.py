"""``fossa demo``: the whole package in one command."""

from __future__ import annotations

from pathlib import Path

import click

from fossa_ros.core.errors import InputError


@click.command("demo")
@click.option("--out", default="out/demo", show_default=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option("--seconds", default=20.0, show_default=True, help="How long to sweep; longer until a knock is noticed.")
@click.option("--scene", default=0, show_default=True, help="Which simulated scene: a seed.")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter of fossa_node.")
@click.option("--raw", is_flag=True, help="Record every frame and lens state, not what comes of them (28 MB/s).")
def command(out, seconds, scene, parameters, raw):
    """Sweep a simulated scene with the real nodes over DDS, and score the depth.

    A simulated camera and lens run in one process, the node that drives them in another. Half way through, the
    camera is knocked until a sweep tells. OUT gets summary.json, depth.png, all_in_focus.png, confidence.png,
    cloud.ply, a bag of the run (bag/) and the nodes' logs.
    """
    try:
        from fossa_ros.ros.demo import run_demo
    except ImportError as error:
        raise InputError(f"The demo needs ROS 2 ({error}); install the package with its ROS wheels.") from error
    pairs = dict(parameter.partition("=")[::2] for parameter in parameters)
    if not all(pairs.values()):
        raise InputError("--set takes NAME=VALUE, for example --set sweep.planes=7.")
    run_demo(out, seconds, scene, pairs, raw)
