"""Sweeps of one rendered scene, with known motion, for the tests of fossa_ros.motion."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from fossa_ros.core.srgb import srgb_decode
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.motion_path import rotation_matrix
from fossa_ros.simulation.stack_renderer import render_stack

CAMERA = SimulatedCamera(width=320, height=240, fx=300.0)
FOCUS = (0.4, 0.55, 0.9, 2.5)
NETWORK_SCALE = 518 / 240  # network px for each px of CAMERA


@functools.cache
def light(scene: int, focus_error: float = 0.0) -> list[np.ndarray]:
    """Return the noiseless light of each plane of a scene that stands still."""
    focus = np.array(FOCUS) * (1 + focus_error)
    stack, _ = render_stack(scene, CAMERA, focus, views=64)
    return [srgb_decode(plane.image / 255.0).astype(np.float32) for plane in stack.planes]


def turn(network_px: float, direction: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Return the homography of a camera that turns so that the view's centre moves by ``network_px``.

    ``direction`` and ``roll`` in radians. What is at p in the first view is at H(p) in the second.
    """
    angle = network_px / NETWORK_SCALE / CAMERA.fx
    rotation = rotation_matrix((-np.sin(direction) * angle, np.cos(direction) * angle, roll))
    return CAMERA.K @ rotation @ np.linalg.inv(CAMERA.K)


def zoomed(scale: float) -> np.ndarray:
    """Return the homography of an image magnified about its centre."""
    x, y = CAMERA.K[:2, 2]
    return np.array([[scale, 0, x * (1 - scale)], [0, scale, y * (1 - scale)], [0, 0, 1.0]])


def seen(image: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Move the content of an image by a homography."""
    size = (CAMERA.width, CAMERA.height)
    return cv2.warpPerspective(image, H, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def sweep(scene, rng, views=None, errors=None, gains=None, backwards=False, reference=None) -> FocusStack:
    """Take a noisy sweep.

    Args:
        views: homography of each plane, in the order taken; all the same view by default.
        errors: relative focus error of each plane (-0.05, 0 or 0.05), in the order taken.
        gains: relative exposure of each plane.
        backwards: sweep from far to near.
    """
    order = range(len(FOCUS))[::-1] if backwards else range(len(FOCUS))
    planes = []
    for taken, index in enumerate(order):
        view = light(scene, 0.0 if errors is None else errors[taken])[index]
        if views is not None:
            view = seen(view, views[taken])
        gain = 1.0 if gains is None else gains[taken]
        planes.append(FocusPlane(CAMERA.expose(view, rng, gain), FOCUS[index]))
    return FocusStack(tuple(planes), K=CAMERA.K, reference=reference)
