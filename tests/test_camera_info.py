"""camera_info as REP 104 has it: which fields count, and which are refused by name."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import coloured_cloud
from fossa_ros.core.stack import DepthMap, FocusPlane, FocusStack
from fossa_ros.messages import topics
from fossa_ros.messages.camera_frames import CameraFrames, frame_camera
from fossa_ros.messages.camera_info import CameraCalibration, takes_rectified
from fossa_ros.pipeline.result import SweepResult
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.result_messages import result_messages
from fossa_ros.pipeline.steps import estimate_depth
from fossa_ros.sweep import CapturedSweep

K = np.array([[600.0, 0, 321.0], [0, 602.0, 238.0], [0, 0, 1]])
P = np.array([[550.0, 0, 318.0, 0], [0, 551.0, 242.0, 0], [0, 0, 1, 0]])
D = (-0.3, 0.1, 0.001, -0.001, 0.0)
SIZE = 480, 640


def info(**changed):
    roi = {"x_offset": 0, "y_offset": 0, "width": 0, "height": 0} | changed.pop("roi", {})
    fields = {
        "header": SimpleNamespace(frame_id="camera_optical_frame", stamp=SimpleNamespace(sec=1, nanosec=0)),
        "height": 480,
        "width": 640,
        "distortion_model": "plumb_bob",
        "d": np.array(D),
        "k": K.ravel(),
        "r": np.eye(3).ravel(),
        "p": P.ravel(),
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(**roi),
    }
    return SimpleNamespace(**(fields | changed))


def model(size=SIZE, rectified=False, **changed):
    return CameraCalibration.of(info(**changed), rectified).model(size)


@pytest.mark.parametrize(
    ("setting", "topic", "rectified"),
    [
        ("auto", "/camera/image_rect", True),
        ("auto", "/left/rectified/image", True),
        ("auto", "/image_rect_color/compressed", True),
        ("auto", "/camera/image_raw", False),
        ("auto", "/directed/image", False),
        ("auto", "/image_unrectified", False),
        ("raw", "/image_rect", False),
        ("rectified", "/image", True),
    ],
)
def test_which_images_are_taken_for_rectified(setting, topic, rectified):
    taken, why = takes_rectified(setting, topic)
    assert taken is rectified and topic in why and ("P of camera_info counts" in why) is rectified
    assert "camera.image is" in why


def test_a_raw_image_has_K_and_D_and_its_view_P():
    camera = model()
    assert np.array_equal(camera.K, K) and np.array_equal(camera.rectification.P, P[:, :3]) and not camera.cropped
    assert (camera.rectification.model, camera.rectification.coefficients) == ("plumb_bob", D)


def test_a_rectified_image_has_P():
    assert np.array_equal(model(rectified=True).K, P[:, :3]) and model(rectified=True).rectification is None
    assert np.array_equal(model(rectified=True, k=np.zeros(9), distortion_model="nonsense").K, P[:, :3])
    assert np.array_equal(model(rectified=True, k=np.eye(3).ravel()).K, P[:, :3])


def test_fields_that_drivers_leave_empty():
    assert np.array_equal(model(p=np.zeros(12), r=np.zeros(9)).rectification.P, K)
    assert np.array_equal(model(p=1.0 * (np.arange(12) == 10)).rectification.P, K)
    plain = model(p=np.zeros(12), d=np.zeros(0), distortion_model="")
    assert plain.rectification is None and np.array_equal(plain.K, K)
    assert np.array_equal(model(rectified=True, p=np.zeros(12), d=np.zeros(5)).K, K)


def test_binning_divides_and_a_roi_shifts_as_image_geometry_does():
    halved = model((240, 320), binning_x=2, binning_y=2)
    assert np.allclose(halved.K, K / [[2], [2], [1]]) and np.allclose(
        halved.rectification.P, P[:, :3] / [[2], [2], [1]]
    )

    window = {"x_offset": 320, "y_offset": 40, "width": 320, "height": 200}
    cut = model((200, 320), roi=window)
    assert cut.cropped and np.allclose(cut.K, K - [[0, 0, 320], [0, 0, 40], [0, 0, 0]])
    both = model((100, 160), roi=window, binning_x=2, binning_y=2, rectified=True)
    assert np.allclose(both.K, (P[:, :3] - [[0, 0, 320], [0, 0, 40], [0, 0, 0]]) / [[2], [2], [1]])
    assert not model(roi={"width": 640, "height": 480}).cropped
    assert model((160, 214), binning_x=3, binning_y=3).K[0, 0] == 200
    assert CameraCalibration.of(info(roi=window, binning_x=2, binning_y=2)).image_size == (100, 160)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": 320}, "calibration of 320x480 images, but the image is 640x480; correct width of camera_info"),
        ({"height": 960}, "correct height of camera_info"),
        ({"binning_x": 2, "binning_y": 2}, "with binning 2x2, but the image is 640x480; correct binning_x"),
        ({"binning_y": 2}, "correct binning_y"),
        ({"roi": {"width": 320, "height": 480}}, r"with roi 320x480, but the image is 640x480; correct roi\.width"),
        ({"roi": {"width": 640, "height": 480, "y_offset": 10}}, r"roi\.height of camera_info reaches to 490 px"),
        ({"roi": {"x_offset": 10}}, r"roi\.x_offset of camera_info is 10 but roi\.width is 0"),
        ({"k": np.eye(3).ravel()}, "K of camera_info has the focal length 1 px"),
        ({"k": np.zeros(9)}, "K of camera_info has the focal length 0 px .* uncalibrated"),
        ({"k": (K * [[100], [100], [1]]).ravel()}, "K of camera_info has the focal length 60000 px"),
        ({"k": (K - [[0, 0, 300], [0, 0, 0], [0, 0, 0]]).ravel()}, "K of camera_info has its principal point"),
        ({"k": np.full(9, np.nan)}, "K of camera_info has entries that are not finite"),
        ({"p": np.eye(3, 4).ravel()}, "P of camera_info has the focal length 1 px"),
        ({"r": np.full(9, 0.5)}, "camera_info: R must be a rotation"),
        ({"distortion_model": "double_sphere"}, "camera_info: distortion_model 'double_sphere' is unknown"),
        (
            {"d": np.array([0.1, 0.2, 0.3])},
            r"camera_info: D \(distortion\) of plumb_bob has 4 or 5 coefficients, not 3",
        ),
        ({"rectified": True, "p": np.zeros(12)}, "P of camera_info has the focal length 0 px"),
        ({"rectified": True, "p": np.eye(3, 4).ravel()}, "P of camera_info has the focal length 1 px"),
    ],
)
def test_fields_without_sense_are_refused_by_name(changed, message):
    with pytest.raises(InputError, match=message):
        model(**changed)


def test_a_calibration_that_changes_in_any_field_is_another_one():
    same = [CameraCalibration.of(info()), CameraCalibration.of(info())]
    assert same[0] == same[1] and hash(same[0]) == hash(same[1])
    for changed in ({"d": np.zeros(5)}, {"p": np.zeros(12)}, {"binning_x": 2}, {"roi": {"x_offset": 1}}):
        assert CameraCalibration.of(info(**changed)) != same[0]


class Flat:
    """An estimator of a slanted plane, as the raw camera sees it."""

    name = "flat"

    def estimate(self, stack):
        rows, columns = np.mgrid[: stack.size[0], : stack.size[1]]
        depth = (2 + 0.001 * columns + 0.0005 * rows).astype(np.float32)
        return DepthMap(depth, np.ones_like(depth), stack.planes[0].image, stack.K, stack.stamp_ns)


@pytest.mark.parametrize("rectified", [False, True])
def test_what_is_published_obeys_the_formula_of_depth_image_proc(rectified):
    frames = []
    image = SimpleNamespace(header=info().header, width=640, height=480, encoding="rgb8")
    baseline = P.copy()
    baseline[0, 3] = -55.0
    CameraFrames(frames.append, rectified=rectified).add(image, info(p=baseline.ravel()), 0)
    camera = frame_camera(frames[0], SIZE)
    pixels = np.full((*SIZE, 3), 80, np.uint8)
    planes = tuple(FocusPlane(pixels, distance, 10**9) for distance in (1.0, 2.0))
    stack = FocusStack(planes, camera.K, rectification=camera.rectification)
    sweep = CapturedSweep(0, stack, "", (1.0, 2.0), (1, 1), (frames[0], frames[0]), {}, 0, 1)
    result = estimate_depth(SweepResult(sweep, "still", stack=stack), Flat())
    messages = {topic: fields() for topic, fields in result_messages(result, ResultFormat())}

    published = messages[topics.DEPTH_CAMERA_INFO]
    for topic in (topics.CONFIDENCE_CAMERA_INFO, topics.ALL_IN_FOCUS_CAMERA_INFO):
        for name, value in published.items():
            assert np.array_equal(messages[topic][name], value)
    assert (published["width"], published["height"], published["binning_x"]) == (640, 480, 0)
    assert np.array_equal(published["k"], P[:, :3].ravel()) and not published["d"].any()
    assert np.array_equal(published["r"], np.eye(3).ravel())
    assert np.array_equal(published["p"].reshape(3, 4), baseline)

    depth = messages[topics.DEPTH]["data"].view(np.float32).reshape(SIZE)
    cloud = messages[topics.POINTS]["data"].view(np.float32).reshape(*SIZE, 4)
    assert np.isfinite(depth).mean() > 0.97
    rows, columns = np.mgrid[:480, :640]
    fx, fy, cx, cy = (published["k"][place] for place in (0, 4, 2, 5))
    expected = np.dstack([(columns - cx) * depth / fx, (rows - cy) * depth / fy, depth])
    assert np.nanmax(np.abs(cloud[..., :3] - expected)) < 1e-4
    assert np.array_equal(np.isnan(cloud[..., 2]), np.isnan(depth))


def test_a_raw_image_whose_P_differs_gives_the_same_points_as_its_rectified_view():
    # Each rectified pixel must carry the depth of the raw pixel that sees the same ray.
    camera = model()
    pixels = np.full((*SIZE, 3), 80, np.uint8)
    planes = tuple(FocusPlane(pixels, distance) for distance in (1.0, 2.0))
    stack = FocusStack(planes, camera.K, rectification=camera.rectification)
    sweep = CapturedSweep(0, stack, "", (), (), (), {}, 0, 1)
    depth = estimate_depth(SweepResult(sweep, "still", stack=stack), Flat()).depth
    cloud = coloured_cloud(depth.depth, depth.K, depth.all_in_focus)
    for row, column in ((5, 8), (240, 320), (470, 600)):
        point = np.array([cloud[axis][row, column] for axis in "xyz"], float)
        straight = (point / point[2])[None]
        raw = cv2.projectPoints(straight, np.zeros(3), np.zeros(3), K, np.array(D))[0].ravel()
        assert point[2] == pytest.approx(2 + 0.001 * raw[0] + 0.0005 * raw[1], abs=2e-4)
