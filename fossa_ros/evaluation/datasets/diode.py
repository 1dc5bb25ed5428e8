"""DIODE (Vasiljevic et al. 2019), indoors and outdoors together, with the holes of its depth filled for rendering."""

from __future__ import annotations

from pathlib import Path

from fossa_ros.errors import InputError
from fossa_ros.evaluation.datasets.rendered import PROTOCOL, check_rendered, render_sample
from fossa_ros.evaluation.datasets.uniformat import FOLDER, SOURCE, read_uniformat
from fossa_ros.evaluation.protocol import Sample, Setting

PARTS = ("diode_indoor_v2", "diode_outdoor_v2")


class Diode:
    """``diode/diode_indoor_v2/000000.npy`` and so on, and ``diode/diode_outdoor_v2``."""

    title = "DIODE"
    protocol = PROTOCOL
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        self._device = device
        places = (folder / FOLDER / "diode", folder / "diode", folder)
        place = next((place for place in places if any((place / part).is_dir() for part in PARTS)), folder)
        self._files = []
        for part in PARTS:
            files = sorted((place / part).glob("*.npy"))
            if not files:
                raise InputError(f"{place} has no {part}/000000.npy; give the folder of {SOURCE}.")
            self._files += files
        self.names = [f"{file.parent.name}/{file.stem}" for file in self._files]

    def check(self, setting: Setting) -> None:
        """Raise InputError for a setting that cannot be rendered."""
        check_rendered(setting)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Render the stack of an image."""
        return render_sample(self.names[index], read_uniformat(self._files[index]), setting, self._device)
