"""The focus motor of a libcamera camera that camera_ros drives, for example a Raspberry Pi Camera Module 3."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.fixed_optics import FixedOptics
from fossa_ros.lens.lens import CommandRange, SettlingModel
from fossa_ros.ros.camera_parameters import CameraParameters

LOG = logging.getLogger(__name__)
MANUAL = 0  # AfMode
STEP = 0.01  # dioptres; the motor's own step is a few hundredths, and not reported
CONFIRMATIONS = 2  # frames in a row: a control has been seen to apply to one frame and then revert


class CameraRosLens(CommandLens):
    """Drive the parameter LensPosition (dioptres, 0 is infinity) of a camera_ros node, of version 0.7.0 or newer.

    AfMode and LensPosition are set in one step, because a second change before the next frame discards the first. They
    are set repeatedly while a position is held (camera_ros issue 174). A move is acknowledged when the metadata of two
    frames in a row report the position. If a frame reports another position while one is held, ``verify`` and the next
    move fail. The dioptres are the camera's own and inaccurate: calibrate the lens. Automatic focus stays off when the
    lens is closed.
    """

    backend = "camera_ros"
    tolerance = 0.02  # dioptres

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        settling: float = 0.03,
        hold_period: float = 0.1,
        timeout: float = 2.0,
    ):
        """Find the camera node and read its range; the lens does not move until the first command.

        Args:
            port: name of the node, for example ``/camera``.
            clock: returns nanoseconds of the clock that stamps images.
            settling: seconds from the confirmed position until the lens stands still.
            hold_period: seconds after which a held position is set again.
            timeout: seconds after which a move counts as not confirmed, or a call as not answered.

        Raises:
            InputError: an option cannot be used.
            LensError: there is no such node, or its camera has no focus motor.
        """
        for name, value in (("timeout", timeout), ("hold_period", hold_period)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} must be a positive number of seconds, not {value}.")
        super().__init__(clock, FixedOptics())
        settles = SettlingModel(settling)
        self._timeout = timeout
        self._reported = threading.Condition()
        self._reports = 0
        self._position = math.nan  # of the last frame
        self._target: float | None = None  # the position that is held
        self._agreeing = 0  # frames in a row that reported the target
        self._holds: deque[_Hold] = deque(maxlen=2)
        self._strayed: float | None = None  # another position that a frame reported during a hold
        self._camera = CameraParameters(port, timeout, self._on_metadata)
        try:
            self._set_capabilities(f"camera_ros node {self._camera.camera}", self._position_range(), settles)
            self._camera.every(hold_period, self._hold)
        except BaseException:
            self._camera.close()
            raise
        LOG.warning("The dioptres of %s are nominal; calibrate the lens for metric depth", self._camera.camera)

    def _command(self, value: float) -> float:
        with self._reported:
            if self._holds and self._holds[-1].until_ns is None:
                self._holds[-1].until_ns = self._clock()
            strayed, self._strayed = self._strayed, None
            if strayed is not None:
                self._target = None
                raise LensError(
                    f"The camera {self._camera.camera!r} moved to {strayed:g} D without a command; "
                    "check that nothing else sets its AfMode or LensPosition."
                )
            self._target, self._agreeing, self._position = value, 0, math.nan
        try:
            self._camera.set(AfMode=MANUAL, LensPosition=value)
            with self._reported:
                if not self._reported.wait_for(lambda: self._agreeing >= CONFIRMATIONS, self._timeout):
                    raise LensError(self._unconfirmed(value, self._position))
                if ambiguity := self._camera.ambiguity():  # the position may be that of another camera
                    raise LensError(ambiguity)
                self._holds.append(_Hold(value, self._clock()))
        except LensError:
            with self._reported:
                self._target = None
            raise
        return value

    def _unconfirmed(self, value: float, seen: float) -> str:
        if ambiguity := self._camera.ambiguity():
            return ambiguity
        if math.isnan(seen):
            return (
                f"The camera {self._camera.camera!r} reported no LensPosition in /diagnostics within "
                f"{self._timeout:g} s; check that it runs, and that camera_ros is 0.7.0 or newer."
            )
        return (
            f"The camera {self._camera.camera!r} was commanded to LensPosition {value:g} D but reports {seen:g} D; "
            "check that nothing else sets its AfMode or LensPosition."
        )

    def _read(self) -> LensReading:
        """Wait for the next report: the metadata of a frame arrives after the frame."""
        with self._reported:
            seen = self._reports
            if not self._reported.wait_for(lambda: self._reports > seen, self._timeout):
                raise LensError(self._unconfirmed(math.nan, math.nan))
            return LensReading(self._position if self._strayed is None else self._strayed)

    def _rest(self) -> None:
        """Move to infinity, where a voice coil draws the least current, and stop holding."""
        with self._reported:
            self._target = self._strayed = None
            self._holds.clear()
        self._camera.set(AfMode=MANUAL, LensPosition=self.capabilities.command.least)

    def _free(self) -> None:
        self._camera.close()

    @property
    def _is_open(self) -> bool:
        return self._camera.is_open

    def _position_range(self) -> CommandRange:
        descriptor = self._camera.descriptor("LensPosition")
        if descriptor is None or not descriptor.floating_point_range:
            raise LensError(
                f"The node {self._camera.camera!r} has no parameter LensPosition with a range; set port to a "
                "camera_ros node whose camera has a focus motor."
            )
        span = descriptor.floating_point_range[0]
        if not 0 <= span.from_value < span.to_value < math.inf:
            raise LensError(
                f"The camera {self._camera.camera!r} has an empty range of LensPosition "
                f"({span.from_value:g} to {span.to_value:g} D); update libcamera."
            )
        return CommandRange("LensPosition", "D", span.from_value, span.to_value, STEP)

    def _on_metadata(self, stamp_ns: int, values: dict[str, str]) -> None:
        """Compare the position of the frame exposed at ``stamp_ns``, on the camera's thread."""
        try:
            position = float(values["LensPosition"])
        except ValueError:
            return
        with self._reported:
            self._reports += 1
            self._position = position
            agrees = self._target is not None and abs(position - self._target) <= self.tolerance
            self._agreeing = self._agreeing + 1 if agrees else 0
            for hold in self._holds:
                if hold.covers(stamp_ns) and not abs(position - hold.position) <= self.tolerance:
                    self._strayed = position
            self._reported.notify_all()

    def _hold(self) -> None:
        """Set the target again, on the camera's thread."""
        with self._reported:  # so that no earlier target is sent after a newer one
            if self._target is not None:
                self._camera.send(AfMode=MANUAL, LensPosition=self._target)


@dataclass
class _Hold:
    """A position from its confirmation until the next command."""

    position: float
    since_ns: int
    until_ns: int | None = None

    def covers(self, stamp_ns: int) -> bool:
        return self.since_ns <= stamp_ns and (self.until_ns is None or stamp_ns < self.until_ns)
