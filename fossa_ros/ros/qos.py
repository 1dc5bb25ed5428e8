"""Quality of service, one profile a kind of topic."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


# Frames of a sweep cannot be taken again, and large best-effort images are mostly lost on default transports.
FRAMES = _profile(10)
# For cameras that offer no more than the sensor-data profile.
FRAMES_BEST_EFFORT = _profile(10, reliable=False)
# Best-effort publishers look dead to reliable subscribers such as RViz, so results are offered reliably.
RESULTS = _profile(5)
# Focus stacks are large, and only new ones are of use.
STACKS = _profile(2)
# Of sensors whose single samples do not matter.
SENSOR = _profile(200, reliable=False)
# The last value matters to whoever joins late: the rig's true depth.
LATCHED = _profile(1, latched=True)
# So does where the lens is; and whoever gives frames their focus by it needs every one of a burst around a command.
LENS_STATES = _profile(100, latched=True)
# Every report counts, also while a recorder is busy writing.
REPORTS = _profile(100)
