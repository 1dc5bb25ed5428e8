"""Focus sweeps: plan them, assign frames to their planes, and drive a lens through them."""

from fossa_ros.sweep.assembler import StepAssembler
from fossa_ros.sweep.capture import SweepCapture
from fossa_ros.sweep.captured import CapturedSweep
from fossa_ros.sweep.clock_watch import ClockUse
from fossa_ros.sweep.config import SweepConfig, SweepMode, SweepOutput, TriggerOrder
from fossa_ros.sweep.counted import check_triggers
from fossa_ros.sweep.decoder import DecodePlane, SweepDecoder
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.gyro import GyroBuffer, GyroSamples
from fossa_ros.sweep.plan import SweepPlan
from fossa_ros.sweep.sequencer import Sequencer
from fossa_ros.sweep.timing import StampReference, SweepTiming

__all__ = [
    "CapturedSweep",
    "ClockUse",
    "DecodePlane",
    "Drop",
    "Frame",
    "GyroBuffer",
    "GyroSamples",
    "Sequencer",
    "StampReference",
    "StepAssembler",
    "SweepCapture",
    "SweepConfig",
    "SweepDecoder",
    "SweepMode",
    "SweepOutput",
    "SweepPlan",
    "SweepTiming",
    "TriggerOrder",
    "check_triggers",
]
