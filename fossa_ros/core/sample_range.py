"""Pixels of 16 bits that hold 10, 12 or 14: the range that is used, the same for all images of a run."""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol

import cv2
import numpy as np

from fossa_ros.core.errors import InputError

LOG = logging.getLogger(__name__)
PAYLOADS = (8, 10, 12, 14, 16)
"""Bits that cameras put into 16, from the lowest bit up."""
_MUCH = 2  # bits that are given and not used: images are four times as dark as they could be


class Log(Protocol):
    """What a logger of Python and one of rclpy have in common."""

    def info(self, message: str, /) -> Any:
        """Log a message."""

    def warning(self, message: str, /) -> Any:
        """Log a warning."""


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
        log: receives what is found.
        unset: how the range is left to be found.
    """

    def __init__(
        self, bits: int | None = None, parameter: str = "camera.bits", log: Log = LOG, unset: str = "set it to 0"
    ):
        self._log = log
        self._given = bits
        self._parameter = parameter
        self._unset = unset
        self._found = 0
        self._lock = threading.Lock()

    @property
    def bits(self) -> int:
        """Bits of the range so far; 0 before the first image where they are to be found."""
        return self._found if self._given is None else self._given

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
                f"{self._parameter}; correct it to {needed}, or {self._unset} so that it is found."
            )
        with self._lock:
            before, self._found = self._found, max(self._found, needed)
            if self._found != before:
                self._report(before, encoding)
            return self.bits

    def _report(self, before: int, encoding: str) -> None:
        if self._given is None and before:
            self._log.warning(
                f"{encoding}: values need {self._found} bits, not {before} as before, so images are darker from now "
                f"on; set {self._parameter} to the bits of the camera."
            )
        elif self._given is None:
            self._log.info(
                f"{encoding}: values fit {self._found} bits, which become the range; set {self._parameter} if the "
                "camera has more."
            )
        elif not before and self._given - self._found >= _MUCH:
            self._log.warning(
                f"{encoding}: the first image needs {self._found} bits of the {self._given} of {self._parameter}, so "
                "images are dark; correct it if they stay so."
            )
