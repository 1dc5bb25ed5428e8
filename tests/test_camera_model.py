"""The camera's whole model, against OpenCV."""

import cv2
import numpy as np
import pytest

from fossa_ros.core.camera_model import Rectification, checked_distortion, sensible_intrinsics
from fossa_ros.core.errors import InputError
from fossa_ros.core.rectified import rectified
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack

SIZE = 120, 160
K = np.array([[150.0, 0, 81.0], [0, 152.0, 58.5], [0, 0, 1]])
P = np.array([[140.0, 0, 79.0], [0, 141.0, 60.0], [0, 0, 1]])
PLUMB_BOB = (-0.35, 0.12, 0.001, -0.002, 0.01)
RATIONAL = (0.4, -0.1, 0.001, -0.002, 0.02, 0.7, 0.05, 0.01)
PRISM = (*RATIONAL, 0.002, -0.001, 0.001, 0.002)
TILTED = (*PRISM, 0.01, -0.02)
FISHEYE = (-0.02, 0.01, -0.003, 0.001)
TURN = cv2.Rodrigues(np.array([0.03, -0.05, 0.02]))[0]
CASES = [
    ("plumb_bob", PLUMB_BOB[:4]),
    ("plumb_bob", PLUMB_BOB),
    ("rational_polynomial", RATIONAL),
    ("rational_polynomial", PRISM),
    ("rational_polynomial", TILTED),
    ("equidistant", FISHEYE),
    ("fisheye", FISHEYE),
]


def grid(size=SIZE):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.column_stack([columns.ravel(), rows.ravel()]).astype(float)


@pytest.mark.parametrize(("model", "coefficients"), CASES)
@pytest.mark.parametrize("R", [np.eye(3), TURN])
def test_every_model_maps_pixels_as_opencv_does(model, coefficients, R):
    rectification = Rectification(P, model, coefficients, R)
    raw = rectification.raw_pixels(K, grid()).reshape(*SIZE, 2)
    maps = cv2.fisheye.initUndistortRectifyMap if model in ("equidistant", "fisheye") else cv2.initUndistortRectifyMap
    x, y = maps(K, np.array(coefficients), R, P, SIZE[::-1], cv2.CV_32FC1)
    assert np.abs(raw - np.dstack([x, y])).max() < 2e-4

    fast = rectification.raw_pixel_map(K, SIZE)
    assert np.array_equal(np.isnan(fast), np.isnan(raw)) and np.nanmax(np.abs(fast - raw)) < 2e-4

    inner = grid()[(np.abs(grid() - (80, 60)) < (60, 40)).all(axis=1)]
    assert np.abs(rectification.raw_pixels(K, rectification.view_pixels(K, inner)) - inner).max() < 1e-6


def test_a_view_beyond_the_fold_of_the_polynomial_is_unknown():
    # r (1 - 0.35 r^2) is largest at r = 0.976: a rectified view that reaches 2 would show the image again, mirrored.
    wide = np.array([[20.0, 0, 79.5], [0, 20.0, 59.5], [0, 0, 1]])
    folding = Rectification(wide, "plumb_bob", (-0.35, 0.0, 0.0, 0.0))
    raw = folding.raw_pixels(K, grid())
    radius = np.hypot(*(grid() - (79.5, 59.5)).T) / 20
    assert np.isfinite(raw[radius < 0.97]).all() and np.isnan(raw[radius > 0.985]).all()
    assert np.array_equal(np.isnan(folding.raw_pixel_map(K, SIZE)), np.isnan(raw.reshape(*SIZE, 2)))


def rectified_map(depth, image, rectification):
    planes = tuple(FocusPlane(image, distance) for distance in (1.0, 2.0))
    stack = FocusStack(planes, K, rectification=rectification)
    return rectified(DepthMap(depth, np.full(SIZE, 0.5, np.float32), image, K), stack)


def depth_of(plane, K, size=SIZE):
    """Depth of the plane n . X = 1 at every pixel of a pinhole image."""
    rays = np.column_stack([grid(size), np.ones(size[0] * size[1])]) @ np.linalg.inv(K).T
    return (1 / (rays @ plane)).reshape(size)


