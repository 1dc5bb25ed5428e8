import numpy as np
import pytest

from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.stack import FocusPlane, FocusStack


def test_a_textureless_scene_is_unknown_and_the_configuration_decides():
    rng = np.random.default_rng(0)
    images = [
        np.clip(120 + 2 * rng.standard_normal((240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(3)
    ]
    planes = [FocusPlane(image, focus) for image, focus in zip(images, (0.5, 1.0, 2.0), strict=True)]
    stack = FocusStack(tuple(planes))
    refused = MotionCheck().check(stack)
    assert refused.verdict == "rejected" and refused.stack is None
    assert np.isnan(refused.motion_px) and "texture" in refused.reason
    accepted = MotionCheck(MotionConfig(accept_unknown=True)).check(stack)
    assert accepted.verdict == "still" and accepted.stack is stack
    assert accepted.motion_px == pytest.approx(np.nan, nan_ok=True)
