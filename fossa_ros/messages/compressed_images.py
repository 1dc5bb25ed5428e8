"""Depth and colour as the ``sensor_msgs/CompressedImage`` that image_transport's plugins read.

The layout of depth is that of compressed_depth_image_transport (codec.cpp of image_transport_plugins), that of colour
that of compressed_image_transport.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import cv2
import numpy as np

from fossa_ros.messages.rvl import encode_rvl

DEPTH_FORMAT = "{encoding}; compressedDepth {compression}"
COLOUR_FORMAT = "rgb8; jpeg compressed bgr8"
# The plugin's ConfigHeader: an enum of which INV_DEPTH is 0, and the two parameters of the quantisation.
_HEADER = struct.Struct("<iff")
_INV_DEPTH = 0
# Distance (m) at which one step of 16 bits is 1 m: the plugin's default. Steps are equal in 1 / depth, 1e-4 dioptres.
DEPTH_QUANTIZATION = 100.0
# The plugin refuses RVL of more pixels a byte as malformed, which that of a mostly unknown image can be.
RVL_PIXELS = 5
# Run lengths at level 1: 4 % larger than level 3, in half the time (1280x960).
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def compressed_depth_fields(
    pixels: np.ndarray, encoding: str, compression: Literal["png", "rvl"] = "png"
) -> dict[str, Any]:
    """Return depth as ``compressedDepth``.

    32FC1 is quantised in 1 / depth, so that the reader's depth differs by at most half a step of 1e-4 dioptres. Where
    depth is so near that 16 bits would not hold it, steps are as large as they must be; the plugin would write other
    depth there, and none beyond a limit of 10 m. The parameters of the quantisation are in the message.

    Args:
        pixels: (H, W) float32 metres, NaN where unknown, or uint16 millimetres, 0 where unknown.
        encoding: of the image that the reader makes of it: 32FC1 or 16UC1.
        compression: of its 16 bits. An image of which the reader would refuse the RVL is a PNG: the message says which.
    """
    a = b = 0.0
    if encoding == "32FC1":
        pixels, a, b = _quantized(pixels)
    if compression == "rvl":
        code = encode_rvl(pixels)
        if pixels.size > RVL_PIXELS * len(code):
            compression = "png"
    if compression == "png":
        _, code = cv2.imencode(".png", pixels, _PNG)
    data = np.concatenate([np.frombuffer(_HEADER.pack(_INV_DEPTH, a, b), np.uint8), code])
    return {"format": DEPTH_FORMAT.format(encoding=encoding, compression=compression), "data": data}


def compressed_colour_fields(rgb: np.ndarray, quality: int) -> dict[str, Any]:
    """Return an (H, W, 3) uint8 RGB image as JPEG of ``quality``, 1 to 100."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return {"format": COLOUR_FORMAT, "data": jpeg}


def _quantized(depth: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return (H, W) uint16 ``a / depth + b``, 0 where unknown, and a and b as the float32 that the reader takes."""
    a = np.float32(DEPTH_QUANTIZATION * (DEPTH_QUANTIZATION + 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = 1.0 / depth
        known = (inverse > 0) & (inverse < np.inf)  # false for NaN
    least = greatest = np.float32(0.0)
    if known.any():
        least, greatest = inverse[known].min(), inverse[known].max()
    if (span := float(greatest) - float(least)) * float(a) > np.iinfo(np.uint16).max - 2:
        a = np.float32((np.iinfo(np.uint16).max - 2) / span)
    b = np.float32(1.0 - float(a) * float(least))  # the farthest becomes 1
    steps = np.where(known, np.rint(a * inverse + b), 0)
    return steps.astype(np.uint16), float(a), float(b)