@pytest.mark.parametrize(("model", "coefficients"), CASES)
@pytest.mark.parametrize("R", [np.eye(3), TURN])
def test_a_slanted_plane_keeps_its_depth_in_the_rectified_view(model, coefficients, R):
    plane = np.array([0.15, -0.1, 0.6])
    rectification = Rectification(P, model, coefficients, R)
    straight = Rectification(np.eye(3), model, coefficients).view_pixels(K, grid())  # on the plane z = 1
    raw = (1 / (np.column_stack([straight, np.ones(len(straight))]) @ plane)).reshape(SIZE).astype(np.float32)
    image = np.full((*SIZE, 3), 90, np.uint8)
    result = rectified_map(raw, image, rectification)

    expected = depth_of(R @ plane, P)
    pixels = rectification.raw_pixels(K, grid()).reshape(*SIZE, 2)
    inside = ((pixels >= -0.5) & (pixels < (SIZE[1] - 0.5, SIZE[0] - 0.5))).all(axis=2)
    known = np.isfinite(result.depth)
    assert not known[~inside].any() and known[inside].mean() > 0.999
    assert np.nanmax(np.abs(result.depth / expected - 1)) < 2e-3
    assert (result.confidence == np.where(known, np.float32(0.5), 0)).all()
    assert (result.all_in_focus[inside] == 90).all() and not result.all_in_focus[~inside].any()
    assert np.array_equal(result.K, P)


def test_no_depth_appears_between_foreground_and_background():
    depth = np.full(SIZE, 3.0, np.float32)
    depth[:, 63:] = 1.0
    depth[40:44] = np.nan
    image = np.zeros((*SIZE, 3), np.uint8)
    result = rectified_map(depth, image, Rectification(P, "plumb_bob", PLUMB_BOB))
    known = result.depth[np.isfinite(result.depth)]
    assert known.size > 15_000 and np.minimum(abs(known - 1), abs(known - 3)).max() < 1e-6


def test_a_rectification_follows_the_size_of_the_images():
    half = Rectification(P, "plumb_bob", PLUMB_BOB).scaled(SIZE, (60, 80))
    assert half.P[0, 0] == 70 and half.P[0, 2] == pytest.approx((79.0 + 0.5) / 2 - 0.5)


def test_what_changes_nothing():
    assert not Rectification(K).changes(K) and Rectification(K).changes(P)
    assert Rectification(K, "plumb_bob", PLUMB_BOB).changes(K)
    assert Rectification(K, "equidistant", (0.0,) * 4).changes(K)


@pytest.mark.parametrize(
    ("model", "coefficients", "expected"),
    [
        ("", (), ("plumb_bob", ())),
        ("none", (0.0, 0.0), ("plumb_bob", ())),
        ("fisheye", FISHEYE, ("equidistant", FISHEYE)),
        ("equidistant", (*FISHEYE, 0.0), ("equidistant", FISHEYE)),
        ("plumb_bob", (*PLUMB_BOB, 0.0, 0.0, 0.0), ("plumb_bob", PLUMB_BOB)),
    ],
)
def test_distortions_of_drivers(model, coefficients, expected):
    assert checked_distortion(model, coefficients) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rectification(P, "ds", (0.1, 0.2)), "distortion_model 'ds' is unknown"),
        (lambda: Rectification(P, "", (0.1, 0.2, 0, 0)), "distortion_model '' is unknown"),
        (lambda: Rectification(P, "plumb_bob", (0.1, 0.2)), r"D \(distortion\) of plumb_bob has 4 or 5 coefficients"),
        (lambda: Rectification(P, "plumb_bob", RATIONAL), "not 8"),
        (lambda: Rectification(P, "plumb_bob", (np.nan,) * 4), "not finite"),
        (lambda: Rectification(np.zeros((3, 3))), "P must have positive focal lengths"),
        (lambda: Rectification(P, rotation=2 * np.eye(3)), "R must be a rotation"),
        (lambda: sensible_intrinsics(np.eye(3), SIZE), "focal length 1 px for images 160 px wide"),
        (lambda: sensible_intrinsics(np.zeros((3, 3)), SIZE), "focal length 0 px"),
        (lambda: sensible_intrinsics(K.T, SIZE), "not an intrinsic matrix"),
        (lambda: sensible_intrinsics(K * [[60], [60], [1]], SIZE, "P"), "P has the focal length 9000 px"),
        (lambda: sensible_intrinsics(K - [[0, 0, 60], [0, 0, 0], [0, 0, 0]], SIZE), "outside the middle half"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()
