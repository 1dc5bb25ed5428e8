"""One sweep as a state machine without clock, thread or lens: the next action, given what has happened so far.

``actions`` has what a sweep asks its driver to do, ``machine`` the base class, and one module each mode of moving the
lens: ``step``, ``ramp``, ``external`` and ``counted``.
"""

from fossa_ros.sweep.machines.actions import Action, Ended, MoveLens, ReadLens, VerifyLens, Wait
from fossa_ros.sweep.machines.counted import CountedSweep
from fossa_ros.sweep.machines.external import ExternalSweep
from fossa_ros.sweep.machines.machine import SweepMachine
from fossa_ros.sweep.machines.ramp import RampSweep
from fossa_ros.sweep.machines.step import StepSweep

__all__ = [
    "Action",
    "CountedSweep",
    "Ended",
    "ExternalSweep",
    "MoveLens",
    "RampSweep",
    "ReadLens",
    "StepSweep",
    "SweepMachine",
    "VerifyLens",
    "Wait",
]
