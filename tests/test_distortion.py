"""The simulated camera with distortion, and depth through it."""

from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest

from fossa_ros.core.camera_model import Rectification
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptres
from fossa_ros.core.rectified import blur_scale, rectified
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.evaluation.replay import ReplayOptions, replay
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.camera_info import CameraCalibration
from fossa_ros.messages.fields import depth_from_message
from fossa_ros.parameters.config import build
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.ros.sim_rig_node import _camera_info
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.distortion import pinhole_pixels
from fossa_ros.simulation.focal_volume import FocalVolume
from fossa_ros.simulation.scenes import make_scene
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.virtual_recording import Recording, write_recording

PLAIN = SimulatedCamera(width=320, height=240, fx=300.0)
BARREL = (-0.35, 0.12, 0.001, -0.001, 0.0)
BENT = replace(PLAIN, distortion=BARREL)
FOCUS = [0.4, 0.6, 0.9, 1.5, 4.0]
SCENES = 3
CORNER = 64
PARAMETERS = (
    "estimator=classical sweep.settling=0.018 sweep.exposure=0.008 lens.power_offset=2 camera.focal_length=0.012 "
    "camera.f_number=1.4 sweep.focus_distances=[0.4,0.6,0.9,1.5,4.0]"
)


@pytest.fixture(scope="module")
def scenes():
    """Return for some scenes the stack without distortion, the one through a lens that distorts, and the true depth."""
    rendered = []
    for seed in range(SCENES):
        stack, truth = render_stack(seed, PLAIN, FOCUS, rng=1, views=32)
        raw, also = render_stack(seed, BENT, FOCUS, rng=1, views=32)
        assert np.array_equal(truth, also, equal_nan=True)
        rendered.append((stack, raw, truth))
    return rendered


def displacement(image, expected, top, left):
    """Return by how many px a corner of an image is displaced."""
    corner = slice(top, top + CORNER), slice(left, left + CORNER)
    gray = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32)[corner] for each in (expected, image)]
    return np.hypot(*cv2.phaseCorrelate(*gray, cv2.createHanningWindow((CORNER, CORNER), cv2.CV_32F))[0])


def test_depth_through_a_lens_that_distorts_is_that_of_the_scene(scenes):
    errors, lateral, before = [], [], []
    for stack, raw, truth in scenes:
        plain, unrectified = ClassicalEstimator().estimate(stack), ClassicalEstimator().estimate(raw)
        found = rectified(unrectified, raw)
        assert np.isfinite(found.depth).mean() > 0.99
        errors.append([depth_metrics(each.depth, truth)["abs_rel"] for each in (plain, found)])
        for top, left in product((0, PLAIN.height - CORNER), (0, PLAIN.width - CORNER)):
            lateral.append(displacement(found.all_in_focus, plain.all_in_focus, top, left) / PLAIN.fx)
            before.append(displacement(unrectified.all_in_focus, plain.all_in_focus, top, left) / PLAIN.fx)
    without, through = np.mean(errors, axis=0)  # single scenes differ by a fifth, up and down
    assert through <= 1.05 * without
    assert max(lateral) < 0.002 and max(before) > 0.05  # metres per metre of distance


def test_blur_is_scaled_as_the_lens_scales_the_image():
    K, size = PLAIN.K, (PLAIN.height, PLAIN.width)
    radial = Rectification(tuple(K.ravel()), "plumb_bob", (-0.3, 0.05, 0.0, 0.0))
    scale = radial.local_scale(K, size, samples=size[1])  # one sample a pixel
    r = 0.4
    imaged = r * (1 - 0.3 * r**2 + 0.05 * r**4)
    along, around = 1 - 0.9 * r**2 + 0.25 * r**4, imaged / r
    column = K[0, 2] + imaged * K[0, 0]
    row = K[1, 2]
    sampled = cv2.remap(scale, np.array([[column]], np.float32), np.array([[row]], np.float32), cv2.INTER_LINEAR)
    assert sampled[0, 0] == pytest.approx(np.sqrt((along**2 + around**2) / 2), rel=2e-3)
    assert scale[120, 160] == pytest.approx(1, abs=1e-3)

    images = render_stack(0, replace(PLAIN, width=64, height=48, fx=60.0), [0.5, 1.0], views=4)[0]
    assert blur_scale(images, size) is None
    K = images.K * [[1.1], [1.1], [1]]
    shifted = replace(images, rectification=Rectification(tuple(K.ravel())))
    assert blur_scale(shifted, size) is None  # another view, but no distortion


