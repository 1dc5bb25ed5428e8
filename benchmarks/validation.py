"""Accuracy of an estimator over focus stacks whose depth is known, and what disturbs it.

Stacks come from a folder of .npz files or folders (docs/stack-files.md), such as the path-traced set of
docs/validation.md; from photographs with depth, defocused synthetically (--rgbd); or from the simulator's scenes
(--simulated). Each can be thinned out, shuffled, stripped of what is known of its lens, or given wrong focus distances:

    python -m fossa_ros.evaluation.path_traced --out validation
    python benchmarks/validation.py validation --estimator classical --planes 3 5 9
    python benchmarks/validation.py --simulated 8 --planes 3 5 9

AbsRel and the deltas count pixels that have both a true depth and a depth; coverage is their share.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rgbd_images import load_rgbd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fossa_ros import optics
from fossa_ros.atomic import replacing
from fossa_ros.errors import FossaError, InputError
from fossa_ros.estimator import ESTIMATORS, create_estimator
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.photograph_lens import refocus_photograph
from fossa_ros.simulation.scenes import make_scene
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.stack import FocusPlane, FocusStack
from fossa_ros.stack_files import load_stack

FIGURES = ("abs_rel", "rmse", "delta_1.05", "delta_1.25", "coverage")
TENTHS = np.linspace(0.0, 1.0, 11)
RGBD_WIDTH = 480  # px; photographs are reduced to it, and by half as much again at least


@dataclass(frozen=True, eq=False)
class Case:
    """One stack to measure: its name, what group it is averaged with, the planes, and (H, W) true depth in m."""

    name: str
    group: str
    stack: FocusStack
    truth: np.ndarray


def saved(folder, counts) -> Iterator[Case]:
    """Yield the stacks of a folder, thinned out to every count of planes that they have; all of them for None."""
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds stacks.")
    files = sorted(file for file in Path(folder).iterdir() if file.suffix == ".npz" or file.is_dir())
    if not files:
        raise InputError(f"{folder} holds no stacks; make some by python -m fossa_ros.evaluation.path_traced.")
    for count in counts or (None,):
        for file in files:
            source = load_stack(file)
            if source.truth is None:
                raise InputError(f"{file} has no true depth; take it out of the folder.")
            if count is not None and count > len(source.stack):
                continue
            group = "all planes" if count is None else f"{count} planes"
            yield Case(file.stem, group, thinned(source.stack, count or len(source.stack)), source.truth)


def photographed(root, counts, f_numbers) -> Iterator[Case]:
    """Yield stacks of real photographs with synthetic defocus, focused evenly over the disparities of each.

    Rendered is the largest number of planes; the others are thinned out of it.
    """
    for f_number in f_numbers:
        for number, source in enumerate(load_rgbd(root)):
            width = source.image.shape[1]
            far, near = np.nanquantile(optics.dioptres(source.depth), (0.05, 0.95))
            stack, truth = refocus_photograph(
                source.image,
                source.depth,
                source.K,
                0.036 * source.K[0, 0] / width,  # a sensor 36 mm wide, as the FOSSA paper has it
                f_number,
                optics.dioptre_space(1 / near, 1 / far, max(counts)),
                ratio=max(1.5, width / RGBD_WIDTH),
                rng=number,
                workers=2,
            )
            for count in counts:
                yield Case(source.name, f"{count} planes, F{f_number:g}", thinned(stack, count), truth)


def simulated(scenes, counts, near, far) -> Iterator[Case]:
    """Yield stacks of the simulator: 640x480, 12 mm F/1.4, fx 600 px (blur 5.1 px a dioptre), sensor noise."""
    for count in counts:
        distances = optics.dioptre_space(near, far, count)
        for seed in range(scenes):
            stack, truth = render_stack(seed, SimulatedCamera(), distances, rng=seed, workers=2)
            yield Case(make_scene(seed).name, f"{count} planes, {near:g} to {far:g} m", stack, truth)


def thinned(stack, count) -> FocusStack:
    """Keep ``count`` planes, evenly chosen in order of focus distance, the nearest and the farthest among them."""
    order = np.argsort(stack.focus_distances, kind="stable")
    kept = order[np.rint(np.linspace(0, len(order) - 1, count)).astype(int)]
    return replace(stack, planes=tuple(stack.planes[index] for index in kept), reference=None)


def disturbed(stack, arguments, rng) -> FocusStack:
    """Shuffle the planes, misstate their focus distances, forget the lens: whatever is asked for."""
    planes = list(stack.planes)
    if arguments.shuffle:
        planes = [planes[index] for index in rng.permutation(len(planes))]
    if arguments.misstate:
        factors = 1 + arguments.misstate * rng.uniform(-1, 1, len(planes))
        planes = [FocusPlane(p.image, p.focus_distance * f) for p, f in zip(planes, factors, strict=True)]
    lens = {"f_number": None, "focal_length": None} if arguments.blind else {}
    return replace(stack, planes=tuple(planes), reference=None, **lens)


def measure(estimator, cases, arguments, advance) -> dict[str, dict]:
    """Return, by group, figures a stack, error by tenths of confidence, and times in ms."""
    groups: dict[str, dict] = {}
    for index, case in enumerate(cases):
        stack = disturbed(case.stack, arguments, np.random.default_rng([arguments.seed, index]))
        group = groups.setdefault(case.group, {"stacks": {}, "errors": [], "confidences": [], "times": []})
        for _ in range(arguments.repeats):
            began = time.perf_counter()
            result = estimator.estimate(stack)
            group["times"].append(1e3 * (time.perf_counter() - began))
        group["stacks"][case.name] = depth_metrics(result.depth, case.truth)
        both = np.isfinite(result.depth) & np.isfinite(case.truth)
        group["errors"].append(np.abs(result.depth - case.truth)[both] / case.truth[both])
        group["confidences"].append(result.confidence[both])
        advance(f"{case.group}: {case.name}")
    for group in groups.values():
        error, confidence = np.concatenate(group.pop("errors")), np.concatenate(group.pop("confidences"))
        tenth = np.searchsorted(np.quantile(confidence, TENTHS[1:-1]), confidence)
        group["mean"] = mean_metrics(group["stacks"].values())
        group["abs_rel_by_tenths_of_confidence"] = [
            float(error[tenth == k].mean()) if (tenth == k).any() else None for k in range(10)
        ]
        times = group.pop("times")
        group["ms"] = {"p50": float(np.quantile(times, 0.5)), "p95": float(np.quantile(times, 0.95))}
    return groups


def show(console, name, group) -> None:
    """Print one group: a row a stack, and the mean."""
    table = Table("stack", *FIGURES, title=name, title_justify="left")
    for stack, figures in group["stacks"].items():
        table.add_row(stack, *(f"{figures[figure]:.4f}" for figure in FIGURES))
    table.add_section()
    table.add_row("mean", *(f"{group['mean'][figure]:.4f}" for figure in FIGURES))
    console.print(table)
    tenths = group["abs_rel_by_tenths_of_confidence"]
    listed = " ".join("-" if error is None else f"{error:.3f}" for error in tenths)
    console.print(f"AbsRel by tenths of confidence, least first: {listed}")
    console.print(f"time: p50 {group['ms']['p50']:.0f} ms, p95 {group['ms']['p95']:.0f} ms\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("folder", nargs="?", help="folder of stacks with known depth")
    source.add_argument("--rgbd", metavar="DIR", help="photographs with depth: see rgbd_images.py")
    source.add_argument("--simulated", type=int, metavar="SCENES", help="the simulator's scenes 0 .. SCENES-1")
    parser.add_argument("--planes", type=int, nargs="+", help="numbers of planes [all; 3 5 9 where they are rendered]")
    parser.add_argument("--f-number", type=float, nargs="+", default=[1.4, 2.8, 4.0], help="of --rgbd")
    parser.add_argument("--near", type=float, default=0.35, help="nearest focus distance of --simulated, m")
    parser.add_argument("--far", type=float, default=6.0, help="farthest focus distance of --simulated, m")
    parser.add_argument("--shuffle", action="store_true", help="planes in random order")
    parser.add_argument("--misstate", type=float, default=0.0, help="largest relative error of the focus distances")
    parser.add_argument("--blind", action="store_true", help="forget f-number and focal length")
    parser.add_argument("--seed", type=int, default=0, help="of --shuffle and --misstate")
    parser.add_argument("--repeats", type=int, default=1, help="timed runs a stack")
    parser.add_argument("--estimator", default="classical", choices=ESTIMATORS)
    for option in ("--model", "--checkpoint", "--device", "--precision"):
        parser.add_argument(option, help="of --estimator fossa")
    parser.add_argument("--json", metavar="FILE", help="write every figure to this file")
    arguments = parser.parse_args()
    counts = arguments.planes or [3, 5, 9]
    if not 0 <= arguments.misstate < 1 or min(counts) < 2 or arguments.repeats < 1:
        parser.error("--misstate must be in 0..1, --planes 2 or more, --repeats 1 or more")
    network = {name: getattr(arguments, name) for name in ("model", "checkpoint", "device", "precision")}
    console = Console()
    try:
        estimator = create_estimator(arguments.estimator, **network)
        if arguments.folder:
            cases = saved(arguments.folder, arguments.planes)
        elif arguments.rgbd:
            cases = photographed(arguments.rgbd, counts, arguments.f_number)
        else:
            cases = simulated(arguments.simulated, counts, arguments.near, arguments.far)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Measuring", total=None)
            groups = measure(
                estimator, cases, arguments, lambda name: bar.update(task, advance=1, description=name)
            )
        if not groups:
            raise InputError(f"No stack of {arguments.folder} has {min(counts)} planes; ask for fewer.")
        for name, group in groups.items():
            show(console, f"{arguments.estimator}, {name}", group)
        if arguments.json:
            with replacing(Path(arguments.json)) as partial:
                partial.write_text(json.dumps(groups, indent=1))
    except FossaError as error:
        sys.exit(f"validation: {error}")


if __name__ == "__main__":
    main()
