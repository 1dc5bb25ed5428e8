"""The one way to make a network."""

from __future__ import annotations

import torch
from torch import nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.checkpoints import Weights, load_weights
from fossa_ros.estimators.fossa.devices import resolve_device, resolve_precision
from fossa_ros.estimators.fossa.nano import Nano
from fossa_ros.estimators.fossa.network import ARCHITECTURES, Fossa
from fossa_ros.estimators.fossa.stack_attention import FocusEmbedding

MODELS = (*ARCHITECTURES, "nano")


def create_model(
    name: str,
    *,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    weights: Weights | None = None,
) -> nn.Module:
    """Return a network in evaluation mode.

    Args:
        name: ``vits``, ``vitb``, ``vitl`` or ``nano``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.
        precision: ``fp32``, ``bf16`` or ``fp16``; input is cast, output is float32 in any case.
        weights: a state dict, a ``.pth`` or ``.safetensors`` file, or a hub name. None leaves the weights
            random: a network to train, whose depth means nothing.

    Raises:
        InputError: an unknown name, device or precision, or weights that do not fit.
    """
    if name not in MODELS:
        raise InputError(f"model '{name}' is not known; give one of {', '.join(MODELS)}.")
    dtype, device = resolve_precision(precision), resolve_device(device)
    model = Nano() if name == "nano" else Fossa(ARCHITECTURES[name])
    if weights is not None:
        load_weights(model, weights)
    model.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, FocusEmbedding):
            module.float()  # a focus distance has more digits than bfloat16
    return model.eval()
