"""Focus lenses: one protocol, one module a device, found by name."""

from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.lens import CommandRange, FocusLens, LensCapabilities, LensMove, LensState, SettlingModel
from fossa_ros.lens.registry import lens_backends, open_lens

__all__ = [
    "CommandLens",
    "CommandRange",
    "FocusLens",
    "LensCapabilities",
    "LensMove",
    "LensReading",
    "LensState",
    "SettlingModel",
    "lens_backends",
    "open_lens",
]
