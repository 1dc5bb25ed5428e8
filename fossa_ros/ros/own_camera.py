"""A camera that the node opens itself, so that its images cross DDS only where somebody subscribes to them."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from fossa_ros.core.errors import InputError
from fossa_ros.io.camera_source import CameraSource
from fossa_ros.messages import topics
from fossa_ros.parameters.thresholds import ERROR, OK
from fossa_ros.ros.conversions import image_message, time_message
from fossa_ros.ros.endpoints import create_lifecycle_publisher

WARM_UP_S = 1.0  # the driver's stored images come first, and a webcam still sets its exposure
REOPEN_S = 1.0
SILENCE_S = 3.0  # without an image
STOPPING_S = 2.0  # a camera that is gone may keep a read waiting longer; its thread is left, then


class OwnCamera:
    """Read a camera on a thread of its own; open it again when it was lost.

    Args:
        node: the node; publishes images and calibration to whoever subscribes.
        source: the camera, open or not.
        info: its calibration; the header is that of each frame.
    """

    def __init__(self, node: LifecycleNode, source: CameraSource, info: CameraInfo):
        self._node = node
        self._source = source
        self._info = info
        self._images = create_lifecycle_publisher(node, topics.IMAGE)
        self._infos = create_lifecycle_publisher(node, topics.CAMERA_INFO)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = ""
        self._arrived = 0.0  # monotonic

    def start(self, on_pair: Callable[[Image, CameraInfo], None]) -> None:
        """Begin to read; ``on_pair`` receives each image and its calibration on the camera's thread."""
        self._stopping, self._lost, self._arrived = threading.Event(), "", time.monotonic()
        # The thread has its own flag: one that was left stays stopped.
        self._thread = threading.Thread(target=self._run, args=(on_pair, self._stopping), name="camera", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, from any thread; the camera stays open."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            thread.join(STOPPING_S)

    def close(self) -> None:
        """Stop, and destroy the publishers."""
        self.stop()
        for publisher in (self._images, self._infos):
            self._node.destroy_lifecycle_publisher(publisher)

    def match_reliability(self) -> None:
        """Do nothing: no publisher has to be matched."""

    def fault(self) -> tuple[bytes, str]:
        """Return the level of /diagnostics and why no image arrives; OK where they do."""
        silence = time.monotonic() - self._arrived
        if self._lost:
            return ERROR, self._lost.rstrip(".")
        if silence > SILENCE_S:
            return ERROR, f"camera {self._source.source!r} has delivered no image for {silence:.0f} s: check its cable"
        return OK, ""

    def _run(self, on_pair: Callable[[Image, CameraInfo], None], stopping: threading.Event) -> None:
        ready = time.monotonic() + WARM_UP_S
        while not stopping.is_set():
            try:
                if not self._source.is_open:
                    self._source.open()
                    ready = time.monotonic() + WARM_UP_S
                image = self._source.read()
            except InputError as error:
                self._source.close()
                if not stopping.is_set():
                    self._lost = str(error)
                stopping.wait(REOPEN_S)
                continue
            self._arrived = time.monotonic()
            if stopping.is_set() or self._arrived < ready:
                continue
            self._lost = ""
            header = Header(stamp=time_message(image.stamp_ns), frame_id=self._info.header.frame_id)
            message, info = image_message(image.pixels, image.encoding, header), copy.copy(self._info)
            info.header = header
            on_pair(message, info)
            if self._images.get_subscription_count():
                self._images.publish(message)
            if self._infos.get_subscription_count():
                self._infos.publish(info)
