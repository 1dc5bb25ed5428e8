"""Quality of service: the settings of each profile in ``fossa_ros.messages.topics``."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from fossa_ros.messages.topics import Profile


def _profile(depth: int, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


# Frames of a sweep cannot be taken again, and large best-effort images are mostly lost on default transports.
FRAMES = _profile(10)
# For cameras that publish with the sensor-data profile.
FRAMES_BEST_EFFORT = _profile(10, reliable=False)
# A reliable subscriber such as RViz receives nothing from a best-effort publisher, so results are reliable.
RESULTS = _profile(5)
# Focus stacks are large, and only new ones are of use.
STACKS = _profile(2)
# For sensors whose single samples do not matter; best effort, so that it matches every driver.
SENSOR = _profile(200, reliable=False)
# A subscriber that joins late receives the last message: the rig's true depth.
LATCHED = _profile(1, latched=True)
# Latched too, and deep enough for the burst of states around a command: subscribers date frames by every one of them.
LENS_STATES = _profile(100, latched=True)
# No report may be lost, also while a recorder is busy writing.
REPORTS = _profile(100)

PROFILES = {
    Profile.FRAMES: FRAMES,
    Profile.SENSOR: SENSOR,
    Profile.RESULTS: RESULTS,
    Profile.REPORTS: REPORTS,
    Profile.STACKS: STACKS,
    Profile.LENS_STATES: LENS_STATES,
    Profile.LATCHED: LATCHED,
}
