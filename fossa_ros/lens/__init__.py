"""Focus lenses: one protocol, one module a device, found by name."""

from fossa_ros.lens.lens import FocusLens, LensCapabilities, LensMove, LensState
from fossa_ros.lens.registry import lens_backends, open_lens

__all__ = ["FocusLens", "LensCapabilities", "LensMove", "LensState", "lens_backends", "open_lens"]
