"""A camera that a node opens itself: files and streams that OpenCV reads, and what is said when they fail."""

from __future__ import annotations

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image

from fossa_ros.core.errors import InputError
from fossa_ros.io.camera_source import CameraSource
from fossa_ros.io.video import open_video
from fossa_ros.messages.camera_info_file import camera_info_fields
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.msg import SweepReport
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.ros import qos
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.rig import RigConfig, SimulatedRig
from node_processes import process

WIDTH, HEIGHT, FX, RATE = 160, 120, 150.0, 20.0
SIZE = WIDTH, HEIGHT


@pytest.fixture
def clip(tmp_path):
    """A video of one second whose images become brighter."""
    return write_clip(tmp_path / "clip.avi", 1)


def write_clip(path, seconds):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, SIZE)
    for index in range(int(RATE * seconds)):
        writer.write(np.full((HEIGHT, WIDTH, 3), 10 * index % 250, np.uint8))
    writer.release()
    return path


def write_info(path, **changes):
    K = [FX, 0.0, (WIDTH - 1) / 2, 0.0, FX, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    content = {
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "camera_name": "webcam",
        "camera_matrix": {"rows": 3, "cols": 3, "data": K},
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.0] * 5},
        **changes,
    }
    path.write_text(yaml.safe_dump(content))
    return path


class V4l2Capture:
    """A stand-in for OpenCV's V4L2 backend, for which this machine needs a device: see ``CameraSource._stamp``."""

    def __init__(self, age=0.012, pixels=None):
        self.age = age
        self.pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if pixels is None else pixels
        self.format = cv2.VideoWriter.fourcc(*"YUYV")

    def read(self):
        return True, self.pixels

    def get(self, what):
        found = {cv2.CAP_PROP_POS_MSEC: (time.monotonic() - self.age) * 1e3, cv2.CAP_PROP_FOURCC: self.format}
        return found.get(what, 0.0)

    def set(self, what, value):
        return False

    def getBackendName(self):
        return "V4L2"

    def release(self):
        pass


class StreamCapture(V4l2Capture):
    """A stand-in for a stream or file of 25 images a second, each of which is there when it is read."""

    def get(self, what):
        return 25.0 if what == cv2.CAP_PROP_FPS else super().get(what)


def test_a_file_is_a_camera_whose_images_come_at_its_rate_and_are_stamped_when_they_arrive(clip):
    source = CameraSource(str(clip), SIZE, arrival=True)
    assert source.open() == f"Camera '{clip}' (FFMPEG): 160x120 bgr8, images are stamped when they arrive."
    began = time.time_ns()
    images = [source.read() for _ in range(10)]
    stamps = np.array([image.stamp_ns for image in images])
    assert (stamps >= began).all() and (np.diff(stamps) > 0).all()
    assert 0.4 < (stamps[-1] - stamps[0]) / 1e9 < 1.5
    assert [round(float(image.pixels.mean()) / 10) for image in images] == list(range(1, 11))
    with pytest.raises(InputError, match="delivers no more images"):
        for _ in range(20):
            source.read()
    source.close()
    assert not source.is_open


def test_stamps_of_v4l2_are_those_of_its_buffers():
    source = CameraSource("0", SIZE, open_capture=lambda name: V4l2Capture(age=0.012))
    assert source.open().endswith("160x120 bgr8, images are stamped by its driver.")
    assert time.time_ns() - source.read().stamp_ns == pytest.approx(12e6, abs=4e6)


@pytest.mark.parametrize(
    ("capture", "options", "words"),
    [
        (lambda: V4l2Capture(age=-1.0), {}, "does not say when its images are exposed; set sweep.stamp_reference"),
        (lambda: V4l2Capture(age=1e6), {}, "does not say when its images are exposed"),
        (
            lambda: V4l2Capture(pixels=np.zeros((60, 80, 3), np.uint8)),
            {},
            "delivers 80x60, but the calibration .* 160x",
        ),
        (lambda: V4l2Capture(pixels=np.zeros((120, 160, 2), np.uint8)), {}, r"delivers uint8 in \(2,\) channels"),
        (V4l2Capture, {"pixel_format": "MJPG"}, "delivers YUYV, not MJPG; set camera.pixel_format"),
    ],
)
def test_a_camera_that_does_not_do_what_was_asked_is_refused_in_a_sentence(capture, options, words):
    source = CameraSource("0", SIZE, open_capture=lambda name: capture(), **options)
    with pytest.raises(InputError, match=words):
        source.open()
    assert not source.is_open


