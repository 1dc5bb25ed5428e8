"""A simulated camera and lens as a ROS node: images on topics, the lens behind a real serial protocol."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.service import Service
from sensor_msgs.msg import CameraInfo, TimeReference
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import metres
from fossa_ros.core.parameter import parameter, within
from fossa_ros.messages import exposure_times, topics
from fossa_ros.msg import LensState
from fossa_ros.parameters.node_config import NodeConfig
from fossa_ros.ros.conversions import depth_image, time_message
from fossa_ros.ros.endpoints import create_lifecycle_publisher, create_publisher
from fossa_ros.ros.fault_injection import faulty_messages
from fossa_ros.ros.lifecycle import ManagedNode, run
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.motion_path import Pose
from fossa_ros.simulation.rig import RigConfig, RigFrame, SimulatedRig
from fossa_ros.simulation.rig_faults import RigFault
from fossa_ros.sweep import TriggerOrder

RENDERING = "rendered"  # key in /diagnostics: share of the scene, 0..1
COUNTER = "FrameNumber"  # key in the metadata
PARKING_S = 3.0  # for a node that ends on the same Ctrl-C to park its lens; launch sends SIGTERM after 5 s
MOVED = 0.06  # dioptres within one exposure: the largest ringing of a lens that counts as settled
STILL = 1.5e-4  # rad and m from one frame to the next: a tenth of a pixel of the default camera


@dataclass(frozen=True)
class SimRigNodeConfig(NodeConfig):
    """Parameters of ``sim_rig_node``."""

    rig: RigConfig = field(default_factory=RigConfig, metadata=within(""))
    frame_id: str = parameter("camera_optical_frame", "Optical frame of the camera")
    link: str | None = parameter(
        None, "Path of a symbolic link to the pseudo-terminal of the lens; empty for none", name="lens.link"
    )
    fault: RigFault = parameter(
        RigFault.NONE, "Fault of camera or lens to simulate; docs/reliability.md explains them", live=True
    )


class SimRigNode(ManagedNode):
    """Publish the images of a thin-lens camera whose lens another program drives.

    ``metadata`` holds the exposure time of each frame, ``truth/lens`` the position of the lens during each frame: NaN
    where it moved by more than MOVED. ``truth/depth`` is latched. It is published when the camera comes to rest and
    when it starts to move; while it moves, all of it is NaN, as rendering the depth of every frame would take longer
    than rendering the frames. With distortion, images are raw and the depth is that of their rectified view.
    """

    NODE_NAME = "sim_rig_node"

    def __init__(self, **kwargs: Any):
        super().__init__(self.NODE_NAME, SimRigNodeConfig, **kwargs)
        self._rig: SimulatedRig | None = None
        self._rig_services: list[Service] = []
        self._last_pose: Pose | None = None
        self._at_rest = False
        self._fault = RigFault.NONE
        self._frames = 0
        self._diagnostics = create_publisher(self, topics.DIAGNOSTICS)

    def prepare(self, config: SimRigNodeConfig) -> None:
        self.get_logger().info("Rendering the scene at every focus")
        self._rig = SimulatedRig(
            config.rig,
            self._on_frame,
            clock=self.now_ns,
            link=config.link,
            on_trigger=self._on_trigger,
            progress=self._publish_progress,
        )

    def configure(self, config: SimRigNodeConfig) -> None:
        self._frame_id = config.frame_id
        self._info = _camera_info(config.rig.camera)
        self._images = create_lifecycle_publisher(self, topics.IMAGE)
        self._infos = create_lifecycle_publisher(self, topics.CAMERA_INFO)
        self._metadata = create_lifecycle_publisher(self, topics.METADATA)
        self._exposure_us = round(config.rig.exposure * 1e6)
        self._truth = create_lifecycle_publisher(self, topics.TRUE_DEPTH)
        self._lens_truth = create_lifecycle_publisher(self, topics.TRUE_LENS)
        self._triggers = create_lifecycle_publisher(self, topics.LENS_TRIGGER)
        self._published = self._images, self._infos, self._metadata, self._truth, self._lens_truth, self._triggers
        self._rig_services = [
            self.create_service(Trigger, "bump", self._on_bump),
            self.create_service(SetBool, "plug_lens", self._on_plug_lens),
        ]
        self.get_logger().info(f"Lens driver at {self._rig.port}")

    def activate(self) -> None:
        self._last_pose = None
        self._rig.start()

    def deactivate(self) -> None:
        if self._rig is not None:
            self._rig.stop()

    def close_devices(self) -> None:
        if self._rig is not None:
            if self.ended.is_set() and not self._rig.await_rest(PARKING_S):
                self.get_logger().warning("The lens is closed although no program has parked it")
            self._rig.close()
            self._rig = None

    def cleanup(self) -> None:
        self.close_devices()
        for service in self._rig_services:
            self.destroy_service(service)
        for publisher in self._published if self._rig_services else ():
            self.destroy_lifecycle_publisher(publisher)
        self._rig_services = []

    def _on_frame(self, frame: RigFrame) -> None:
        fault = RigFault(self.get_parameter("fault").value)
        if fault is not self._fault:
            self._fault = fault
            self._rig.set_fault(fault)
        self._frames += 1
        self._publish_truth(frame, Header(stamp=time_message(frame.stamp_ns), frame_id=self._frame_id))
        image, info = faulty_messages(frame, self._frames, self._info, self._frame_id, fault)
        if info is not None:
            self._infos.publish(info)
        if image is not None:
            self._publish_lens_truth(frame, image.header)
            self._images.publish(image)
            self._publish_metadata(image.header)

    def _on_trigger(self, stamp_ns: int) -> None:
        header = Header(stamp=time_message(stamp_ns), frame_id=self._frame_id)
        self._triggers.publish(TimeReference(header=header, source=TriggerOrder.NEAR_TO_FAR))

    def _publish_lens_truth(self, frame: RigFrame, header: Header) -> None:
        if self._lens_truth.get_subscription_count():
            least, greatest = frame.powers
            power = (least + greatest) / 2 if greatest - least <= MOVED else float("nan")
            state = LensState(header=header, reachable=True, measured=True, power=power)
            state.focus_distance = float(metres(power))
            self._lens_truth.publish(state)

    def _publish_metadata(self, header: Header) -> None:
        """Publish the exposure time of a frame as camera_ros does, and its number."""
        if self._metadata.get_subscription_count():
            pairs = [
                KeyValue(key=exposure_times.KEY, value=str(self._exposure_us)),
                KeyValue(key=COUNTER, value=str(self._frames)),
            ]
            status = DiagnosticStatus(level=DiagnosticStatus.OK, name=self.get_fully_qualified_name(), values=pairs)
            self._metadata.publish(DiagnosticArray(header=header, status=[status]))

    def _publish_truth(self, frame: RigFrame, header: Header) -> None:
        at_rest = self._last_pose is None or frame.pose.is_close(self._last_pose, STILL)
        if self._last_pose is None or at_rest != self._at_rest:
            depth = self._rig.depth(frame.pose) if at_rest else np.full(frame.image.shape[:2], np.nan, np.float32)
            self._truth.publish(depth_image(depth, "32FC1", header))
        self._last_pose, self._at_rest = frame.pose, at_rest

    def _on_bump(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._rig.bump()
        response.success, response.message = True, "The camera was knocked."
        return response

    def _on_plug_lens(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            (self._rig.plug_lens if request.data else self._rig.unplug_lens)()
        except InputError as error:
            response.message = str(error)
            return response
        response.success, response.message = (
            True,
            "The lens is plugged in." if request.data else "The lens is unplugged.",
        )
        return response

    def _publish_progress(self, share: float) -> None:
        self.check_ended()
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name=self.get_fully_qualified_name(),
            message=f"rendering the scene: {share:.0%}",
            values=[KeyValue(key=RENDERING, value=f"{share:.3f}")],
        )
        header = Header(stamp=self.get_clock().now().to_msg())
        self._diagnostics.publish(DiagnosticArray(header=header, status=[status]))


def _camera_info(camera: SimulatedCamera) -> CameraInfo:
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model=camera.distortion_model)
    info.d = list(camera.distortion) or [0.0] * 5
    info.k = camera.K.ravel().tolist()
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [value for row in camera.K for value in (*row, 0.0)]
    return info


main = partial(run, SimRigNode, opencv_threads=None)  # rendering uses every processor

if __name__ == "__main__":
    sys.exit(main())
