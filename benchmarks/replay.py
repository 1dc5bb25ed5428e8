"""Time and memory of ``fossa replay`` on a large bag: 640x480 at 30 Hz, raw frames, classical estimator.

    python benchmarks/replay.py [--gigabytes 2] [--folder DIR]

The bag is one rendered stack with new noise in every frame. The replay runs in a process of its own with its default
outputs, on --processors processors; peak memory is the maximum resident set of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from fossa_ros.core.optics import dioptre_space
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.virtual_recording import Recording, write_recording

RIG = Path(__file__).parent.parent / "config" / "rig.yaml"


def main() -> None:
    """Make the bag, replay it, and print time and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="where to make and keep the bag; default: a temporary folder")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("options", nargs="*", help="of fossa replay, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        bag = (arguments.folder or Path(temporary)) / f"replay-{arguments.gigabytes:g}gb"
        if not bag.exists():
            _make(bag, arguments.gigabytes)
        print(json.dumps(_replay(bag, Path(temporary) / "out", arguments.processors, arguments.options), indent=2))


def _make(bag: Path, gigabytes: float) -> None:
    camera = SimulatedCamera()
    stack, truth = render_stack(0, camera, dioptre_space(0.35, 6.0, 5), views=96, workers=2)
    seconds = gigabytes * 1e9 / (camera.width * camera.height * 3) / Recording.rate
    with Progress() as bar:
        task = bar.add_task(f"Writing {gigabytes:g} GB", total=seconds)
        write_recording(
            bag, stack, truth, Recording(seconds=seconds), progress=lambda done: bar.update(task, completed=done)
        )


def _replay(bag: Path, out: Path, processors: int, options: list[str]) -> dict:
    command = [
        sys.executable,
        "-m",
        "fossa_ros.commands.cli",
        "replay",
        str(bag),
        "--out",
        str(out),
        "--params",
        str(RIG),
    ]
    command += ["--set", "sweep.settling=0.018", "--set", "sweep.exposure=0.008", *options]
    held = sorted(os.sched_getaffinity(0))[:processors]
    began = time.monotonic()
    subprocess.run(command, check=True, preexec_fn=lambda: os.sched_setaffinity(0, held))
    wall = time.monotonic() - began
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = json.loads((out / "replay.json").read_text())
    return {
        "bag_gigabytes": round(sum(file.stat().st_size for file in bag.iterdir()) / 1e9, 3),
        "bag_seconds": done["seconds"],
        "replay_seconds": done["wall_seconds"],
        "times_real_time": round(done["seconds"] / done["wall_seconds"], 2),
        "process_seconds": round(wall, 1),
        "peak_memory_gigabytes": round(usage.ru_maxrss * 1024 / 1e9, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "sweeps": len(done["sweeps"]),
        "accepted": sum(sweep["accepted"] for sweep in done["sweeps"]),
        "processors": processors,
    }


if __name__ == "__main__":
    main()