def test_images_of_the_live_rig_show_what_the_stack_renderer_shows(scenes):
    _, raw, truth = scenes[0]
    volume = FocalVolume(0, BENT, (1 / 4.0, 1 / 0.4), margin=4, views=32)
    assert np.array_equal(volume.depth(), truth, equal_nan=True)
    for plane in raw.planes[::2]:
        image = volume.image(float(dioptres(plane.focus_distance)))
        difference = cv2.absdiff(cv2.GaussianBlur(image, (0, 0), 2), cv2.GaussianBlur(plane.image, (0, 0), 2))
        assert difference.mean() < 2.0


@pytest.mark.parametrize("camera", [PLAIN, BENT])
def test_the_rig_publishes_its_whole_calibration(camera):
    model = CameraCalibration.of(_camera_info(camera)).model((camera.height, camera.width))
    assert np.array_equal(model.K, camera.K) and model.rectification == camera.rectification


@pytest.mark.parametrize("rectified_images", [False, True])
def test_a_replay_gives_the_cloud_of_the_rectified_view(scenes, tmp_path, rectified_images):
    stack, raw, truth = scenes[0]
    recorded, namespace = raw, "/camera"
    if rectified_images:  # P alone describes them, whatever K and D say of the raw images
        bent = Rectification(tuple(stack.K.ravel()), "plumb_bob", BARREL)
        recorded, namespace = replace(stack, K=1.3 * stack.K * [[1], [1], [1 / 1.3]], rectification=bent), "/rect"
    write_recording(tmp_path / "bag", recorded, truth, Recording(seconds=1.0, namespace=namespace))
    config = read_config(
        FossaNodeConfig,
        "fossa_node",
        None,
        PARAMETERS.split(),
    )
    done = replay(tmp_path / "bag", tmp_path / "out", ReplayOptions(config, picture_every=0))
    assert f"taken for {'rectified' if rectified_images else 'raw'}" in done.image
    seen = stack if rectified_images else raw
    direct = rectified(ClassicalEstimator().estimate(seen), seen)
    assert done.metrics()["abs_rel"] < 1.1 * depth_metrics(direct.depth, truth)["abs_rel"]  # other noise

    with BagReader(tmp_path / "out" / "bag") as bag:
        messages = {recorded.topic: bag.read(recorded) for recorded in bag.messages(set(bag.types))}
    infos = [messages[f"{namespace}/{kind}/camera_info"] for kind in ("depth", "confidence", "all_in_focus")]
    for info in infos:
        assert np.allclose(info.k, PLAIN.K.ravel()) and not info.d.any() and np.array_equal(info.r, np.eye(3).ravel())
    depth = depth_from_message(messages[f"{namespace}/depth/image"])
    cloud = messages[f"{namespace}/points"].data.view(np.float32).reshape(*depth.shape, 4)
    rows, columns = np.mgrid[: PLAIN.height, : PLAIN.width]
    fx, fy, cx, cy = (infos[0].k[place] for place in (0, 4, 2, 5))
    expected = np.dstack([(columns - cx) * depth / fx, (rows - cy) * depth / fy, depth])
    assert np.nanmax(np.abs(cloud[..., :3] - expected)) < 1e-4


def test_every_raw_pixel_must_see_something():
    assert pinhole_pixels(PLAIN) is None
    assert pinhole_pixels(BENT).shape == (240, 320, 2)
    with pytest.raises(InputError, match=r"camera\.distortion .* leaves pixels of the image without a view"):
        pinhole_pixels(replace(PLAIN, distortion=(-1.0, 0.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="plumb_bob has 4 or 5 coefficients, not 3"):
        build(SimulatedCamera, {"distortion": (0.1, 0.2, 0.3)})
    with pytest.raises(InputError, match="cannot be seen through distortion"):
        FocalVolume(make_scene(1, "table").with_mover(object()), BENT, views=1)
