"""``fossa export``: a network as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console


@click.command("export")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", default="nano", show_default=True, help="Network.")
@click.option("--checkpoint", help="Its weights: a file or a name on the hub.  [default: nano's own]")
@click.option("--planes", default=5, show_default=True, type=click.IntRange(2, 64), help="Planes of the stack.")
@click.option("--height", default=480, show_default=True, type=click.IntRange(32, 4096), help="Of the images, px.")
@click.option("--width", default=640, show_default=True, type=click.IntRange(32, 4096), help="Of the images, px.")
def command(out, model, checkpoint, planes, height, width):
    """Write a network as ONNX, for TensorRT and others.

    OUT gets fixed shapes and is checked against PyTorch on onnxruntime's CPU; docs/fossa.md says what goes in and out.
    """
    from fossa_ros.estimators.fossa import create_model
    from fossa_ros.estimators.fossa.checkpoints import chosen_checkpoint
    from fossa_ros.estimators.fossa.export import export_onnx

    with Console(stderr=True).status("Exporting and comparing with PyTorch"):
        network = create_model(model, device="cpu", weights=chosen_checkpoint(model, checkpoint))
        difference = export_onnx(network, out, size=(height, width), planes=planes)
    size = out.stat().st_size / 2**20
    click.echo(f"{out}: {size:.0f} MiB, differs from PyTorch by {difference:.1e} canonical metres.")
