"""The weights that ship with the package, by name; each file has a model card beside it."""

from __future__ import annotations

from pathlib import Path

SHIPPED = {
    "lens_aware": Path(__file__).parent / "lens_aware" / "weights" / "lens_aware.safetensors",
}