def test_a_file_has_no_times_of_exposure_and_a_missing_one_cannot_be_opened(clip):
    with pytest.raises(InputError, match=r"does not say when its images are exposed; set sweep.stamp_reference to arr"):
        CameraSource(str(clip), SIZE).open()
    with pytest.raises(InputError, match=r"cannot be opened; give its number, device, file or URL"):
        CameraSource(str(clip) + ".gone", SIZE, arrival=True).open()


def test_no_text_for_a_camera_is_more_than_a_sentence():
    for source in ("", "\u00b2", "\u0663", "99999999999999999999", "a\0b", "x" * 300):
        with pytest.raises(InputError, match=r"^Camera .* cannot be opened; give its number, device, file or URL\.$"):
            open_video(source)


@pytest.mark.parametrize(
    ("source", "paced"),
    [
        ("rtsp://me:p%40ss@camera/stream", False),  # read slower than it comes, each image would be stamped later
        ("http://camera/%20d.mjpg", False),
        ("v4l2src ! " + "video/x-raw,width=640 ! " + "queue ! " * 60 + "appsink", False),  # longer than a file's name
        ("image%04d.png", True),
    ],
)
def test_only_files_are_read_at_the_rate_that_they_state(source, paced):
    camera = CameraSource(source, SIZE, arrival=True, open_capture=lambda name: StreamCapture())
    camera.open()
    began = time.monotonic()
    for _ in range(5):
        camera.read()
    assert (time.monotonic() - began > 0.15) == paced


def test_the_calibration_is_that_of_camera_calibration(tmp_path):
    fields = camera_info_fields(write_info(tmp_path / "webcam info.yaml").as_uri())
    assert (fields["width"], fields["height"], fields["distortion_model"]) == (160, 120, "plumb_bob")
    assert fields["p"].tolist() == [FX, 0, 79.5, 0, 0, FX, 59.5, 0, 0, 0, 1, 0]
    assert fields["r"].tolist() == np.eye(3).ravel().tolist()
    for changes, words in [
        ({"camera_matrix": {"data": [1.0, 2.0]}}, "camera_matrix must hold 9 numbers, not 2; correct it"),
        ({"projection_matrix": {"data": [1.0]}}, "projection_matrix must hold 12 numbers, not 1"),
        ({"image_width": "wide"}, "image_width"),
        ({"image_height": 0}, "image_width and image_height must be within 1 .. 100000 px"),
        ({"image_width": 2**40}, "image_width and image_height must be within 1 .. 100000 px"),
        (
            {"camera_matrix": {"data": [0.0, 0, 80, 0, FX, 60, 0, 0, 1]}},
            "wrong.yaml: K of camera_info has the focal le",
        ),
        ({"camera_matrix": {"data": [FX, 0, 0, 0, FX, 0, 80, 60, 1]}}, "K of camera_info is not an intrinsic matrix"),
        ({"image_width": 4 * WIDTH}, "K of camera_info has the focal length 150 px for images 640 px wide"),
        (
            {"distortion_model": "bent", "distortion_coefficients": {"data": [0.1, 0.0, 0.0, 0.0]}},
            "wrong.yaml: camera_info: .*'bent'",
        ),
        ({"distortion_coefficients": {"data": [0.1, 0.0, 0.0]}}, "wrong.yaml: camera_info: .*plumb_bob"),
    ]:
        with pytest.raises(InputError, match=words):
            camera_info_fields(str(write_info(tmp_path / "wrong.yaml", **changes)))
    for url in ("package://a/b.yaml", "file://host/b.yaml", "file:b.yaml", "http://[", "C:/b.yaml"):
        with pytest.raises(InputError, match=rf"must be a path or file:///PATH, not '{re.escape(url)}'; correct it"):
            camera_info_fields(url)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["camera.source=0"], "camera.source needs the camera's calibration; set camera.info_url"),
        (["camera.info_url=a.yaml"], "camera.info_url has no effect without camera.source; set that too"),
        (["camera.pixel_format=MJPG"], "camera.pixel_format has no effect without camera.source"),
        (
            ["camera.source=0", "camera.info_url=a.yaml", "image_transport=compressed"],
            "image_transport compressed has no effect with camera.source; leave one of them out",
        ),
        (
            ["camera.source=0", "camera.info_url=a.yaml", "camera.pixel_format=MJPEG"],
            "camera.pixel_format must be four letters, not 'MJPEG'",
        ),
        (
            ["camera.source=0", "camera.info_url=a.yaml", "sweep.stamp_reference=arrival"],
            "needs sweep.delay, the longest time from the end of an exposure to its arrival",
        ),
        (
            ["camera.source=0", "camera.info_url=a.yaml", "sweep.exposure_topic=metadata"],
            "sweep.exposure_topic has no effect with camera.source",
        ),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        read_config(FossaNodeConfig, "fossa_node", None, values)


