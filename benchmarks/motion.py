"""Benchmark the motion check: wrong verdicts, the accuracy that repair and masks save, and the time it takes.

The sweeps are those of ``benchmarks/moving_sweeps.py``: half of them stand still, with noise, flicker and focus
errors; in the others the camera or an object moves by a known amount. docs/motion.md holds the figures.

    python benchmarks/motion.py [--sweeps 2000] [--cache DIR] [--out DIR]
    python benchmarks/motion.py --knocks-only  # whether sweeps are still again after a knock

Writes ``motion.md`` with the tables and ``roc.png``.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import cv2
import matplotlib
import numpy as np
from moving_sweeps import CAMERA_TURNS, OBJECT_MOVES, Motion, MovingSweep, ScenePool
from rich.progress import Progress

from fossa_ros.core.freed_memory import keep_freed_memory
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.atomic import replacing
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.temporal_filter import TemporalFilter
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep.gyro import GyroSamples

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SCENES = 20
PX_AT_640 = 12.0  # of global motion, for which repair must work
REFUSED = ("rejected", "unknown")
AT_REST_PX = 0.2  # of true misalignment, after a knock


def drawn(pool: ScenePool, seed: int, cache: Path | None) -> MovingSweep:
    """Draw a sweep, or take it from ``cache``, a folder that only this benchmark writes to."""
    path = cache and cache / f"{seed}.pkl"
    if path and path.exists():
        return pickle.loads(path.read_bytes())
    sweep = pool.draw(seed)
    if path:
        with replacing(path) as temporary:
            temporary.write_bytes(pickle.dumps(sweep, protocol=5))
    return sweep


def checked(sweep: MovingSweep, *, gyro: bool = False, bookend: bool = False, config: MotionConfig | None = None):
    """Check a sweep after the sweeps before it."""
    check = MotionCheck(config)
    for before in sweep.before:
        check.check(before)
    stack = sweep.stack
    if bookend:
        stack = FocusStack((*stack.planes, sweep.bookend), stack.K, stack.f_number, stack.focal_length, stack.reference)
    return check.check(stack, GyroSamples(sweep.gyro_ns, sweep.gyro) if gyro else None)


def abs_rel(depth: np.ndarray, truth: np.ndarray, where=True) -> float:
    """Return the mean relative error over a part of the view."""
    return depth_metrics(depth, np.where(where, truth, np.nan))["abs_rel"]


def compare_with_truth(sweep: MovingSweep, seed: int) -> dict:
    """Return the verdict on one sweep beside the truth."""
    found = checked(sweep)
    row = {
        "seed": seed,
        "motion": sweep.motion,
        "before": len(sweep.before),
        "bad": sweep.is_bad(),
        "true_px": sweep.misalignment_px,
        "true_share": float(sweep.moving.mean()),
        "verdict": found.verdict,
        "severity": found.severity,
        "px": found.motion_px,
        "sigma": found.uncertainty_px,
        "share": found.moving_share,
        "reason": found.reason,
    }
    if sweep.motion in CAMERA_TURNS:
        with_gyro = checked(sweep, gyro=True)
        row |= {"gyro_px": with_gyro.motion_px, "gyro_sigma": with_gyro.uncertainty_px}
    if sweep.motion in OBJECT_MOVES and row["bad"]:
        with_bookend = checked(sweep, bookend=True)
        row |= {"bookend_verdict": with_bookend.verdict, "bookend_iou": iou(with_bookend, sweep)}
        row["iou"] = iou(found, sweep)
    if row["bad"] and found.verdict == "repaired" and sweep.motion in CAMERA_TURNS:
        row |= repair_errors(sweep, found)
    if row["bad"] and found.verdict == "masked" and sweep.motion in OBJECT_MOVES:
        row |= mask_errors(sweep, found)
    return row


def iou(found, sweep: MovingSweep) -> float:
    """Return intersection over union of the mask and what truly moved."""
    if found.moving is None:
        return np.nan
    return float((found.moving & sweep.moving).sum() / (found.moving | sweep.moving).sum())


def repair_errors(sweep: MovingSweep, found) -> dict:
    """Return the relative error of the unmoved, the repaired and the moved sweep, where all have a depth."""
    estimate = ClassicalEstimator().estimate
    depths = [
        estimate(sweep.unmoved).depth,
        estimate(found.stack).within(found.valid).depth,
        estimate(sweep.stack).depth,
    ]
    common = np.isfinite(depths).all(axis=0)
    names = ("unmoved", "repaired", "as_it_was")
    return {name: abs_rel(depth, sweep.depth, common) for name, depth in zip(names, depths, strict=True)}


def mask_errors(sweep: MovingSweep, found) -> dict:
    """Return the relative error of the sweep without the mover outside the mask, of the masked one, and unmasked."""
    estimate = ClassicalEstimator().estimate
    unmoved, moved = estimate(sweep.unmoved).depth, estimate(found.stack).depth
    outside = ~found.moving & np.isfinite(unmoved) & np.isfinite(moved)
    calm = ~sweep.moving
    return {
        "outside_unmoved": abs_rel(unmoved, sweep.depth, outside & calm),
        "outside": abs_rel(moved, sweep.depth, outside),
        "unmasked": abs_rel(moved, sweep.depth, True),
    }


def mover_errors(sweep: MovingSweep, share: float) -> dict[str, dict[str, float]] | None:
    """Return coverage and relative error in three parts of the view for masks, flow and memory; None if not masked.

    The parts: where something truly moved, the rest of the view, and within 4 px of the edges of the rest.
    """
    estimate = ClassicalEstimator().estimate
    plain, followed = MotionCheck(), MotionCheck(MotionConfig(follow_share=share))
    memory = TemporalFilter()
    for before in sweep.before:
        found = plain.check(before)
        followed.check(before)
        if found.stack is not None:
            memory.filter(estimate(found.stack).within(found.valid))
    found, aligned = plain.check(sweep.stack), followed.check(sweep.stack)
    if found.verdict != "masked" or found.moving_share > share:
        return None
    masked = estimate(found.stack).within(found.valid)
    depths = {
        "masked": masked.depth,
        "followed": estimate(aligned.stack).within(aligned.valid).depth,
        "masked, with memory": memory.filter(masked).depth if sweep.before else None,
        "neither": estimate(sweep.stack).depth,
    }
    near = cv2.dilate(sweep.depth, np.ones((9, 9))) > 1.1 * cv2.erode(sweep.depth, np.ones((9, 9)))
    parts = {"moving": sweep.moving, "rest": ~sweep.moving, "edges of the rest": ~sweep.moving & near}
    errors = {}
    for name, depth in depths.items():
        for part, where in parts.items() if depth is not None else ():
            known = np.isfinite(depth) & where
            errors[name, part] = {
                "coverage": float(known.sum() / where.sum()),
                "abs_rel": abs_rel(depth, sweep.depth, where) if known.any() else np.nan,
            }
    return errors


def compare_movers(sweeps: int, share: float, cache: Path | None) -> str:
    """Compare masks, flow and memory on sweeps in which something moves independently of the camera; return a table."""
    pool = ScenePool(SCENES)
    found = []
    for seed in range(sweeps):
        sweep = drawn(pool, seed, cache)
        errors = mover_errors(sweep, share) if sweep.motion in OBJECT_MOVES and sweep.is_bad() else None
        if errors is not None:
            found.append(errors)
    rows = []
    for name in dict.fromkeys(name for errors in found for name in errors):
        some = [errors[name] for errors in found if name in errors]
        cells = (np.nanmean([each[figure] for each in some]) for figure in ("coverage", "abs_rel"))
        rows.append([*name, *(f"{cell:.3f}" for cell in cells), len(some)])
    return table(["", "part of the view", "coverage", "AbsRel", "sweeps"], rows)


def scene_rows(scene: int, sweeps: int, cache: Path | None) -> list[dict]:
    """Check the sweeps of one scene: the task of one process."""
    cv2.setNumThreads(1)
    pool = ScenePool(SCENES)
    return [compare_with_truth(drawn(pool, seed, cache), seed) for seed in range(scene, sweeps, SCENES)]


def knock_rows(scene: int, knocks: int) -> list[dict]:
    """Check the sweeps around the knocks of one scene: the task of one process."""
    cv2.setNumThreads(1)
    pool = ScenePool(SCENES)
    rows = []
    for seed in range(scene, knocks, SCENES):
        stacks, misalignment = pool.knocked(seed)
        check = MotionCheck()
        for number, (stack, true) in enumerate(zip(stacks, misalignment, strict=True)):
            found = check.check(stack)
            rows.append(
                {
                    "after": number - int(np.argmax(misalignment > AT_REST_PX)),
                    "true_px": float(true),
                    "px": found.motion_px,
                    "verdict": found.verdict,
                }
            )
    return rows


def knock_summary(rows: list[dict]) -> str:
    """Return how sweeps are judged before, during and after knocks."""
    rest = [row for row in rows if row["true_px"] <= AT_REST_PX]
    parts = {
        "at rest, before the knock": [row for row in rest if row["after"] < 0],
        "misaligned by more than 1.5 px": [row for row in rows if row["true_px"] > MotionConfig.still_px],
        "at rest, after the knock": [row for row in rest if row["after"] > 0],
    }
    lines = []
    for name, some in parts.items():
        px = np.array([row["px"] for row in some])
        still = _share(some, lambda row: row["verdict"] == "still")
        lines.append([name, still, *(f"{each:.2f}" for each in (px.mean(), *np.percentile(px, (50, 95, 100))))])
    return table(["sweeps", "still", "px found: mean", "p50", "p95", "largest"], lines)


def roc(rows: list[dict]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return false and true positive rates of refusing by severity, falling, and the area under them."""
    severity = np.array([row["severity"] for row in rows])
    bad = np.array([row["bad"] for row in rows])
    order = np.argsort(-severity, kind="stable")
    falling = severity[order]
    last = np.append(falling[1:] != falling[:-1], True)  # equal severities are one point
    true = np.append(0, np.cumsum(bad[order])[last]) / bad.sum()
    false = np.append(0, np.cumsum(~bad[order])[last]) / (~bad).sum()
    return false, true, float(np.trapezoid(true, false))


