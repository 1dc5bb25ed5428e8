"""A network of the published architecture at a small width, for tests that need some network and not its depth."""

from __future__ import annotations

import torch
from torch import nn

from fossa_ros.estimators.fossa.vit import Fossa, ViTConfig

SMALL = ViTConfig(64, 6, 2, (2, 3, 4, 5), 16, (8, 16, 32, 64))


def small_fossa() -> Fossa:
    """Return a network with random weights, also where a new one has zeros and planes would not affect each other."""
    torch.manual_seed(0)
    network = Fossa(SMALL).eval()
    for name, parameter in network.named_parameters():
        if "proj_out" in name:
            nn.init.normal_(parameter, std=0.05)
    return network
