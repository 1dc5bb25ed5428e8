"""Does a focus stack show one view: the motion check of sweeps, and the alignment of hand-held stacks."""

from fossa_ros.motion.alignment import AlignmentReport, align_stack
from fossa_ros.motion.check import MotionCheck, MotionResult
from fossa_ros.motion.config import MotionConfig
from fossa_ros.motion.debug_picture import debug_picture

__all__ = ["AlignmentReport", "MotionCheck", "MotionConfig", "MotionResult", "align_stack", "debug_picture"]