def camera_status(listener):
    statuses = [one for message in listener.heard["/diagnostics"] for one in message.status]
    return [one for one in statuses if one.name.endswith("fossa_node: camera")][-1:]


@pytest.mark.real_time
def test_a_node_with_a_camera_of_its_own_sweeps_publishes_on_demand_and_opens_a_lost_one_again(tmp_path, listener):
    clip = write_clip(tmp_path / "clip.avi", 8)
    info = write_info(tmp_path / "info.yaml")
    own = {"camera__source": clip, "camera__info_url": info, "camera__frame_id": "eye"}
    arrival = {"sweep__stamp_reference": "arrival", "sweep__delay": 0.02, "sweep__exposure": 0.01}
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(DiagnosticArray, "/diagnostics")
    terminal = PseudoTerminal(SimulatedLd4(LensDynamics()))
    try:
        with process("fossa_node", tmp_path / "node.log", lens__port=terminal.port, **own, **arrival):
            reports = listener.heard["sweep"]
            listener.wait_until(lambda: any(len(r.focus_distances) == 5 for r in reports), "a sweep of its frames")
            images = listener.subscribe(Image, "image", qos.FRAMES)
            infos = listener.subscribe(CameraInfo, "camera_info", qos.FRAMES)
            listener.wait_for("image", 3)
            listener.wait_for("camera_info", 3)
            stamps = [{nanoseconds(m.header.stamp) for m in listener.heard[name]} for name in ("image", "camera_info")]
            assert len(stamps[0] & stamps[1]) >= 2
            image, calibration = listener.heard["image"][-1], listener.heard["camera_info"][-1]
            assert (image.encoding, image.width, image.header.frame_id) == ("bgr8", WIDTH, "eye")
            assert calibration.k[0] == FX and calibration.header.frame_id == "eye"
            for subscription in (images, infos):
                listener.node.destroy_subscription(subscription)
            clip.rename(tmp_path / "away.avi")  # at its end, it cannot be opened again

            def lost():
                found = camera_status(listener)
                return found and found[0].level == DiagnosticStatus.ERROR and found[0].message

            listener.wait_until(lost, "the loss")
            listener.wait_until(lambda: "cannot be opened" in (lost() or ""), "what is wrong")
            assert lost() == f"Camera '{clip}' cannot be opened; give its number, device, file or URL"
            (tmp_path / "away.avi").rename(clip)
            listener.wait_until(lambda: not lost(), "the return")
    finally:
        terminal.close()
    assert f"Camera '{clip}' (FFMPEG): 160x120 bgr8" in (tmp_path / "node.log").read_text()


class _Stream:
    """A network camera: JPEGs of a rig as multipart/x-mixed-replace, to every client."""

    def __init__(self):
        self.changed, self.jpeg, self.count = threading.Condition(), b"", 0
        stream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                seen = 0
                try:
                    while True:
                        with stream.changed:
                            while stream.count == seen:
                                stream.changed.wait()
                            seen, jpeg = stream.count, stream.jpeg
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/video.mjpg"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def send(self, frame):
        _, jpeg = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])
        with self.changed:
            self.jpeg, self.count = jpeg.tobytes(), self.count + 1
            self.changed.notify_all()


@pytest.mark.real_time
def test_a_network_camera_and_a_lens_are_depth(tmp_path, listener):
    stream = _Stream()
    camera = SimulatedCamera(width=WIDTH, height=HEIGHT, fx=FX)
    rig = SimulatedRig(RigConfig(camera=camera, rate=RATE, exposure=0.008), stream.send)
    info = write_info(tmp_path / "info.yaml")
    own = {"camera__source": stream.url, "camera__info_url": info, "depth__min_confidence": 0.0}
    # FFmpeg holds back a frame for each of its threads.
    arrival = {"sweep__stamp_reference": "arrival", "sweep__delay": 0.2, "sweep__exposure": 0.008}
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    rig.start()
    try:
        with process("fossa_node", tmp_path / "node.log", lens__port=rig.port, **own, **arrival):
            reports = listener.heard["sweep"]
            listener.wait_until(lambda: sum(report.accepted for report in reports) >= 2, "two depths")
    finally:
        rig.close()
        stream.server.shutdown()
