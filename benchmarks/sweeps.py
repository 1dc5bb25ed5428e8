"""Measure how fast sweeps are on the simulated rig, and count what faults do to them: the tables of docs/sweeps.md.

The rig is the simulated camera in real time and the Optotune backend over a pseudo-terminal. Its rate is compared with
the timeline of ``fossa plan`` for the measured acknowledgement and arrival times. The faults are those of
``fossa_ros.simulation.virtual_sweeps``: the sequencer in virtual time, with a referee that knows the truth.

    python benchmarks/sweeps.py [--rig-sweeps 200] [--virtual-sweeps 10000] [--mode counted] [--out tables.md]
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from fossa_ros.io.atomic import replacing
from fossa_ros.lens import open_lens
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.rig import RigConfig, SimulatedRig
from fossa_ros.simulation.virtual_sweeps import Fault, Scenario, Tally, VirtualRun
from fossa_ros.sweep import (
    Frame,
    SweepCapture,
    SweepConfig,
    SweepDecoder,
    SweepMode,
    SweepOutput,
    SweepPlan,
    SweepTiming,
)
from fossa_ros.sweep.planner import Latencies, timeline

RATE, EXPOSURE, SETTLING, PLANES = 60.0, 0.004, 0.018, 5
RATES = (15.0, 30.0, 60.0, 100.0, 200.0)
PER_RUN = 20
PRACTICE = 4 * PLANES  # stacks that do not count
MS = 1e6
RIG_ROWS = [
    (SweepMode.STEP, SweepOutput.SWEEP),
    (SweepMode.STEP, SweepOutput.ROLLING),
    (SweepMode.RAMP, SweepOutput.SWEEP),
    (SweepMode.RAMP, SweepOutput.ROLLING),
]


def rig_row(rig_of, mode, output, count, progress) -> list[str]:
    """Take ``count`` stacks on the real-time rig; return a row of the table."""
    plan = SweepPlan.evenly(0.35, 6.0, PLANES)
    timing = SweepTiming(settling_ns=round(SETTLING * 1e9), exposure_ns=round(EXPOSURE * 1e9))
    config = SweepConfig(mode=mode, output=output)
    sweeps, ends, acknowledgements, stamps, done = [], [], [], [], threading.Event()
    wanted = count + PRACTICE

    def on_sweep(sweep):
        sweeps.append(sweep)
        ends.append(time.monotonic())
        progress()
        if len(sweeps) >= wanted:
            done.set()

    rig = rig_of(lambda frame: on_frame(frame))
    lens = open_lens("optotune_ld4", rig.port, power_offset=2.0)
    move_to = lens.move_to

    def timed(distance):
        move = move_to(distance)
        acknowledgements.append(move.acknowledged_ns - move.sent_ns)
        return move

    lens.move_to = timed
    decoder = SweepDecoder(lambda frame: frame.image)
    capture = SweepCapture(plan, timing, lambda: lens, decoder, on_sweep, config=config)
    intrinsics = tuple(rig_camera().K.ravel())

    def on_frame(frame):
        stamps.append(frame.stamp_ns)
        arrival = time.time_ns()
        capture.add_frame(Frame(frame.stamp_ns, arrival, frame.image.shape, intrinsics, frame.image))

    rig.start()
    capture.start()
    done.wait(120)
    latency = capture.latency_ns
    capture.close()
    rig.close()
    good = [(end, sweep) for end, sweep in zip(ends, sweeps, strict=True) if sweep.stack is not None][PRACTICE:]
    latencies = Latencies(round(1e9 / RATE), max(latency, 0), round(np.median(acknowledgements)))
    planned = timeline(plan, timing, config, latencies)
    if len(good) < 2:
        raise SystemExit(f"{mode} {output}: no stacks; {sweeps[-1].reason if sweeps else 'no sweep ended'}")
    intervals = np.diff([end for end, _ in good])
    # Two rolling stacks at the turn of a sweep are renewed by the same plane: the rate is that of the whole run.
    rate = len(intervals) / intervals.sum()
    order = {stamp: index for index, stamp in enumerate(stamps)}
    frames = np.diff([order[max(sweep.stamps_ns)] for _, sweep in good])
    p50, p95 = np.percentile(intervals * 1e3, [50, 95])
    return [
        mode,
        output,
        f"{planned.depth_rate:.2f}",
        f"{rate:.2f}",
        f"{rate / planned.depth_rate:.1%}",
        f"{p50:.1f}",
        f"{p95:.1f}",
        f"{np.median(frames):.0f} / {np.percentile(frames, 95):.0f}",
        f"{latencies.acknowledge_ns / MS:.2f}",
        f"{latency / MS:.2f}",
        str(sum(sweep.stack is None for sweep in sweeps)),
    ]


def rig_camera() -> SimulatedCamera:
    """Return a camera small enough to be rendered at 60 Hz beside other work."""
    return SimulatedCamera(width=96, height=72, fx=90.0)


def rig_table(count: int, progress) -> str:
    """Take ``count`` stacks in each mode and output; return the conditions and the table."""
    config = RigConfig(camera=rig_camera(), rate=RATE, exposure=EXPOSURE)
    load = os.getloadavg()[0]
    rows = [rig_row(lambda on_frame: SimulatedRig(config, on_frame), *row, count, progress) for row in RIG_ROWS]
    head = ["mode", "output", "timeline, depth/s", "measured", "share", "p50, ms", "p95, ms"]
    head += ["frames a stack, p50 / p95", "acknowledge, ms", "arrival, ms", "sweeps without stack"]
    return (
        f"Rig at {RATE:.0f} Hz, {EXPOSURE * 1e3:.0f} ms exposure, {SETTLING * 1e3:.0f} ms settling, {PLANES} "
        f"planes from 0.35 to 6 m, {count} stacks a row; {os.cpu_count()} cores, load {load:.1f} to "
        f"{os.getloadavg()[0]:.1f} meanwhile.\n\n{table(head, rows)}\n"
    )


def virtual_table(count: int, seed: int, modes: tuple[SweepMode, ...], progress) -> tuple[str, list[str]]:
    """Take ``count`` sweeps in virtual time, spread over faults, modes and rates; return the table and notes."""
    tallies: dict[Fault, Tally] = defaultdict(Tally)
    taken, total, first = 0, Tally(), seed
    while taken < count:
        for fault in Fault:
            for mode in modes:
                rolling = seed % 2 and mode is not SweepMode.COUNTED
                output = SweepOutput.ROLLING if rolling else SweepOutput.SWEEP
                measures = mode is not SweepMode.EXTERNAL and seed % 3 == 1  # or counts its frames
                scenario = Scenario(fault, mode, output, RATES[seed % len(RATES)], seed, measures)
                tallies[fault] += VirtualRun(scenario).sweeps(PER_RUN)
                taken += PER_RUN
                progress(PER_RUN)
        seed += 1
    for tally in tallies.values():
        total += tally
    rows = [
        [name, tally.good, tally.wrong, tally.lost, tally.justified, f"{tally.seconds:.0f}"]
        for name, tally in [*tallies.items(), ("**all**", total)]
    ]
    head = [
        "fault",
        "good stacks",
        "planes wrong",
        "lost though good",
        "ended with a reason, disturbed",
        "virtual seconds",
    ]
    return (
        f"{taken} sweeps in virtual time, 15 to 200 Hz, {', '.join(modes)}, seeds from {first}.\n\n{table(head, rows)}"
    ), total.notes


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


@click.command()
@click.option("--rig-sweeps", default=200, show_default=True, help="Stacks for each row of the rig; 0 for none.")
@click.option("--virtual-sweeps", default=10_000, show_default=True, help="Sweeps in virtual time; 0 for none.")
@click.option("--seed", default=0, show_default=True, help="Of the first run in virtual time.")
@click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in SweepMode]),
    help="Only this mode in virtual time.  [default: all]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the tables there instead of the terminal.")
def main(rig_sweeps, virtual_sweeps, seed, mode, out):
    """Measure sweeps on the rig, and count what faults do to them."""
    console = Console(stderr=True)
    text = ""
    with Progress(console=console) as bar:
        if rig_sweeps:
            task = bar.add_task("Rig", total=len(RIG_ROWS) * (rig_sweeps + PRACTICE))
            text += rig_table(rig_sweeps, lambda: bar.advance(task))
        if virtual_sweeps:
            task = bar.add_task("Virtual time", total=virtual_sweeps)
            modes = (SweepMode(mode),) if mode else tuple(SweepMode)
            rows, notes = virtual_table(virtual_sweeps, seed, modes, lambda count: bar.advance(task, count))
            text += rows
            for note in notes[:20]:
                console.print(note)
    if out is None:
        click.echo(text)
        return
    with replacing(out) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    main()
