"""A camera in real time before a rendered scene, for tests: as OpenCV reads one, or as a stream that OpenCV opens."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.focal_volume import FocalVolume
from fossa_ros.simulation.live_sensor import LiveSensor

CAMERA = SimulatedCamera(width=320, height=240, fx=300.0)
PERIOD_S, EXPOSURE_S = 1 / 30, 0.008
BOUNDARY = "frame"


class RenderedScene:
    """A scene that any lens can look at; rendering takes seconds, so share it."""

    def __init__(self):
        self.volume = FocalVolume(0, CAMERA, (0.0, 4.0), views=24)

    def truth(self):
        return self.volume.depth()


class RenderedCapture:
    """What ``cv2.VideoCapture`` is to its reader: each read waits for the next exposure and returns it at its end.

    Attributes:
        plugged: set it to False to pull the cable.
        hangs: set it to True to leave the reader waiting.
    """

    def __init__(self, scene: RenderedScene, power_at, period=PERIOD_S):
        self._scene, self._power_at, self._period = scene, power_at, period
        self._sensor = LiveSensor(CAMERA)
        self._next = time.time()
        self.plugged, self.hangs, self.released = True, False, threading.Event()

    def read(self):
        while self.hangs and not self.released.wait(0.02):
            pass
        self._next = max(self._next + self._period, time.time())
        time.sleep(max(self._next - time.time(), 0.0))
        if not self.plugged or self.released.is_set():
            return False, None
        start = time.time()
        time.sleep(EXPOSURE_S)
        power = self._power_at(round((start + EXPOSURE_S / 2) * 1e9))
        return True, cv2.cvtColor(self._sensor.expose(self._scene.volume.image(power)), cv2.COLOR_RGB2BGR)

    def release(self):
        self.released.set()


class Stream:
    """A camera on the network: MJPEG over HTTP, at ``url``; a context manager."""

    def __init__(self, capture: RenderedCapture):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.end_headers()
                try:
                    while (frame := capture.read())[0]:
                        jpeg = cv2.imencode(".jpg", frame[1], (cv2.IMWRITE_JPEG_QUALITY, 97))[1].tobytes()
                        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:  # the reader is gone
                    pass

        self._capture = capture
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._capture.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
