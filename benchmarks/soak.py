"""Run sweeps for a long time with random faults; count crashes, wrong planes, sweeps without an end, and memory.

In virtual time, the sequencer runs with a simulated camera and lens and all faults at once:

    python benchmarks/soak.py virtual --sweeps 20000

In real time, the simulated rig and fossa_node run as processes over DDS while faults are injected at random:

    python benchmarks/soak.py rig --minutes 30

Every sweep must be accepted or end with a reason, no plane may have another focus than it claims, and memory must not
grow.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.progress import Progress

RECOVERY_S = 10.0  # for an accepted sweep once all faults are over
MOVED = 0.06  # dioptres: position tolerance and ringing of a settled lens


def main() -> int:
    """Run the chosen soak; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("virtual", "rig"))
    parser.add_argument("--sweeps", type=int, default=20000, help="virtual: how many")
    parser.add_argument("--minutes", type=float, default=30.0, help="rig: for how long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write the figures, as JSON")
    arguments = parser.parse_args()
    if arguments.kind == "virtual":
        figures = soak_virtually(arguments.sweeps, arguments.seed)
    else:
        figures = soak_rig(arguments.minutes * 60, arguments.seed)
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2))
    return int(bool(figures["wrong_planes"] or figures["unaccounted"] or figures["crashes"]))


