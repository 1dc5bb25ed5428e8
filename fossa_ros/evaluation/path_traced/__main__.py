"""Render the validation set: one ``.npz`` focus stack with known depth a scene."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from fossa_ros.core.errors import FossaError
from fossa_ros.io.pictures import colour_depth, contact_sheet, depth_range, write_picture
from fossa_ros.io.stack_files import load_stack, save_npz

TINY = ("breakfast", "living_room", "workbench")


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--scene", "names", multiple=True, help="Only this scene; repeatable.  [default: all]")
@click.option("--rooms", type=click.IntRange(1), help="Instead, this many scenes drawn at random, for training.")
@click.option("--samples", default=64, show_default=True, type=click.IntRange(1, 4096), help="Light paths per pixel.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the surfaces.")
@click.option(
    "--size", default=1.0, show_default=True, type=click.FloatRange(0.1, 8), help="Scale of the images; 1 is 320x240."
)
@click.option("--tiny", is_flag=True, help="Render the three small stacks of the tests.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Also draw the stacks of the folder to a PNG or JPEG file."
)
@click.option("--threads", default=0, show_default=True, help="Threads; 0 is one per core.")
def main(out, names, rooms, samples, seed, size, tiny, sheet, threads):
    """Render focus stacks with known depth with Mitsuba, one for each scene."""
    try:
        _render(out, names, rooms, samples, seed, size, tiny, sheet, threads)
    except FossaError as error:
        sys.exit(f"path_traced: {error}")


def _render(out, names, rooms, samples, seed, size, tiny, sheet, threads):
    from fossa_ros.evaluation.path_traced.outdoors import OUTDOORS
    from fossa_ros.evaluation.path_traced.render import render_path_traced, use_threads
    from fossa_ros.evaluation.path_traced.rooms import random_scene
    from fossa_ros.evaluation.path_traced.scenes import FURTHER, INDOORS
    from fossa_ros.evaluation.path_traced.world import World

    use_threads(threads)
    if rooms:
        scenes = {f"room_{number:04d}": random_scene for number in range(rooms)}
    else:
        scenes = {scene.__name__: scene for scene in (*INDOORS, *OUTDOORS, *FURTHER)}
    names = names or (TINY if tiny else tuple(scenes))
    if unknown := set(names) - set(scenes):
        raise click.BadParameter(f"there is no scene {min(unknown)!r}; choose from {', '.join(scenes)}")
    out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    for name in track(names, "Rendering", console=console):
        began = time.perf_counter()
        number = list(scenes).index(name)
        if rooms and (out / f"{name}.npz").exists():
            continue  # so that the same command continues, and adds rooms
        world = World(np.random.default_rng([seed, number]))
        view = scenes[name](world)
        if tiny:
            view = replace(view.resized(0.5), planes=5)
        paths = 4 * samples if tiny else samples  # as many as in the same part of the large image
        if rooms:
            paths = max(int(samples * 2.0 ** world.rng.uniform(-1.0, 0.5)), 1)  # some are noisier than others
        stack, truth = render_path_traced(world, view.resized(size), paths, seed)
        save_npz(out / f"{name}.npz", stack, truth, compressed=True)
        focus = ", ".join(f"{s:.2f}" for s in stack.focus_distances)
        depth = f"{np.nanmin(truth):.2f} to {np.nanmax(truth):.2f} m"
        console.print(f"{name}: {depth}, focused at {focus} m, {time.perf_counter() - began:.1f} s")
    if sheet is not None:
        _draw(sheet, sorted(out.glob("*.npz")))


def _draw(sheet, files):
    panels = []
    for file in files:
        source = load_stack(file)
        planes, focus = source.stack.planes, source.stack.focus_distances
        panels.append((f"{file.stem}: {focus[0]:.2f} m", planes[0].image))
        panels.append((f"{focus[-1]:.2f} m", planes[-1].image))
        panels.append(("depth", colour_depth(source.truth, *depth_range(source.truth))))
    write_picture(sheet, contact_sheet(panels, 6, 170), quality=60)


if __name__ == "__main__":
    main()
