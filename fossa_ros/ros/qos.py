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
# A subscriber that joins late receives the last message, and no earlier ones, which it might take for news. A writer
# of depth 1 loses nothing of a burst that a reader of depth 100 keeps up with: measured on one machine, load 17.
LATCHED = _profile(1, latched=True)
# No report may be lost, also while a recorder is busy writing. Subscribers of lens states, too, date frames by all.
REPORTS = _profile(100)

PROFILES = {
    Profile.FRAMES: FRAMES,
    Profile.SENSOR: SENSOR,
    Profile.RESULTS: RESULTS,
    Profile.REPORTS: REPORTS,
    Profile.STACKS: STACKS,
    Profile.LATCHED: LATCHED,
}
