"""A node in the time of a bag: a /clock of 2001, compressed images, an external lens; and the bag restarts."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.messages.fields import depth_from_message, nanoseconds
from fossa_ros.msg import LensState, SweepReport
from fossa_ros.ros import qos
from fossa_ros.ros.conversions import time_message
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import SweepPlan
from node_processes import process

pytestmark = pytest.mark.real_time

CAMERA = SimulatedCamera(width=320, height=240, fx=300.0)
PLAN = SweepPlan.evenly(0.35, 6.0, 3)
START_NS = 1_000_000_000 * 10**9  # September 2001
MS = 1_000_000
PERIOD_MS, EXPOSURE_MS, DELAY_MS = 60, 5, 12
FRAMES = 27


class Bag(threading.Thread):
    """Publish what a bag holds, its clock with it: frames near-far-near, and where the lens was for each."""

    def __init__(self, node, planes):
        super().__init__()
        self._clock = node.create_publisher(Clock, "/clock", qos.RESULTS)
        self._lens = node.create_publisher(LensState, "lens/state", qos.RESULTS)
        self._image = node.create_publisher(CompressedImage, "camera/image_raw/compressed", qos.FRAMES)
        self._info = node.create_publisher(CameraInfo, "camera/camera_info", qos.FRAMES)
        self._planes = [cv2.imencode(".jpg", plane[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])[1] for plane in planes]
        self.plays = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            for index in range(FRAMES):
                self._frame(START_NS + index * PERIOD_MS * MS, (0, 1, 2, 2, 1, 0)[index % 6])
            self.plays += 1

    def _frame(self, stamp_ns, plane):
        for before_ms in range(-20, EXPOSURE_MS + DELAY_MS, 4):
            self._tell(stamp_ns + before_ms * MS, plane if before_ms > -8 else None)
        time.sleep(0.02)  # so that the node has received the clock
        header = Header(stamp=time_message(stamp_ns), frame_id="optical")
        info = CameraInfo(header=header, width=CAMERA.width, height=CAMERA.height, k=CAMERA.K.ravel().tolist())
        image = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
        image.data.frombytes(self._planes[plane].tobytes())
        self._info.publish(info)
        self._image.publish(image)
        time.sleep(0.02)

    def _tell(self, now_ns, plane):
        self._clock.publish(Clock(clock=time_message(now_ns)))
        if plane is not None:
            state = LensState(reachable=True, measured=True, focus_distance=PLAN.focus_distances[plane])
            state.header.stamp = time_message(now_ns)
            self._lens.publish(state)
        time.sleep(0.002)


def test_depth_of_a_bag_has_the_bags_time_and_continues_when_the_bag_restarts(listener, tmp_path):
    stack, truth = render_stack(5, CAMERA, PLAN.focus_distances, rng=2, views=32)
    listener.subscribe(SweepReport, "sweep", qos.REPORTS)
    listener.subscribe(Image, "depth/image")
    listener.subscribe(DiagnosticArray, "/diagnostics")
    bag = Bag(listener.node, [plane.image for plane in stack.planes])
    parameters = {
        "use_sim_time": True,
        "image_transport": "compressed",
        "sweep__mode": "external",
        "sweep__planes": 3,
        "sweep__exposure": EXPOSURE_MS / 1e3,
        "sweep__focus_tolerance": 2.0,
    }
    with process(
        "fossa_node",
        tmp_path / "node.log",
        remap={"image": "camera/image_raw", "camera_info": "camera/camera_info"},
        **parameters,
    ):
        active = State.PRIMARY_STATE_ACTIVE
        listener.wait_until(lambda: listener.state("fossa_node") == active, "active")
        bag.start()  # from its beginning, so that the first sweeps do not straddle its end
        try:
            reports = listener.heard["sweep"]
            listener.wait_until(lambda: sum(report.accepted for report in reports) >= 3, "depth")
            plays, seen = bag.plays, len(reports)
            listener.wait_until(lambda: bag.plays > plays + 1, "the bag restarts")
            listener.wait_until(lambda: any(report.accepted for report in reports[seen:]), "depth after that")
            listener.wait_until(lambda: len(listener.heard["/diagnostics"]) >= 2, "diagnostics")
        finally:
            bag.ended.set()
            bag.join()
    end_ns = START_NS + FRAMES * PERIOD_MS * MS
    for report in reports:
        assert START_NS - 1000 * MS <= nanoseconds(report.header.stamp) <= end_ns, report.reason
    depth = listener.heard["depth/image"][-1]
    assert START_NS <= nanoseconds(depth.header.stamp) <= end_ns
    metrics = depth_metrics(depth_from_message(depth), truth)
    assert metrics["abs_rel"] < 0.2 and metrics["coverage"] > 0.8, metrics
    for message in listener.heard["/diagnostics"]:
        for status in message.status:
            if "fossa_node" in status.name:
                assert nanoseconds(message.header.stamp) < end_ns
    ages = np.array([report.age_ms for report in reports if report.accepted])
    known = ages[np.isfinite(ages)]  # of all but those during which the bag began again
    assert known.size and (known >= 0).all() and (known < FRAMES * PERIOD_MS).all(), ages  # in the bag's time
