"""Photographs, and the lens data in their EXIF tags.

JPEG, and PNG and TIFF of 8 or 16 bits a channel. Pillow reads sizes, tags and 8-bit pixels; it would cut 16-bit colours
down to their upper 8 bits, so OpenCV reads those.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from fossa_ros.core.errors import InputError
from fossa_ros.core.sample_range import SampleRange, to_8_bits

_EIGHT_BIT = {"RGB", "RGBA", "L", "LA", "P", "CMYK", "YCbCr"}
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)
_FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
_MOST_PIXELS = Image.MAX_IMAGE_PIXELS or math.inf
_PNG_SIXTEEN = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 24, 16  # signature, offset of the bit depth, its value (PNG, 11.2.2)
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339  # tags of TIFF 6.0
_TO_RGB = {2: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
# What to do with stored pixels, by the EXIF orientation: Exif 2.32, 4.6.4.
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
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


@dataclass(frozen=True, eq=False)
class _Stored:
    """A photograph as it is stored: (H, W, 3) uint8 or uint16 RGB, not turned, and what its tags say."""

    path: Path
    pixels: np.ndarray
    orientation: int
    tags: dict[str, float | None]

    def photograph(self, orientation: int, bits: int | None = None) -> Photograph:
        """Return it turned by an EXIF orientation; pixels of 16 bits are scaled by a range of ``bits``."""
        height, width = self.pixels.shape[:2]
        pixels = self.pixels if bits is None else to_8_bits(self.pixels, bits)
        turn = _UPRIGHT.get(orientation)
        return Photograph(
            pixels if turn is None else np.ascontiguousarray(turn(pixels)),
            focal_length=None if self.tags["focal_length_mm"] is None else 1e-3 * self.tags["focal_length_mm"],
            f_number=self.tags["f_number"],
            focal_length_px=_focal_length_px(self.tags, width, height),
        )


def photograph_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of a JPEG, PNG or TIFF file, as stored, without decoding it.

    Raises:
        InputError: the file is missing, not such an image, or larger than Pillow's limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as image:
            return image.size


def read_photograph(path: str | Path, upright: bool = True) -> Photograph:
    """Decode a photograph of 8 bits a channel and rotate it as its EXIF orientation says.

    Without ``upright`` it is not rotated, for data sets whose depth is aligned with the stored pixels.

    Raises:
        InputError: the file is missing, damaged, truncated, or not an 8-bit image.
    """
    stored = _read(Path(path))
    if stored.pixels.dtype != np.uint8:
        raise InputError(f"{path} has 16 bits a channel; save it as 8-bit RGB.")
    return stored.photograph(stored.orientation if upright else 1)


def read_photographs(
    paths: Sequence[Path], reference: int, bits: int | None = None
) -> tuple[list[Photograph], int | None]:
    """Decode the photographs of one stack: all turned alike, as the reference says, and scaled alike.

    A phone that looks down at a table writes another orientation into one photograph or the other, although nobody
    turned it; so that of the reference counts for all. Pixels of 16 bits are scaled by one range.

    Args:
        paths: of the files.
        reference: index of the photograph whose EXIF orientation all have.
        bits: of the range of 16-bit pixels, 8 .. 16; None for the least that holds all pixels of the stack.

    Returns:
        The photographs, and the bits of their range; None if they have 8 bits a channel.

    Raises:
        InputError: as ``read_photograph``; the files have different sizes, some have 16 bits and some 8, or ``bits``
            are too few, or given for images of 8.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # decoding releases the GIL
        stored = list(pool.map(_read, paths))
    first = stored[reference]
    for each in stored:
        if each.pixels.dtype != first.pixels.dtype:
            raise InputError(
                f"{each.path} has {8 * each.pixels.itemsize} bits a channel, but {first.path.name} has "
                f"{8 * first.pixels.itemsize}; save all images of a stack alike."
            )
        if each.pixels.shape != first.pixels.shape:
            (height, width), (others, wide) = each.pixels.shape[:2], first.pixels.shape[:2]
            raise InputError(
                f"{each.path} is {width}x{height}, but {first.path.name} is {wide}x{others}; turn or resize it, or "
                "remove it from the stack."
            )
    if first.pixels.dtype != np.uint8:
        brightest = max(stored, key=lambda each: each.pixels.max())
        bits = SampleRange(bits, "--bits", unset="leave it out").add(brightest.pixels, brightest.path.name)
    elif bits is not None:
        raise InputError(f"--bits is for images of 16 bits a channel, but {first.path.name} has 8; leave it out.")
    return [each.photograph(first.orientation, bits) for each in stored], bits


def _read(path: Path) -> _Stored:
    with _opened(path) as image:
        if _has_sixteen_bits(image, path):
            pixels = _sixteen_bit_pixels(path)
        elif image.mode in _EIGHT_BIT:
            pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
        else:
            raise InputError(f"{path} has pixels of kind {image.mode}; save it as 8-bit RGB.")
        return _Stored(path, pixels, _orientation(image), _lens_tags(image))


def _has_sixteen_bits(image: Image.Image, path: Path) -> bool:
    """Return whether a PNG or TIFF has unsigned whole numbers of more than 8 bits; refuse a TIFF of several pages."""
    if image.format == "PNG":
        signature, offset, sixteen = _PNG_SIXTEEN
        with open(path, "rb") as file:
            header = file.read(offset + 1)
        return header.startswith(signature) and header[offset] == sixteen
    if image.format != "TIFF":
        return False
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(f"{path} has {pages} pages; save each image of the stack in a file of its own.")
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, kinds = (
        np.atleast_1d(tags.get(tag, default)) for tag, default in ((_BITS_PER_SAMPLE, 1), (_SAMPLE_FORMAT, 1))
    )
    return bool((bits > 8).all() and (bits <= 16).all() and (kinds == 1).all())


def _sixteen_bit_pixels(path: Path) -> np.ndarray:
    """Return (H, W, 3) uint16 RGB."""
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError(f"{path} cannot be decoded as an image of 16 bits, or is cut short; save it as 16-bit PNG.")
    return cv2.cvtColor(pixels, _TO_RGB[2 if pixels.ndim == 2 else pixels.shape[2]])


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=("JPEG", "PNG", "TIFF")) as image:
            yield image
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; correct the file name or add the image.") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{path} is larger than {_MOST_PIXELS / 1e6:.0f} megapixels; shrink it.") from None
    except _BROKEN as error:
        raise InputError(f"{path} is not a readable JPEG, PNG or TIFF, or is cut short; replace it.") from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 .. 8; 1, as stored, if there is none."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*_BROKEN, OverflowError):
        return 1


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
