"""Your own focus stacks with known depth: a folder of ``.npz`` files, or of folders with ``stack.json``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fossa_ros.core.errors import InputError
from fossa_ros.evaluation.protocol import Sample, Setting, choose_planes
from fossa_ros.io.stack_description import DESCRIPTION
from fossa_ros.io.stack_files import load_stack


class Stacks:
    """Every stack of a folder, ordered by name."""

    title = "stacks"
    protocol = Setting()
    in_disparity = False

    def __init__(self, folder: Path, device: str = "cpu"):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; give one that holds stacks.")
        if (folder / DESCRIPTION).is_file():
            raise InputError(f"{folder} is one stack; give the folder that holds it.")
        self._files = sorted(f for f in folder.iterdir() if f.suffix == ".npz" or (f / DESCRIPTION).is_file())
        if not self._files:
            raise InputError(
                f"{folder} holds no stacks; make some with python -m fossa_ros.evaluation.path_traced "
                "(docs/validation.md), or in the layout of docs/stack-files.md."
            )
        self.names = [file.stem for file in self._files]

    def check(self, setting: Setting) -> None:
        """Raise InputError if the setting was not recorded."""
        if setting.f_number is not None:
            raise InputError("The aperture of a stack on disk cannot be changed; leave out --apertures.")
        if setting.focus in ("near", "far") and setting.planes is None:
            raise InputError("--focus near and far choose some of the planes of each stack; give --planes too.")

    def sample(self, index: int, setting: Setting) -> Sample | None:
        """Read a stack; None if it has fewer planes than the setting."""
        path = self._files[index]
        source = load_stack(path)
        if source.truth is None:
            raise InputError(f"{path} has no true depth; remove it from the folder.")
        stack = source.stack
        if len(stack) < (setting.planes or 2):
            return None
        chosen = choose_planes(setting, stack.focus_distances, source.truth)
        if len(chosen) < len(stack):
            stack = replace(stack, planes=tuple(stack.planes[i] for i in chosen), reference=None)
        return Sample(self.names[index], stack, source.truth)
