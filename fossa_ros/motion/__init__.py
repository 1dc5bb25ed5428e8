"""Motion within a focus stack: the motion check of sweeps, and the alignment of hand-held stacks."""

from fossa_ros.motion.alignment import AlignmentReport, align_stack
from fossa_ros.motion.check import MotionCheck
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.debug_picture import debug_picture
from fossa_ros.motion.verdict import MotionResult

__all__ = ["AlignmentReport", "MotionCheck", "MotionConfig", "MotionResult", "align_stack", "debug_picture"]
