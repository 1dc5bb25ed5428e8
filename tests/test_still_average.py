"""The average of a still view: noise falls, what moves stays sharp, another lens or size begins anew."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.estimators import Estimator
from fossa_ros.motion import MotionCheck, MotionConfig
from fossa_ros.pipeline.still_average import StillAverage
from fossa_ros.pipeline.worker import DepthWorker
from test_pipeline import sweep, wait_until

SIZE, FOCUS, NOISE = (120, 160), (0.5, 1.0, 2.0), 8.0


@pytest.fixture(scope="module")
def view() -> np.ndarray:
    """Return a smooth (H, W + 40, 3) float texture of 60 to 190 grey levels."""
    rough = np.random.default_rng(0).standard_normal((SIZE[0], SIZE[1] + 40, 3))
    smooth = cv2.GaussianBlur(rough, (0, 0), 2.0)
    return 125 + 20 * np.clip(smooth / smooth.std(), -3, 3)


def taken(view, rng, shift=0, patch=None, focus=FOCUS, noise=NOISE) -> FocusStack:
    """Return a noisy stack of the view, shifted to the left, with a bright square at ``patch``."""
    clean = view[:, shift : shift + SIZE[1]].copy()
    if patch is not None:
        clean[40:80, patch : patch + 40] = 230
    images = (np.rint(clean + noise * rng.standard_normal(clean.shape)).clip(0, 255) for _ in focus)
    return FocusStack(tuple(FocusPlane(im.astype(np.uint8), s) for im, s in zip(images, focus, strict=True)))


def error(stack, clean, where=np.s_[:, :]) -> float:
    return float(np.mean([np.std((plane.image - clean)[where]) for plane in stack.planes]))


@pytest.mark.parametrize(("sweeps", "taken_sweeps", "left"), [(10, 4, 4), (10, 10, 10), (3, 40, 5)])
def test_noise_falls_as_the_number_of_sweeps_says(view, sweeps, taken_sweeps, left):
    rng, average = np.random.default_rng(1), StillAverage(sweeps)
    for _ in range(taken_sweeps):
        found = average.add(taken(view, rng))
    # A mean of the last n with equal weights, then of weight 1/n each time, which leaves 1 / (2 n - 1) of the variance.
    assert error(found, view[:, : SIZE[1]]) == pytest.approx(np.hypot(NOISE / np.sqrt(left), 0.29), rel=0.08)
    assert found.focus_distances.tolist() == list(FOCUS)


def test_planes_that_come_in_the_other_order_are_averaged_with_those_of_their_focus(view):
    rng, average = np.random.default_rng(2), StillAverage(10)
    dim = {0.5: 0.6, 1.0: 0.8, 2.0: 1.0}

    def stack(focus):
        return taken(view, rng, focus=focus).with_images(
            [np.uint8(dim[s] * p.image) for s, p in zip(focus, taken(view, rng, focus=focus).planes, strict=True)]
        )

    for number in range(6):
        found = average.add(stack(FOCUS[:: 1 - 2 * (number % 2)]))
    assert found.focus_distances.tolist() == list(FOCUS[::-1])
    means = [plane.image.mean() / view[:, : SIZE[1]].mean() for plane in found.planes]
    assert means == pytest.approx([1.0, 0.8, 0.6], abs=0.01)


def test_a_view_that_moves_is_not_averaged(view):
    rng, average = np.random.default_rng(3), StillAverage(10)
    for shift in range(0, 40, 4):
        found = average.add(taken(view, rng, shift))
    assert error(found, view[:, 36 : 36 + SIZE[1]]) < 1.1 * NOISE


def test_what_moves_in_a_still_view_leaves_no_trace(view):
    rng, average = np.random.default_rng(4), StillAverage(10)
    for patch in (10, 10, 10, 10, 100):
        found = average.add(taken(view, rng, patch=patch))
    clean = view[:, : SIZE[1]].copy()
    clean[40:80, 100:140] = 230
    assert error(found, clean, np.s_[:, 60:90]) < 0.55 * NOISE  # nothing moved here
    bias = np.mean([plane.image - clean for plane in found.planes], axis=(0, 3))
    assert abs(bias[40:80, 10:50].mean()) < 0.5 and abs(bias[40:80, 100:140].mean()) < 0.5


@pytest.mark.parametrize("other", [{"focus": (0.5, 1.0, 2.2)}, {"focus": (0.5, 2.0)}])
def test_another_lens_setting_begins_anew(view, other):
    rng, average = np.random.default_rng(5), StillAverage(10)
    for _ in range(5):
        average.add(taken(view, rng))
    stack = taken(view, rng, **other)
    assert (average.add(stack).images() == stack.images()).all()


@pytest.mark.parametrize("drift", [1, 2])
def test_a_slow_pan_adds_less_than_its_noise(view, drift):
    rng, average = np.random.default_rng(6), StillAverage(10)
    for shift in range(0, 20 * drift, drift):
        found = average.add(taken(view, rng, shift))
    assert error(found, view[:, 19 * drift : 19 * drift + SIZE[1]]) < 1.3 * NOISE


class Grain(Estimator):
    """Return as depth how much neighbouring pixels differ."""

    name = "grain"

    def estimate(self, stack):
        grain = np.diff(stack.planes[0].image[..., 0].astype(np.float32), axis=1).std()
        depth = np.full(stack.size, grain, np.float32)
        return DepthMap(depth, np.ones_like(depth), stack.planes[0].image, None, stack.stamp_ns, self.name)


def test_the_worker_averages_once_it_is_configured_to(view):
    rng, results = np.random.default_rng(7), []
    check = MotionCheck(MotionConfig(accept_unknown=True))
    worker = DepthWorker(check, Grain(), results.append)
    worker.start()
    for number in range(12):
        if number == 4:
            worker.reconfigure(check.config, 0, None, still_sweeps=10)
        planes = taken(view, rng, noise=4.0).planes
        stack = FocusStack(tuple(replace(p, stamp_ns=10**9 + number) for p in planes))
        worker.submit(replace(sweep(number), stack=stack, focus_distances=FOCUS))
        wait_until(lambda number=number: len(results) > number)
    worker.stop()
    grain = [float(np.nanmedian(result.depth.depth)) for result in results]
    still = np.diff(view[:, : SIZE[1], 0], axis=1).std()
    noise = np.sqrt(np.maximum(np.square(grain) - still**2, 0)) / np.sqrt(2)  # of one pixel
    assert noise[:5] == pytest.approx(4.0, rel=0.1)
    assert noise[11] == pytest.approx(4.0 / np.sqrt(8), rel=0.2)
