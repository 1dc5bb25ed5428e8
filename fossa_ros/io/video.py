"""Cameras, videos and streams that OpenCV opens."""

from __future__ import annotations

import cv2

from fossa_ros.core.errors import InputError

_GREATEST_NUMBER = 2**31 - 1  # of a camera: OpenCV takes an int


def open_video(source: str, size: tuple[int, int] | None = None) -> cv2.VideoCapture:
    """Open a camera, with as few images stored as its driver allows.

    Args:
        source: number of a camera (``0``), a device, file or URL.
        size: (width, height) to ask the camera for; None for its own.

    Raises:
        InputError: it cannot be opened, or delivers images of another size.
    """
    capture = _opened(source)
    if capture is None or not capture.isOpened():
        raise InputError(f"Camera {source!r} cannot be opened; give its number, device, file or URL.")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        given = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if given != size:
            capture.release()
            raise InputError(
                f"Camera {source!r} does not deliver {size[0]}x{size[1]}; ask for {given[0]}x{given[1]}, or leave the "
                "size out."
            )
    return capture


def _opened(source: str) -> cv2.VideoCapture | None:
    """Return OpenCV's capture; None for what it takes for no camera at all."""
    if not source:  # about which OpenCV would print an assertion
        return None
    if not (source.isascii() and source.isdigit()):
        return cv2.VideoCapture(source)
    return cv2.VideoCapture(int(source)) if int(source) <= _GREATEST_NUMBER else None


def no_more_images(source: str) -> InputError:
    """Return the error of a camera that delivers nothing any more."""
    return InputError(f"Camera {source!r} delivers no more images; check it.")
