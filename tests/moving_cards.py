"""Moving objects for the tests of the simulator and of fossa_ros.motion."""

from __future__ import annotations

import numpy as np

from fossa_ros.simulation import textures
from fossa_ros.simulation.builder import Builder
from fossa_ros.simulation.motion_path import Path, still
from fossa_ros.simulation.scenes import Mover


def card_mover(
    seed: int = 0, centre=(0.0, 0.0, 1.2), size=(0.35, 0.45), path: Path = still, turn=(0.0, 0.0, 0.0)
) -> Mover:
    """Draw a textured card that moves along ``path``, facing the camera unless turned by ``turn`` (rad)."""
    build = Builder(np.random.default_rng(seed))
    return Mover((build.card(centre, size, textures.OBJECTS, turn),), path)
