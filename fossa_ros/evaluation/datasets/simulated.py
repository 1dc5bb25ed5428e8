"""Scenes of the simulator: 640x480, 12 mm, fx 600 px (F1.4 blurs by 5.1 px per dioptre), sensor noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fossa_ros.core import optics
from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.protocol import Sample, Setting
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack

SCENES = 8
NEAREST, FARTHEST = 0.35, 6.0  # m; planes are evenly spaced in dioptres between them
WORKERS = 2


class Simulated:
    """The scenes of the first seeds; no data is read."""

    title = "the simulator's scenes"
    protocol = Setting(1.4, 5, "fixed")
    in_disparity = False

    def __init__(self, folder: Path | None = None, device: str = "cpu", camera: SimulatedCamera | None = None):
        self._camera = camera or SimulatedCamera()
        self.names = [f"scene {seed}" for seed in range(SCENES)]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting cannot be rendered."""
        if setting.focus != "fixed":
            raise InputError("The scenes of the simulator have fixed focus distances; leave out --focus.")

    def sample(self, index: int, setting: Setting) -> Sample:
        """Render the stack of a scene."""
        camera = replace(self._camera, f_number=setting.f_number)
        distances = optics.dioptre_space(NEAREST, FARTHEST, setting.planes)
        stack, truth = render_stack(index, camera, distances, rng=index, workers=WORKERS)
        return Sample(self.names[index], stack, truth)
