"""The clock offset learned from images of a simulated lens: right within what it claims, or not certain."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fossa_ros.lens import LensMove
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.sweep.clock_offset import ClockOffsetEstimator, sharpness

MS = 1_000_000
EXPOSURE = 4 * MS
TEXTURE = np.random.default_rng(3).integers(0, 256, (120, 160), dtype=np.uint8)


def image_at(powers, texture) -> np.ndarray:
    """A texture at 0.5 D, blurred as a lens that passes through ``powers`` during the exposure would."""
    blurred = [cv2.GaussianBlur(texture, (0, 0), 0.3 + 2.0 * abs(power - 0.5)).astype(np.float32) for power in powers]
    return np.mean(blurred, axis=0).astype(np.uint8)


def run(offset_ms: float, period_ms: float = 1000 / 60, texture=TEXTURE, steps: int = 40, seed: int = 0):
    """Step a lens and stamp the frames that see it ``offset_ms`` too early; return the estimator."""
    random = np.random.default_rng(seed)
    dynamics, estimator = LensDynamics(), ClockOffsetEstimator()
    now, number, powers = 10**9, 0, [0.4, 0.9, 1.4, 1.9, 1.4, 0.9]
    frame = now
    for step in range(steps):
        sent = now
        acknowledged = sent + round(random.uniform(0.5, 2) * MS)
        dynamics.command(powers[step % len(powers)], (sent + acknowledged) // 2)
        estimator.on_commanded(LensMove(1.0, sent, acknowledged, 0, 0.0))
        now += round((2 + random.integers(0, 2)) * period_ms * MS + random.uniform(0, 3) * MS)
        while frame + EXPOSURE < now:
            seen = [dynamics.power_at(frame + round(EXPOSURE * part)) for part in (0.1, 0.3, 0.5, 0.7, 0.9)]
            noisy = image_at(seen, texture) + random.normal(0, 1, texture.shape)
            stamp = frame - round(offset_ms * MS)
            estimator.exposed(stamp, stamp + EXPOSURE, sharpness(np.clip(noisy, 0, 255).astype(np.uint8)))
            frame += round(period_ms * MS)
            number += 1
    return estimator


@pytest.mark.parametrize("offset_ms", [-25, -8, -3, 0, 3, 8, 25])
def test_the_offset_is_right_within_what_it_claims(offset_ms):
    found = run(offset_ms).estimate()
    assert found.certain, found
    assert abs(found.offset_ns / MS - offset_ms) < max(3 * found.uncertainty_ns / MS, 1.5), found
    assert found.uncertainty_ns < 4 * MS


def test_nothing_is_certain_where_no_image_shows_the_step():
    flat = np.full_like(TEXTURE, 128)
    found = run(0, texture=flat).estimate()
    assert found is None or not found.certain


def test_too_few_steps_are_no_estimate():
    assert run(5, steps=10).estimate() is None
    estimator = run(5)
    estimator.reset()
    assert estimator.estimate() is None
