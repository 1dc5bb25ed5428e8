"""Does a focus stack show one view: the motion check of sweeps, and the alignment of hand-held stacks."""

from fossa_ros.motion.check import MotionCheck, MotionConfig, MotionResult

__all__ = ["MotionCheck", "MotionConfig", "MotionResult"]
