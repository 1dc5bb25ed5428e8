"""Focus sweeps: where to focus, which frame belongs to which plane, and why not."""

from fossa_ros.sweep.assembler import Drop, Frame, StepAssembler
from fossa_ros.sweep.capture import CapturedSweep, SweepCapture
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.timing import StampReference, SweepTiming

__all__ = [
    "CapturedSweep",
    "Drop",
    "Frame",
    "StampReference",
    "StepAssembler",
    "SweepCapture",
    "SweepPlan",
    "SweepTiming",
]
