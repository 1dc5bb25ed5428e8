"""A plane that is blurred in one direction is refused where there is no sweep before to compare it with."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

import motion_renders as renders
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion.smear import check_smear

SCENES = 1, 2
NAMES = [f"{number}.png" for number in range(4)]


def still(scene):
    return renders.sweep(scene, np.random.default_rng(scene), [np.eye(3)] * 4, reference=2)


def smeared(stack, plane, size):
    """Blur a plane by ``size`` (x, y) px."""
    planes = list(stack.planes)
    planes[plane] = replace(planes[plane], image=cv2.blur(planes[plane].image, size))
    return replace(stack, planes=tuple(planes))


@pytest.mark.parametrize("scene", SCENES)
def test_defocus_alone_is_no_smear_however_strong(scene):
    stack = still(scene)
    check_smear(stack)
    for plane in range(4):  # a plane that is out of focus further
        check_smear(smeared(stack, plane, (5, 5)))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("size", [(6, 1), (1, 6)])
@pytest.mark.parametrize("plane", range(4))
def test_a_smeared_plane_is_refused_by_its_name(scene, size, plane):
    stack = smeared(still(scene), plane, size)
    with pytest.raises(InputError, match="blurred in one direction, as by motion") as refused:
        check_smear(stack, NAMES)
    assert NAMES[plane] in str(refused.value)
    with pytest.raises(InputError, match=r"^The plane focused at "):
        check_smear(stack)


def test_a_stack_without_texture_is_not_judged():
    rng = np.random.default_rng(3)
    images = (np.clip(90 + 2 * rng.standard_normal((240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(3))
    check_smear(FocusStack(tuple(FocusPlane(image, focus) for image, focus in zip(images, (0.5, 1, 2), strict=True))))


@pytest.mark.parametrize("period", [12, 30])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_stripes_alone_are_not_judged(period, noise):
    """Across stripes defocus takes detail, along them there is only noise, of which it takes none."""
    rng = np.random.default_rng(4)
    stripes = np.tile(120 + 60 * np.sin(2 * np.pi * np.arange(320) / period), (240, 1)).astype(np.float32)
    planes = []
    for blur, focus in ((0.1, 0.5), (1.5, 1.0), (3.0, 2.0)):
        gray = cv2.GaussianBlur(stripes, (0, 0), blur) + noise * rng.standard_normal(stripes.shape)
        planes.append(FocusPlane(np.clip(gray, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2), focus))
    check_smear(FocusStack(tuple(planes)))
