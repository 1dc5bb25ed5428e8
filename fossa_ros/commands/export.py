"""``fossa export``: a network as an ONNX file."""

from __future__ import annotations

import click

from fossa_ros.commands.option_types import PATH
from fossa_ros.commands.progress import stages


@click.command("export")
@click.argument("out", type=PATH)
@click.option("--model", default="vits", show_default=True, help="Network: vits, vitb or vitl.")
@click.option("--checkpoint", help="Weights, required: a file or a name on the hub.")
@click.option("--planes", default=5, show_default=True, type=click.IntRange(2, 64), help="Planes of the stack.")
@click.option("--height", default=480, show_default=True, type=click.IntRange(32, 4096), help="Image height, px.")
@click.option("--width", default=640, show_default=True, type=click.IntRange(32, 4096), help="Image width, px.")
def command(out, model, checkpoint, planes, height, width):
    """Write a network as ONNX, for TensorRT and others.

    The file OUT has fixed shapes and is checked against PyTorch on the CPU of onnxruntime; docs/fossa.md lists its
    inputs and outputs.
    """
    from fossa_ros.estimators.fossa.checkpoints import required
    from fossa_ros.estimators.fossa.export import export_onnx
    from fossa_ros.estimators.fossa.factory import create_model

    with stages("Exporting and comparing with PyTorch", 1):
        network = create_model(model, device="cpu", weights=required(model, checkpoint))
        difference = export_onnx(network, out, size=(height, width), planes=planes)
    size = out.stat().st_size / 2**20
    click.echo(f"{out}: {size:.0f} MiB, differs from PyTorch by {difference:.1e} canonical metres.")
