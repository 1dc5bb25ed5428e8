"""Camera controls of a camera_ros node: its parameters, and its metadata from /diagnostics."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray

from fossa_ros.messages import topics
from fossa_ros.messages.fields import nanoseconds
from fossa_ros.ros.endpoints import create_subscription
from fossa_ros.ros.remote_parameters import RemoteParameters


class CameraParameters(RemoteParameters):
    """The parameters of a camera_ros node, and the metadata of its frames.

    Args:
        camera: name of the node, for example ``/camera``.
        timeout: of each call, seconds.
        on_metadata: receives the stamp (ns) and the key-value pairs of each frame's metadata, on this object's thread.

    Raises:
        LensError: there is no such node, or another program on this machine drives its lens already.
    """

    def __init__(self, camera: str, timeout: float, on_metadata: Callable[[int, dict[str, str]], None]):
        super().__init__(camera, timeout, "camera_ros")
        self._on_metadata = on_metadata
        self._hardware: set[str] = set()
        try:
            self._frame_id = self.get(["frame_id"])["frame_id"] or ""
            create_subscription(self._node, topics.DIAGNOSTICS, self._on_diagnostics)
        except BaseException:
            self.close()
            raise

    def ambiguity(self) -> str:
        """Return why the metadata may come from another camera; empty if it cannot."""
        if len(self._hardware) < 2:
            return ""
        return (
            f"Several cameras report under the frame {self._frame_id!r} ({', '.join(sorted(self._hardware))}); "
            "give each its own frame_id."
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # All nodes publish on this topic: the camera's metadata is recognised by its frame and its keys.
        if self._frame_id and message.header.frame_id != self._frame_id:
            return
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if "LensPosition" in values:
                self._hardware.add(status.hardware_id)
                self._on_metadata(nanoseconds(message.header.stamp), values)
