"""Pixels of 16 bits that hold 10, 12 or 14: the range that is used, the same for all images of a run."""

from __future__ import annotations

import logging
import threading

import cv2
import numpy as np

from fossa_ros.core.errors import InputError

LOG = logging.getLogger(__name__)
PAYLOADS = (8, 10, 12, 14, 16)
"""Bits that cameras put into 16, from the lowest bit up."""


def payload_of(pixels: np.ndarray) -> int:
    """Return the least of ``PAYLOADS`` that holds all values of uint16 pixels."""
    used = int(pixels.max()).bit_length() if pixels.size else 0
    return next(bits for bits in PAYLOADS if used <= bits)


def to_8_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Return uint16 pixels whose range is 0 .. 2^bits - 1 as uint8."""
    return cv2.convertScaleAbs(pixels, alpha=255 / (2**bits - 1))


class SampleRange:
    """The range of a camera's 16-bit pixels: given, or found from its images and never shrinking.

    A wrong range is a wrong exposure, and a range that changes within a stack is a wrong depth. So a range that is
    found, or grows, is logged, and a given range that images do not fit is refused. Thread-safe.

    Args:
        bits: of the range, 8 .. 16; None to find it.
        parameter: that gives the bits, for what is logged and refused.
    """

    def __init__(self, bits: int | None = None, parameter: str = "camera.bits"):
        self._given = bits
        self._parameter = parameter
        self._found = 0
        self._lock = threading.Lock()

    @property
    def bits(self) -> int:
        """Bits of the range so far; 0 before the first image."""
        return self._given if self._given is not None and self._found else self._found

    def add(self, pixels: np.ndarray, encoding: str = "16-bit pixels") -> int:
        """Take account of uint16 pixels before they are scaled, and return the bits of the range.

        Args:
            pixels: of one image, or of all images of a stack.
            encoding: what they are, for the log.

        Raises:
            InputError: a value does not fit the range that was given.
        """
        needed = payload_of(pixels)
        if self._given is not None and pixels.size and int(pixels.max()) >> self._given:
            raise InputError(
                f"An image of {encoding} has values up to {int(pixels.max())}, more than the {self._given} bits of "
                f"{self._parameter}; set it to {needed}, or to 0 to find it."
            )
        with self._lock:
            before, self._found = self._found, max(self._found, needed)
            if self._found != before:
                self._report(before, encoding)
            return self.bits

    def _report(self, before: int, encoding: str) -> None:
        if self._given is not None:
            if not before and self._given - self._found >= 2:
                LOG.warning(
                    "%s: values of the first image need %d bits of the %d of %s, so images are dark; correct it if "
                    "they stay so",
                    encoding, self._found, self._given, self._parameter,
                )  # fmt: skip
        elif before:
            LOG.warning(
                "%s: values need %d bits, not %d as before, so images are darker from now on; set %s to the bits of "
                "the camera",
                encoding, self._found, before, self._parameter,
            )  # fmt: skip
        else:
            LOG.info(
                "%s: values fit %d bits, which become the range; set %s if the camera has another",
                encoding, self._found, self._parameter,
            )  # fmt: skip
