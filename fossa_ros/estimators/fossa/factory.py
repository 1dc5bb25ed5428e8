"""The factory of networks."""

from __future__ import annotations

import torch

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.checkpoints import Weights, load_weights
from fossa_ros.estimators.fossa.devices import resolve_device, resolve_precision
from fossa_ros.estimators.fossa.stack_attention import FocusEmbedding
from fossa_ros.estimators.fossa.vit import VITB, VITL, VITS, Fossa, ViTConfig

MODELS = {"vits": VITS, "vitb": VITB, "vitl": VITL}


def create_model(
    config: str | ViTConfig,
    *,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    weights: Weights | None = None,
) -> Fossa:
    """Return a network in evaluation mode.

    Args:
        config: ``vits``, ``vitb`` or ``vitl``, or the sizes of another network.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:INDEX``.
        precision: ``fp32``, ``bf16`` or ``fp16`` for weights and activations; input and output are float32.
        weights: a state dict, a ``.pth`` or ``.safetensors`` file, or a hub name. None leaves the weights random:
            such a network must be trained before its depth means anything.

    Raises:
        InputError: an unknown name, device or precision, or weights that do not fit.
    """
    if isinstance(config, str):
        if config not in MODELS:
            raise InputError(f"model '{config}' is not known; give one of {', '.join(MODELS)}.")
        config = MODELS[config]
    dtype, device = resolve_precision(precision), resolve_device(device)
    model = Fossa(config)
    if weights is not None:
        load_weights(model, weights)
    model.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, FocusEmbedding):
            module.float()  # a focus distance has more digits than bfloat16
    return model.eval()
