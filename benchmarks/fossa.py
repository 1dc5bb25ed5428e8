"""Compare the networks with the straightforward implementation, alternating in one process.

    .venv/bin/python benchmarks/fossa.py [--model vits] [--device cpu] [--precision fp32 bf16] [--runs 10] [--cpu-time]

Weights and input are the same; the difference of depth is printed beside the times. Runs alternate, so that a machine
that slows down affects all networks equally. On a busy machine, --cpu-time measures the processor time of one core. The
reference is the straightforward implementation with the encoder's attention written out, as the released code runs
without xformers; a second row uses PyTorch's fused attention.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))
from straightforward import StraightforwardFossa

from fossa_ros.estimators.fossa.bench import summary, synchronise, timed
from fossa_ros.estimators.fossa.devices import describe_device, resolve_device
from fossa_ros.estimators.fossa.factory import create_model


def random_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return random weights with which every layer matters; PyTorch's initialisation gives a nearly flat depth."""
    weights = {}
    for name, value in network.state_dict().items():
        spread = value[0].numel() ** -0.5 if value.ndim > 1 else 0.02
        gain = float(value.ndim == 1 and name.endswith(("weight", "gamma")))
        weights[name] = gain + spread * torch.randn(value.shape)
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vits", choices=("vits", "vitb", "vitl"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--planes", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--cpu-time", action="store_true", help="measure processor time on one core")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    if arguments.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if arguments.cpu_time else time.perf_counter

    torch.manual_seed(0)
    networks = {"straightforward fp32": StraightforwardFossa(arguments.model).eval().to(device)}
    weights = random_weights(networks["straightforward fp32"])
    networks["straightforward fp32"].load_state_dict(weights)
    fused = StraightforwardFossa(arguments.model, fused=True).eval().to(device)
    fused.load_state_dict(weights)
    networks["straightforward fp32, fused attention"] = fused
    for precision in arguments.precision:
        networks[f"ours {precision}"] = create_model(
            arguments.model, device=device, precision=precision, weights=weights
        )
    stack = torch.randn(1, arguments.planes, 3, *arguments.size, device=device)
    focus = torch.linspace(0.8, 8.0, arguments.planes, device=device)[None]

    def run(network):
        result = network(stack, focus)
        synchronise(device)
        return result

    seconds = {name: [] for name in networks}
    with torch.inference_mode(), Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Timing", total=len(networks) * (arguments.runs + 1))
        depth = {}
        for name, network in networks.items():
            depth[name] = run(network)
            bar.advance(task)
        for _ in range(arguments.runs):
            for name, network in networks.items():
                seconds[name].append(timed(lambda network=network: run(network), lambda: bar.advance(task), clock))

    reference_time = summary(seconds["straightforward fp32"]).p50
    table = Table("network", "p50", "p95", "relative", "median relative difference")
    for name, times in seconds.items():
        timing = summary(times)
        reference = depth["straightforward fp32"]
        difference = ((depth[name] - reference).abs() / reference).median().item()
        table.add_row(
            name,
            f"{timing.p50 * 1e3:.1f} ms",
            f"{timing.p95 * 1e3:.1f} ms",
            f"{timing.p50 / reference_time:.2f}",
            f"{difference:.1e}",
        )
    height, width = arguments.size
    console = Console()
    console.print(f"{arguments.model}, {arguments.planes} planes of {width}x{height}, {describe_device(device)}")
    console.print(table)


if __name__ == "__main__":
    main()
