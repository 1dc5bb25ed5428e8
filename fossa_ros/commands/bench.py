"""``fossa bench``: a table of speed and memory."""

from __future__ import annotations

from itertools import product

import click
from rich.console import Console
from rich.table import Table

from fossa_ros.commands.progress import counted

WARM_UP = 3


@click.command("bench")
@click.option("--model", "models", multiple=True, default=("vits",), show_default=True, help="Network; repeatable.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=("fp32",),
    show_default=True,
    help="fp32, bf16 or fp16; repeatable.",
)
@click.option("--planes", default=5, show_default=True, type=click.IntRange(2, 64), help="Planes of the stack.")
@click.option("--height", default=480, show_default=True, type=click.IntRange(32, 4096), help="Image height, px.")
@click.option("--width", default=640, show_default=True, type=click.IntRange(32, 4096), help="Image width, px.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Timed runs.")
@click.option("--compile", is_flag=True, help="Use torch.compile.")
def command(models, device, precisions, planes, height, width, runs, compile):
    """Time the networks on this machine.

    The weights are random, as speed does not depend on them. A run goes from uint8 planes to metres on the CPU. "of
    matmul" is the speed relative to a plain matrix product in the same precision.
    """
    from fossa_ros.estimators.fossa.bench import bench

    table = Table("model", "device", "precision", "planes", "size", "p50", "p95", "planes/s")
    for name in ("memory", "GFLOP", "of matmul"):
        table.add_column(name)
    with counted("Timing", len(models) * len(precisions) * (WARM_UP + runs)) as advance:
        for model, precision in product(models, precisions):
            row = bench(
                model,
                device=device,
                precision=precision,
                planes=planes,
                size=(height, width),
                runs=runs,
                warm_up=WARM_UP,
                compile=compile,
                progress=advance,
            )
            table.add_row(
                row.model,
                row.device,
                row.precision,
                str(planes),
                f"{width}x{height}",
                f"{row.stack.p50 * 1e3:.1f} ms",
                f"{row.stack.p95 * 1e3:.1f} ms",
                f"{planes / row.stack.p50:.1f}",
                f"{row.peak_memory / 2**20:.0f} MiB",
                f"{row.gflop:.0f}",
                f"{row.peak_share:.0%}",
            )
    Console().print(table)