def plot_roc(rows: list[dict], path: Path) -> None:
    """Draw the curve of all sweeps, and one for each kind of motion against the still ones."""
    figure, axes = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    kinds = [None, *(kind for kind in Motion if any(row["motion"] == kind and row["bad"] for row in rows))]
    for kind in kinds:
        some = rows if kind is None else [row for row in rows if row["motion"] == kind or not row["bad"]]
        false, true, area = roc(some)
        style = {"color": "black", "linewidth": 2.5} if kind is None else {"linewidth": 1.2}
        axes.plot(100 * false, 100 * true, label=f"{kind or 'all'}: {area:.4f}", **style)
    at = [np.mean([row["verdict"] != "still" for row in rows if row["bad"] is wanted]) for wanted in (False, True)]
    axes.plot(100 * at[0], 100 * at[1], "ko", label="not still, default thresholds")
    axes.set(
        xlim=(-0.3, 12),
        ylim=(85, 100.3),
        xlabel="good sweeps not taken as still, %",
        ylabel="bad sweeps not taken as still, %",
    )
    axes.grid(alpha=0.3)
    axes.legend(title="area under the curve", fontsize=8, loc="lower right")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def cost(width: int = 640, sweeps: int = 40) -> list[list[str]]:
    """Return rows of p50 and p95 in ms a sweep of 5 planes: the whole check, and the part after the last plane came."""
    cv2.setNumThreads(1)  # as in the nodes
    keep_freed_memory()
    stack, _ = render_stack(1, SimulatedCamera(), np.geomspace(0.35, 6.0, 5), views=24, rng=0)
    size = (width, width * 3 // 4)
    stack = stack.with_images([cv2.resize(plane.image, size) for plane in stack.planes])
    rng = np.random.default_rng(0)
    checks = {"whole check": MotionCheck(), "after the last plane": MotionCheck()}
    taken = {name: [] for name in checks}
    for number in range(sweeps + 2):
        noise = [rng.normal(0, 2, plane.image.shape) for plane in stack.planes]
        images = [
            np.clip(plane.image + each, 0, 255).astype(np.uint8)
            for plane, each in zip(stack.planes, noise, strict=True)
        ]
        for name, check in checks.items():
            new = stack.with_images(images)
            early = new.planes[:-1] if name == "after the last plane" else ()
            for plane in early:
                check.add_plane(plane, new.K)
            wall, processor = time.perf_counter(), time.process_time()
            for plane in new.planes[len(early) :]:
                check.add_plane(plane, new.K)
            check.finish(new)
            if number >= 2:
                taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    rows = []
    for name, times in taken.items():
        wall, processor = np.percentile(np.array(times) * 1e3, (50, 95), axis=0).T
        figures = (f"{milliseconds:.1f}" for milliseconds in (*wall, *processor))
        rows.append([f"{width}x{width * 3 // 4}", name, *figures])
    return rows


def table(head: list[str], rows: list[list]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def _mean(rows: list[dict], name: str) -> float:
    values = [row[name] for row in rows if name in row and np.isfinite(row[name])]
    return float(np.mean(values)) if values else np.nan


def _share(rows: list[dict], of) -> str:
    return f"{sum(map(of, rows))} of {len(rows)} ({np.mean([bool(of(row)) for row in rows]) if rows else 0:.1%})"


def summary(rows: list[dict]) -> str:
    """Return the tables."""
    bad, good = [r for r in rows if r["bad"]], [r for r in rows if not r["bad"]]
    still = [row for row in good if row["motion"] in (Motion.NOTHING, Motion.EXPOSURE_STEP)]
    scenes = len({row["seed"] % SCENES for row in rows})
    text = f"{len(rows)} sweeps of {scenes} scenes, {len(bad)} of them bad; area under the ROC {roc(rows)[2]:.4f}.\n\n"
    text += table(
        ["", "sweeps"],
        [
            ["bad, taken as still", _share(bad, lambda row: row["verdict"] == "still")],
            ["good, refused", _share(good, lambda row: row["verdict"] in REFUSED)],
            ["nothing moved at all, refused", _share(still, lambda row: row["verdict"] in REFUSED)],
            [
                "nothing moved at all, masked or repaired",
                _share(still, lambda r: r["verdict"] in ("masked", "repaired")),
            ],
        ],
    )
    text += "\n"
    verdicts = ("still", "repaired", "masked", "rejected", "unknown")
    lines = []
    for kind in Motion:
        for wanted in (False, True):
            some = [row for row in rows if row["motion"] == kind and row["bad"] is wanted]
            if some:
                count = Counter(row["verdict"] for row in some)
                lines.append([kind, "bad" if wanted else "good", len(some), *(count[name] for name in verdicts)])
    text += table(["what moves", "truth", "sweeps", *verdicts], lines) + "\n"
    small = [row for row in rows if "repaired" in row and row["true_px"] <= PX_AT_640 * 518 / 480]
    masked = [row for row in rows if "outside" in row]
    named = [row for row in rows if "iou" in row]
    ious = [row["iou"] for row in named if row["verdict"] == "masked"]
    turned = [row for row in rows if "gyro_px" in row and row["true_px"] <= 30]
    text += table(
        ["", "figure", "sweeps"],
        [
            ["AbsRel of the same sweeps unmoved", f"{_mean(small, 'unmoved'):.4f}", len(small)],
            ["repaired", f"{_mean(small, 'repaired'):.4f}", f"{_ratio(small, 'repaired', 'unmoved')} times"],
            ["not repaired", f"{_mean(small, 'as_it_was'):.4f}", f"{_ratio(small, 'as_it_was', 'unmoved')} times"],
            ["IoU of masks, mean", f"{np.mean(ious):.3f}", len(ious)],
            ["IoU of masks, median", f"{np.median(ious):.3f}", len(ious)],
            ["AbsRel outside the mask, nothing moving", f"{_mean(masked, 'outside_unmoved'):.4f}", len(masked)],
            ["masked", f"{_mean(masked, 'outside'):.4f}", f"{_ratio(masked, 'outside', 'outside_unmoved')} times"],
            [
                "without a mask",
                f"{_mean(masked, 'unmasked'):.4f}",
                f"{_ratio(masked, 'unmasked', 'outside_unmoved')} times",
            ],
            ["IoU with a bookend plane, mean", f"{_mean(named, 'bookend_iou'):.3f}", len(named)],
            ["error of the motion, px, RMS", f"{_rms(turned, 'px'):.2f}", len(turned)],
            ["stated uncertainty, px, mean", f"{_mean(turned, 'sigma'):.2f}", ""],
            ["with a gyroscope: error, px, RMS", f"{_rms(turned, 'gyro_px'):.2f}", ""],
            ["stated uncertainty, px, mean", f"{_mean(turned, 'gyro_sigma'):.2f}", ""],
        ],
    )
    return text


def _ratio(rows, name, base) -> str:
    return f"{_mean(rows, name) / _mean(rows, base):.3f}"


def _rms(rows, name) -> float:
    return float(np.sqrt(np.nanmean([(row[name] - row["true_px"]) ** 2 for row in rows])))


@click.command()
@click.option("--sweeps", default=2000, show_default=True)
@click.option("--scenes", default=SCENES, show_default=True, help="Take only the sweeps of so many of the scenes.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for the sweeps drawn, about 5 MB each.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/motion"), show_default=True)
@click.option("--movers-only", is_flag=True, help="Compare only masks, flow and memory.")
@click.option("--follow-share", default=0.2, show_default=True, help="Largest mover that flow aligns there.")
@click.option("--knocks-only", is_flag=True, help="Check only sweeps around knocks.")
@click.option("--knocks", default=120, show_default=True, help="Knocks there.")
@click.option("--cost-only", is_flag=True, help="Measure only the time of a check.")
def main(sweeps, scenes, jobs, cache, out, movers_only, follow_share, knocks_only, knocks, cost_only):
    """Check sweeps with known motion, and measure the time of a check."""
    if knocks_only:
        with Progress() as bar, ProcessPoolExecutor(jobs) as pool:
            futures = [pool.submit(knock_rows, scene, knocks) for scene in range(scenes)]
            rows = [row for future in bar.track(futures, description="Scenes") for row in future.result()]
        click.echo(knock_summary(rows))
        return
    if movers_only:
        click.echo(compare_movers(sweeps, follow_share, cache))
        return
    if not cost_only:
        rows = []
        if cache:
            cache.mkdir(parents=True, exist_ok=True)
        with Progress() as bar, ProcessPoolExecutor(jobs) as pool:
            task = bar.add_task("Scenes", total=scenes)
            futures = [pool.submit(scene_rows, scene, sweeps, cache) for scene in range(scenes)]
            for future in futures:
                rows += future.result()
                bar.advance(task)
        out.mkdir(parents=True, exist_ok=True)
        plot_roc(rows, out / "roc.png")
        with replacing(out / "rows.pkl") as temporary:
            temporary.write_bytes(pickle.dumps(rows))
        with replacing(out / "motion.md") as temporary:
            temporary.write_text(summary(rows))
        click.echo(summary(rows))
        for row in rows:
            if row["verdict"] == "still" if row["bad"] else row["verdict"] in REFUSED:
                click.echo({name: value for name, value in row.items() if name != "bad"})
    head = ["image", "5 planes, ms a sweep", "wall p50", "wall p95", "processor p50", "processor p95"]
    click.echo(table(head, [row for width in (640, 1280) for row in cost(width)]))


if __name__ == "__main__":
    main()