def resident_mib(pid: int | str = "self") -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def soak_virtually(sweeps: int, seed: int) -> dict:
    """Take sweeps in virtual time with all faults at once, modes and rates in turn; return the figures."""
    from fossa_ros.simulation.virtual_sweeps import Fault, Scenario, Tally, VirtualRun
    from fossa_ros.sweep import SweepMode

    cases = [(mode, rate) for mode in SweepMode for rate in (30.0, 60.0)]
    total, crashes, memory, commanded, ends = Tally(), 0, [], 0, Counter()
    each = 100
    with Progress(transient=True) as progress:
        task = progress.add_task("sweeps", total=sweeps)
        for run in range(-(-sweeps // each)):
            mode, rate = cases[run % len(cases)]
            virtual = VirtualRun(Scenario(Fault.ALL, mode=mode, rate=rate, seed=seed * 100_000 + run))
            outcomes = []
            try:
                total += virtual.sweeps(each, outcomes.append)
            except Exception as error:
                crashes += 1
                print(f"crash in run {run}: {type(error).__name__}: {error}", file=sys.stderr)
            commanded += each
            ends.update("accepted" if not outcome.reason else "reported" for outcome in outcomes)
            memory.append(resident_mib())
            progress.advance(task, each)
    settled = len(memory) // 10
    return {
        "sweeps_commanded": commanded,
        "accepted": ends["accepted"],
        "reported": ends["reported"],
        "unaccounted": commanded - sum(ends.values()),
        "wrong_planes": total.wrong,
        "lost_though_undisturbed": total.lost,
        "crashes": crashes,
        "virtual_hours": round(total.seconds / 3600, 2),
        "memory_mib": [round(memory[settled], 1), round(memory[-1], 1)],
    }


def soak_rig(seconds: float, seed: int, width: int = 160) -> dict:
    """Run rig and node with random faults; return the figures."""
    import rclpy
    from rcl_interfaces.srv import SetParameters
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import QoSProfile
    from std_srvs.srv import SetBool, Trigger

    from fossa_ros.core.optics import dioptres
    from fossa_ros.messages.fields import nanoseconds
    from fossa_ros.msg import LensState, SweepReport
    from fossa_ros.ros import environment, qos
    from fossa_ros.simulation.rig_faults import RigFault

    environment.complete()
    draw = random.Random(seed)
    rclpy.init()
    node = rclpy.create_node("soak")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    reports: list[SweepReport] = []
    lens: dict[int, float] = {}
    node.create_subscription(SweepReport, "sweep", reports.append, qos.REPORTS)

    def on_lens(state: LensState) -> None:
        lens[nanoseconds(state.header.stamp)] = state.power

    node.create_subscription(LensState, "truth/lens", on_lens, QoSProfile(depth=1000))
    faults = node.create_client(SetParameters, "sim_rig_node/set_parameters")
    plug, bump = node.create_client(SetBool, "plug_lens"), node.create_client(Trigger, "bump")

    def inject(fault: RigFault) -> None:
        faults.call_async(SetParameters.Request(parameters=[Parameter("fault", value=str(fault)).to_parameter_msg()]))

    def spin(span: float) -> None:
        end = time.monotonic() + span
        while (left := end - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=min(left, 0.1))

    injected, memory, wrong, planes = Counter(), [], 0, 0
    checked = 0
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "lens"
        rig = _start(
            "sim_rig_node",
            folder,
            **{"lens.link": link, "camera.width": width, "camera.height": width * 3 // 4, "camera.fx": width * 15 / 16},
        )
        while not link.exists() and rig.poll() is None:
            spin(0.2)
        sweeper = _start("fossa_node", folder, **{"lens.port": link})
        began = time.monotonic()
        with Progress(transient=True) as progress:
            task = progress.add_task("soak", total=seconds)
            while time.monotonic() - began < seconds and rig.poll() is None and sweeper.poll() is None:
                spin(draw.uniform(2.0, 6.0))
                what = draw.choice([*list(RigFault)[1:], "unplugged", "bump"])
                injected[str(what)] += 1
                if what == "unplugged":
                    plug.call_async(SetBool.Request(data=False))
                elif what == "bump":
                    bump.call_async(Trigger.Request())
                else:
                    inject(what)
                spin(draw.uniform(0.3, 4.0))
                inject(RigFault.NONE)
                plug.call_async(SetBool.Request(data=True))
                memory.append(resident_mib(sweeper.pid))
                while checked < len(reports) - 20:  # the states of the lens have arrived by then
                    report = reports[checked]
                    checked += 1
                    for stamp, distance in zip(report.stamps, report.focus_distances, strict=True):
                        power = lens.get(nanoseconds(stamp))
                        if report.accepted and power is not None:
                            planes += 1
                            wrong += not abs(power - float(dioptres(distance))) <= MOVED
                for stamp in sorted(lens)[:-20_000]:
                    del lens[stamp]
                progress.update(task, completed=time.monotonic() - began)
        over, until = len(reports), time.monotonic() + RECOVERY_S
        while not any(report.accepted for report in reports[over:]) and time.monotonic() < until:
            spin(0.2)
        recovered = any(report.accepted for report in reports[over:])
        crashes = sum(child.poll() is not None for child in (rig, sweeper))
        codes = [_end(child) for child in (sweeper, rig)]
        log = (Path(folder) / "fossa_node.log").read_text()
        crashes += log.count("Traceback") + sum(code != 0 for code in codes)
    node.destroy_node()
    rclpy.shutdown()
    numbers = sorted(report.sweep for report in reports)
    missing = set(range(numbers[0], numbers[-1] + 1)) - set(numbers) if numbers else set()
    settled = len(memory) // 5
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "sweeps_commanded": numbers[-1] - numbers[0] + 1 if numbers else 0,
        "accepted": sum(report.accepted for report in reports),
        "by_verdict": dict(Counter(report.verdict for report in reports)),
        "unaccounted": len(missing) + len(numbers) - len(set(numbers)),
        "planes_compared": planes,
        "wrong_planes": wrong,
        "faults": dict(injected),
        "crashes": crashes,
        "depth_after_all_that": recovered,
        "memory_mib": [round(memory[settled], 1), round(memory[-1], 1)] if memory else [],
    }


def _start(name: str, folder: str, **parameters) -> subprocess.Popen:
    from fossa_ros.io.installed import share
    from fossa_ros.ros import environment

    config = share() / "config" / "rig.yaml"
    command = [sys.executable, "-m", f"fossa_ros.ros.{name}", "--ros-args", "--params-file", str(config)]
    for key, value in {"autostart": "true", **parameters}.items():
        command += ["-p", f"{key}:={value}"]
    with (Path(folder) / f"{name}.log").open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment.child_environment())


def _end(child: subprocess.Popen) -> int:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        return child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


if __name__ == "__main__":
    sys.exit(main())
