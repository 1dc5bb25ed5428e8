"""Photographs, and the lens data in their EXIF tags."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from fossa_ros.core.errors import InputError

_EIGHT_BIT = {"RGB", "RGBA", "L", "LA", "P", "CMYK", "YCbCr"}
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)
_FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
_MOST_PIXELS = Image.MAX_IMAGE_PIXELS or math.inf
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # FocalPlaneResolutionUnit


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        focal_length: metres, None if EXIF does not have it.
        f_number: focal length over aperture diameter, None if EXIF does not have it.
        focal_length_px: focal length in pixels of ``image``, None if EXIF does not have it.
    """

    image: np.ndarray
    focal_length: float | None = None
    f_number: float | None = None
    focal_length_px: float | None = None


def photograph_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of a JPEG or PNG file, as stored, without decoding it.

    Raises:
        InputError: the file is missing, not such an image, or larger than Pillow's limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as image:
            return image.size


def read_photograph(path: str | Path, upright: bool = True) -> Photograph:
    """Decode a JPEG or PNG of 8 bits a channel and rotate it as its EXIF orientation says.

    Without ``upright`` it is not rotated, for data sets whose depth is aligned with the stored pixels.

    Raises:
        InputError: the file is missing, damaged, truncated, or not an 8-bit image.
    """
    with _opened(path) as image:
        if image.mode not in _EIGHT_BIT:
            raise InputError(f"{path} has pixels of kind {image.mode}; save it as 8-bit RGB.")
        tags = _lens_tags(image)
        size = image.size
        if upright:
            ImageOps.exif_transpose(image, in_place=True)
        return Photograph(
            np.array(image if image.mode == "RGB" else image.convert("RGB")),
            focal_length=None if tags["focal_length_mm"] is None else 1e-3 * tags["focal_length_mm"],
            f_number=tags["f_number"],
            focal_length_px=_focal_length_px(tags, *size),
        )


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            yield image
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; correct the file name or add the image.") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{path} is larger than {_MOST_PIXELS / 1e6:.0f} megapixels; shrink it.") from None
    except _BROKEN as error:
        raise InputError(f"{path} is not a readable JPEG or PNG, or is cut short; replace it.") from error


def _lens_tags(image: Image.Image) -> dict[str, float | None]:
    """Return the tags that describe the lens, None for each that is absent or not a positive number."""
    base = ExifTags.Base
    fields = {
        "focal_length_mm": base.FocalLength,
        "f_number": base.FNumber,
        "film_mm": base.FocalLengthIn35mmFilm,
        "x_resolution": base.FocalPlaneXResolution,
        "unit": base.FocalPlaneResolutionUnit,
        "width": base.ExifImageWidth,
        "height": base.ExifImageHeight,
    }
    try:
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
    except _BROKEN:  # the image is usable without its tags
        tags = {}
    return {name: _positive(tags.get(tag)) for name, tag in fields.items()}


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def _focal_length_px(tags: dict[str, float | None], width: int, height: int) -> float | None:
    taken = (tags["width"] or width, tags["height"] or height)
    if abs(width * taken[1] - height * taken[0]) > 0.01 * width * taken[1]:
        return None  # cropped: the tags describe another field of view
    if tags["focal_length_mm"] and tags["x_resolution"]:
        # Pixels per unit on the sensor at the original size (Exif 2.32, 4.6.5); the default unit is the inch.
        pitch_mm = _UNIT_MM.get(int(tags["unit"] or 2), 25.4) / tags["x_resolution"]
        return tags["focal_length_mm"] / pitch_mm * width / taken[0]
    if tags["film_mm"]:
        # The equivalent focal length gives the same diagonal angle of view on 36 x 24 mm film (CIPA DCG-001).
        return tags["film_mm"] * math.hypot(width, height) / _FULL_FRAME_DIAGONAL_MM
    return None
