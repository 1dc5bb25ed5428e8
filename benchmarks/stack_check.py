"""Benchmark the focus check: good sweeps that it refuses, impossible ones that it passes, and the time it takes.

The good sweeps are those of ``benchmarks/moving_sweeps.py``, with noise, flicker, focus errors, moving cameras and
objects, after the motion check. The others are of the same scenes and sensors, but the lens holds one focus, misses one
command, or lags by one, or a frame is delivered twice, in all planes or in two. docs/validation.md holds the figures.

    python benchmarks/stack_check.py [--sweeps 2000] [--first 0] [--scene 100] [--jpeg 0] [--out FILE]
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import click
import cv2
import numpy as np
from moving_sweeps import FOCUS, OBJECT_MOVES, MovingSweep, ScenePool

from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.motion import MotionCheck
from fossa_ros.pipeline.stack_check import StackFindings, check_stack, repeated_frames

SCENES = 20
PLANES = range(len(FOCUS))


def findings(stack: FocusStack, captured: FocusStack | None = None) -> tuple[StackFindings, float]:
    """Return what the pipeline finds in an aligned stack, and the processor time (ms) it takes.

    ``captured`` are its planes before they were warped; None if they were not.
    """
    started = time.thread_time()
    found = StackFindings(repeated_frames(captured or stack))
    if not found.refusal:
        found = check_stack(stack, captured)
    return found, (time.thread_time() - started) * 1e3


def impossible(pool: ScenePool, seed: int, sweep: MovingSweep) -> Iterator[tuple[str, FocusStack]]:
    """Yield stacks whose planes are not at the focus distances that they state."""
    rng = np.random.default_rng([seed, 17])
    held, late = int(rng.integers(len(PLANES))), int(rng.integers(1, len(PLANES)))
    moves = sweep.motion in OBJECT_MOVES
    for name, taken_at in (
        ("the lens holds one focus", [held] * len(PLANES)),
        ("the lens misses one command", [late - 1 if plane == late else plane for plane in PLANES]),
        ("the lens lags by one command", [0, *PLANES[:-1]]),
        ("the lens stops on its way", [min(plane, 1 + held % 3) for plane in PLANES]),
        ("the lens moves half of its way", [plane // 2 for plane in PLANES]),
    ):
        yield name, pool.at_focus(seed, sweep.motion, taken_at, moves)
    images = sweep.stack.images()
    yield "one frame in all planes", sweep.stack.with_images([images[held].copy() for _ in PLANES])
    again = [late - 1 if plane == late else plane for plane in PLANES]
    yield "one frame in two planes", sweep.stack.with_images([images[plane].copy() for plane in again])
    reversed_planes = [images[plane] for plane in PLANES[::-1]]
    yield "planes reversed", sweep.unmoved.with_images(reversed_planes)


def warped(stack: FocusStack, seed: int) -> FocusStack:
    """Return a stack whose planes are shifted by parts of a pixel, as a repair of noise would shift them."""
    height, width = stack.size
    shifts = np.random.default_rng([seed, 18]).uniform(-0.5, 0.5, (len(stack.planes), 2))
    shift = [np.float32([[1, 0, x], [0, 1, y]]) for x, y in shifts]
    return stack.with_images(
        [
            cv2.warpAffine(plane.image, matrix, (width, height), flags=cv2.INTER_LANCZOS4)
            for plane, matrix in zip(stack.planes, shift, strict=True)
        ]
    )


def compressed(stack: FocusStack, quality: int) -> FocusStack:
    """Return a stack as it comes from a camera that sends JPEG; unchanged for a quality of 0."""
    if not quality:
        return stack
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return stack.with_images(
        [cv2.imdecode(cv2.imencode(".jpg", plane.image, parameters)[1], cv2.IMREAD_COLOR) for plane in stack.planes]
    )


def scene_rows(scene: int, first: int, sweeps: int, first_scene: int, quality: int) -> list[tuple]:
    """Check the sweeps of one scene, the task of one process; return (kind, refusal, warning, factor, sigma, ms)."""
    cv2.setNumThreads(1)
    pool = ScenePool(SCENES, first_scene)
    rows = []
    for seed in range(first + (scene - first) % SCENES, first + sweeps, SCENES):
        sweep = pool.draw(seed)
        check = MotionCheck()
        for before in sweep.before:
            check.check(compressed(before, quality))
        captured = compressed(sweep.stack, quality)
        accepted = check.check(captured).stack
        stacks = [(name, compressed(stack, quality), None) for name, stack in impossible(pool, seed, sweep)]
        stacks.append(("the lens holds one focus, repaired", warped(stacks[0][1], seed), stacks[0][1]))
        if accepted is not None:
            stacks.append(("good", accepted, captured))
        for name, stack, before_repair in stacks:
            found, took = findings(stack, before_repair)
            factor, sigma = (np.nan, np.nan) if found.blur is None else (found.blur.factor, found.blur.uncertainty)
            rows.append((name, found.refusal, found.warning, factor, sigma, took))
    return rows


def share_of_estimator(repeats: int = 10) -> str:
    """Return processor times of the check and of the classical estimator on five planes of 640x480."""
    cv2.setNumThreads(1)
    pool = ScenePool(1, 100)
    small = pool.draw(0).unmoved
    stack = FocusStack(
        tuple(
            type(plane)(cv2.resize(plane.image, (640, 480), interpolation=cv2.INTER_CUBIC), plane.focus_distance)
            for plane in small.planes
        ),
        np.diag([2.0, 2.0, 1.0]) @ small.K,
        small.f_number,
        small.focal_length,
    )
    estimate = ClassicalEstimator().estimate
    times = []
    for _ in range(repeats):
        checked = findings(stack)[1]
        started = time.thread_time()
        estimate(stack)
        times.append((checked, (time.thread_time() - started) * 1e3))
    check_ms, estimate_ms = np.median(times, axis=0)
    return (
        f"5 planes of 640x480: check {check_ms:.1f} ms, classical {estimate_ms:.1f} ms ({check_ms / estimate_ms:.0%})"
    )


def report(rows: list[tuple]) -> str:
    """Return the table of all kinds, and the blur factor of the good ones."""
    kinds = defaultdict(list)
    for kind, *rest in rows:
        kinds[kind].append(rest)
    lines = ["| sweeps | number | refused | warned | first words of the refusals |", "|---|---|---|---|---|"]
    for kind, found in sorted(kinds.items(), key=lambda item: item[0] != "good"):
        reasons = Counter(" ".join(refusal.split()[:6]) for refusal, *_ in found if refusal)
        words = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        refused = sum(reasons.values())
        warned = sum(bool(warning) for _, warning, *_ in found)
        lines.append(f"| {kind} | {len(found)} | {refused} ({refused / len(found):.2%}) | {warned} | {words} |")
    known = np.array([each[2:] for each in kinds["good"] if np.isfinite(each[2])])
    factor, sigma, took = known.T
    low, middle, high = np.percentile(factor, (1, 50, 99))
    within = np.mean(np.abs(np.log(factor)) < 2 * sigma)
    return "\n".join(
        [
            *lines,
            "",
            f"blur factor of the good sweeps, in truth 1: median {middle:.3f}, 1st to 99th percentile {low:.3f} to "
            f"{high:.3f}; within two of its standard deviations (median {np.median(sigma):.3f}): {within:.1%}",
            f"5 planes of 320x240: {np.median(took):.1f} ms",
        ]
    )


@click.command()
@click.option("--sweeps", default=2000)
@click.option("--first", default=0, help="Seed of the first sweep.")
@click.option("--scene", default=100, help="Seed of the first scene.")
@click.option("--jpeg", default=0, help="Quality of the JPEG that the camera sends; 0 for raw images.")
@click.option("--processes", default=1)
@click.option("--out", type=click.Path(path_type=Path), help="File of the tables.")
def main(sweeps, first, scene, jpeg, processes, out):
    """Print the tables; FILE holds those of the scenes so far."""
    rows = []
    with ProcessPoolExecutor(processes) as pool:
        tasks = [pool.submit(scene_rows, each, first, sweeps, scene, jpeg) for each in range(min(SCENES, sweeps))]
        for done, task in enumerate(as_completed(tasks), 1):
            rows += task.result()
            click.echo(f"{done} of {len(tasks)} scenes", err=True)
            if out:
                out.write_text(report(rows), encoding="utf-8")
    text = f"{report(rows)}\n{share_of_estimator()}\n"
    click.echo(text)
    if out:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
