"""The focus motor of a USB camera, or of any other V4L2 camera."""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import v4l2_protocol as v4l2
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.lens import CommandRange, SettlingModel
from fossa_ros.lens.v4l2_device import Ioctl, RefusedError, V4l2Device

AUTOMATIC = "automatic focus is on"
RELEASE_S = 0.5  # cameras refuse to be focused for some 100 ms after automatic focus was switched off
# What automatic focus was before a lens that refused to move, by device. It stays off until a lens that moves is
# closed: switching it with every attempt would keep the camera refusing.
_BEFORE_REFUSAL: dict[str, int] = {}


class V4l2Lens(CommandLens):
    """Drive the control focus_absolute, in steps without a unit; larger is closer. It needs a calibration.

    Automatic focus is switched off while the lens is open, and restored when it is closed, unless the camera refused to
    move: then it stays off for the next attempt.
    """

    backend = "v4l2"

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        settling: float = 0.3,
        settling_per_step: float = 0.0,
        timeout: float = 1.0,
        ioctl: Ioctl = fcntl.ioctl,
    ):
        """Open the video device and switch automatic focus off; the lens keeps its position.

        Args:
            port: device path; those in ``/dev/v4l/by-id`` stay the same when it is plugged in again.
            clock: returns nanoseconds on the clock that stamps the images.
            settling: seconds from the acknowledged command until the lens stands still; the driver acknowledges at
                once and does not report when.
            settling_per_step: additional seconds for each step of a move.
            timeout: seconds that any one control may take.
            ioctl: makes the system calls.

        Raises:
            InputError: an option that cannot be used.
            LensError: no such device, or its focus cannot be set.
        """
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        super().__init__(clock)
        settles = SettlingModel(settling, settling_per_step)
        self._refused = False
        self._automatic: int | None = None  # value to restore; None if the camera has no automatic focus
        self._device = V4l2Device(port, timeout, ioctl)
        try:
            name = self._device.name()
            self._range = self._focus_range()
            if self._device.query(v4l2.FOCUS_AUTO) is not None:
                automatic = self._device.get(v4l2.FOCUS_AUTO)
                self._automatic = _BEFORE_REFUSAL.pop(port, automatic)
                if automatic:
                    self._device.set(v4l2.FOCUS_AUTO, 0)
            self._set_capabilities(f"{name} at {port}", self._range, settles)
        except BaseException:
            self._device.close()
            raise

    def _command(self, value: float) -> float:
        span = self._range
        steps = round(span.least + round((value - span.least) / span.step) * span.step)
        steps = min(steps, round(span.greatest))  # the greatest need not be a whole number of steps
        if self._automatic is not None and self._device.get(v4l2.FOCUS_AUTO):
            raise LensError(f"The camera at {self._device.path!r}: {AUTOMATIC}; switch it off.")
        try:
            self._device.set(v4l2.FOCUS_ABSOLUTE, steps, RELEASE_S)
        except RefusedError:
            self._refused = True
            raise
        self._refused = False
        held = self._device.get(v4l2.FOCUS_ABSOLUTE)
        if held != steps:
            raise LensError(
                f"The camera at {self._device.path!r} was set to focus_absolute {steps} but holds {held}; "
                "check that nothing else drives it."
            )
        return float(steps)

    def _read(self) -> LensReading:
        if self._automatic is not None and self._device.get(v4l2.FOCUS_AUTO):
            return LensReading(math.nan, faults=(AUTOMATIC,))
        return LensReading(float(self._device.get(v4l2.FOCUS_ABSOLUTE)))

    def _rest(self) -> None:
        """Go to the far end, where a voice coil draws the least current."""
        self._device.set(v4l2.FOCUS_ABSOLUTE, round(self._range.least), 0.0 if self._refused else RELEASE_S)

    def _free(self) -> None:
        try:
            if self._automatic and self._refused:
                _BEFORE_REFUSAL[self._device.path] = self._automatic
            elif self._automatic:
                self._device.set(v4l2.FOCUS_AUTO, self._automatic)
        except LensError:
            pass  # it is gone: there is nothing to restore
        finally:
            self._device.close()

    @property
    def _is_open(self) -> bool:
        return self._device.is_open

    def _focus_range(self) -> CommandRange:
        found = self._device.query(v4l2.FOCUS_ABSOLUTE)
        if found is None or found.flags & v4l2.READ_ONLY:
            raise LensError(
                f"The camera at {self._device.path!r} has no focus that can be set (no control focus_absolute); "
                "choose another video device of the camera, or another camera."
            )
        if found.greatest <= found.least:
            raise LensError(
                f"The camera at {self._device.path!r} reports no range of focus ({found.least} to {found.greatest}); "
                "update its firmware or the kernel."
            )
        return CommandRange("focus_absolute", "steps", found.least, found.greatest, max(found.step, 1))
