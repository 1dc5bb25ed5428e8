"""Render the validation set: one ``.npz`` focus stack with known depth a scene."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from fossa_ros.core.errors import FossaError, InputError
from fossa_ros.io.atomic import replacing
from fossa_ros.io.photographs import read_photograph
from fossa_ros.io.pictures import colour_depth, contact_sheet, depth_range, write_picture
from fossa_ros.io.stack_files import load_stack, save_npz

TINY = ("breakfast", "living_room", "workbench")
CONSOLE = Console(stderr=True)


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--scene", "names", multiple=True, help="Only this scene; repeatable.  [default: all]")
@click.option("--rooms", type=click.IntRange(1), help="Instead, this many scenes drawn at random, for training.")
@click.option("--views", default=2, show_default=True, type=click.IntRange(1, 9), help="Views of each of --rooms.")
@click.option(
    "--blur",
    nargs=2,
    type=click.FloatRange(0.1, 50),
    help="Least and largest blur radius of --rooms, px.  [default: 1.2 9]",
)
@click.option(
    "--scales", nargs=2, type=click.FloatRange(0.2, 2), help="Least and largest scale of --rooms.  [default: 0.6 1]"
)
@click.option(
    "--sharp",
    is_flag=True,
    help="Only one sharp image of each view of --rooms, with depth, of which fossa train makes stacks itself.",
)
@click.option("--samples", default=64, show_default=True, type=click.IntRange(1, 4096), help="Light paths per pixel.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the surfaces.")
@click.option(
    "--size", default=1.0, show_default=True, type=click.FloatRange(0.1, 8), help="Scale of the images; 1 is 320x240."
)
@click.option("--planes", type=click.IntRange(2, 32), help="Planes of every scene.  [default: its own, 5 to 9]")
@click.option("--tiny", is_flag=True, help="Render the three small stacks of the tests.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Also draw the stacks of the folder to a PNG or JPEG file."
)
@click.option("--threads", default=0, show_default=True, help="Threads; 0 is one per core.")
@click.option(
    "--variant",
    default="scalar_rgb",
    show_default=True,
    help="Variant of Mitsuba; llvm_ad_rgb needs LLVM 16 or newer and renders --rooms twice as fast.",
)
def main(out, names, rooms, views, blur, scales, sharp, samples, seed, size, planes, tiny, sheet, threads, variant):
    """Render focus stacks with known depth with Mitsuba, one for each scene."""
    if rooms and planes:
        raise click.UsageError("--planes is for the scenes; --rooms draws the number of planes of each view.")
    if sharp and not rooms:
        raise click.UsageError("--sharp is for --rooms.")
    try:
        _use(variant, threads)
        if rooms:
            drawn = {name: value for name, value in (("blur", blur), ("sizes", scales)) if value}
            _render_rooms(out, rooms, views, drawn, _write_sharp if sharp else _write, samples, seed, size)
        else:
            _render_scenes(out, names, samples, seed, size, planes, tiny)
        if sheet is not None:
            _draw(sheet, sorted(out.glob("*.npz")))
    except FossaError as error:
        sys.exit(f"path_traced: {error}")


def _use(variant: str, threads: int) -> None:
    with suppress(ModuleNotFoundError):  # the import of the scenes says what to install
        import mitsuba as mi

        if variant not in mi.variants():
            raise click.BadParameter(f"Mitsuba has no variant {variant!r}; choose from {', '.join(mi.variants())}")
        mi.set_variant(variant)
    from fossa_ros.evaluation.path_traced.render import use_threads

    use_threads(threads)


def _render_scenes(out: Path, names, samples, seed, size, planes, tiny) -> None:
    from fossa_ros.evaluation.path_traced.buildings import BUILDINGS
    from fossa_ros.evaluation.path_traced.outdoors import OUTDOORS
    from fossa_ros.evaluation.path_traced.scenes import FURTHER, INDOORS
    from fossa_ros.evaluation.path_traced.world import World

    scenes = {scene.__name__: scene for scene in (*INDOORS, *OUTDOORS, *FURTHER, *BUILDINGS)}
    names = names or (TINY if tiny else tuple(scenes))
    if unknown := set(names) - set(scenes):
        raise click.BadParameter(f"there is no scene {min(unknown)!r}; choose from {', '.join(scenes)}")
    for name in track(names, "Rendering", console=CONSOLE):
        world = World(np.random.default_rng([seed, list(scenes).index(name)]))
        view = scenes[name](world)
        if tiny:
            view = replace(view.resized(0.5), planes=5)
        view = replace(view, planes=planes or view.planes)
        # A tiny image has as many paths as the same part of a large one.
        _write(out / f"{name}.npz", world, view.resized(size), 4 * samples if tiny else samples, seed)


def _render_rooms(
    out: Path, rooms: int, views: int, ranges: dict, write: Callable[..., None], samples: int, seed: int, size: float
) -> None:
    """Render what is missing, so that the same command continues, and adds rooms."""
    from fossa_ros.evaluation.path_traced.rooms import random_views
    from fossa_ros.evaluation.path_traced.world import World

    for number in track(range(rooms), "Rendering", console=CONSOLE):
        files = [out / f"room_{number:04d}_{view}.npz" for view in range(views)]
        if all(file.exists() for file in files):
            continue
        world = World(np.random.default_rng([seed, number]))
        drawn = random_views(world, views, **ranges)
        paths = max(int(samples * 2.0 ** world.rng.uniform(-1.0, 0.5)), 1)  # some are noisier than others
        for file, view in zip(files, drawn, strict=True):
            if not file.exists():
                try:
                    write(file, world, view.resized(size), paths, seed)
                except InputError as error:  # of one view among thousands
                    CONSOLE.print(f"{file.stem}: left out: {error}")


def _write(file: Path, world, view, samples: int, seed: int) -> None:
    from fossa_ros.evaluation.path_traced.render import render_path_traced

    began = time.perf_counter()
    stack, truth = render_path_traced(world, view, samples, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_npz(file, stack, truth, compressed=True)
    focus = ", ".join(f"{s:.2f}" for s in stack.focus_distances)
    depth = f"{np.nanmin(truth):.2f} to {np.nanmax(truth):.2f} m"
    CONSOLE.print(f"{file.stem}: {depth}, focused at {focus} m, {time.perf_counter() - began:.1f} s")


def _write_sharp(file: Path, world, view, samples: int, seed: int) -> None:
    """Write ``NAME.png`` and, last, ``NAME.npz``, as ``fossa_ros.training.rgbd`` reads them."""
    from fossa_ros.evaluation.path_traced.render import render_sharp

    began = time.perf_counter()
    image, truth = render_sharp(world, view, samples, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_picture(file.with_suffix(".png"), image)
    with replacing(file) as partial, open(partial, "wb") as out:
        np.savez_compressed(out, depth=truth, K=view.camera.K)
    CONSOLE.print(
        f"{file.stem}: {np.nanmin(truth):.2f} to {np.nanmax(truth):.2f} m, {time.perf_counter() - began:.1f} s"
    )


def _draw(sheet, files):
    write_picture(sheet, contact_sheet([panel for file in files for panel in _panels(file)], 6, 170), quality=60)


def _panels(file: Path) -> list[tuple[str, np.ndarray]]:
    """Return the captions and pictures of a stack, or of a sharp image."""
    image = file.with_suffix(".png")
    if image.exists():
        with np.load(file) as arrays:
            truth = arrays["depth"]
        found = [(file.stem, read_photograph(image).image)]
    else:
        source = load_stack(file)
        truth, planes = source.truth, source.stack.planes
        found = [
            (f"{file.stem}: {planes[0].focus_distance:.2f} m", planes[0].image),
            (f"{planes[-1].focus_distance:.2f} m", planes[-1].image),
        ]
    return [*found, ("depth", colour_depth(truth, *depth_range(truth)))]


if __name__ == "__main__":
    main()
