"""iBims-1 (Koch et al. 2018), with the holes of its depth filled for rendering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fossa_ros.errors import InputError
from fossa_ros.evaluation.datasets.rendered import PROTOCOL, check_rendered, render_sample
from fossa_ros.evaluation.datasets.uniformat import FOLDER, SOURCE, read_uniformat
from fossa_ros.evaluation.protocol import Sample, Setting


class Ibims:
    """``ibims/000000.npy`` and so on."""

    title = "iBims-1"
    protocol = PROTOCOL
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        self._device = device
        places = (folder / FOLDER / "ibims", folder / "ibims", folder)
        self._files = next((files for place in places if (files := sorted(place.glob("*.npy")))), [])
        if not self._files:
            raise InputError(f"{folder} has no ibims/000000.npy; give the folder of {SOURCE}.")
        self.names = [file.stem for file in self._files]

    def check(self, setting: Setting) -> None:
        """Raise InputError for a setting that cannot be rendered."""
        check_rendered(setting)

    def sample(self, index: int, setting: Setting) -> Sample:
        """Render the stack of an image."""
        image = read_uniformat(self._files[index])
        # This part of the archive stores the matrix transposed.
        return render_sample(self.names[index], replace(image, K=image.K.T), setting, self._device)
