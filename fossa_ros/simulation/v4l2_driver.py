"""A replacement of the kernel's ioctl for a camera with a focus motor.

A V4L2 device cannot be created from user space. This is therefore not a device, but a function with the signature of
``fcntl.ioctl`` for structures given as bytes. It models the focus controls of the uvcvideo driver: request numbers,
structure sizes, control ids, errors, values clamped to their range, a set-point that is read back at once while the
lens still moves, EACCES while automatic focus is on. Numbers and sizes are tested against the kernel's headers. Whether
a real driver behaves in the same way is an assumption.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from fossa_ros.lens import v4l2_protocol as v4l2
from fossa_ros.simulation.lens_dynamics import LensDynamics

SIZES = {
    v4l2.QUERYCAP: v4l2.CAPABILITY.size,
    v4l2.QUERYCTRL: v4l2.QUERY.size,
    v4l2.G_CTRL: v4l2.CONTROL.size,
    v4l2.S_CTRL: v4l2.CONTROL.size,
}


class SimulatedV4l2Focus:
    """A camera with focus_absolute and optionally automatic focus; give its ``ioctl`` to the lens driver.

    Attributes:
        dynamics: the lens.
        automatic: whether automatic focus is on; None for a camera without it.
        gone: whether the camera is unplugged.
        switched: how often automatic focus was set.
    """

    def __init__(
        self,
        dynamics: LensDynamics,
        path: str | os.PathLike,
        clock: Callable[[], int] = time.time_ns,
        *,
        steps: tuple[int, int, int] = (0, 250, 5),
        automatic: bool | None = True,
        has_focus: bool = True,
        curve: Callable[[int], float] | None = None,
        release: float = 0.0,
    ):
        """Connect a camera.

        Args:
            dynamics: the lens.
            path: the file that represents the device; calls on another descriptor fail.
            clock: returns nanoseconds on the time base of ``dynamics``.
            steps: least, greatest and step of focus_absolute.
            automatic: whether automatic focus is on, None for a camera without.
            has_focus: whether there is a focus control.
            curve: returns the dioptres at a step, within the range of ``dynamics``; None for a straight line over that
                range, unlike a real lens.
            release: seconds after automatic focus goes off for which the focus still cannot be set.
        """
        self.dynamics = dynamics
        self.automatic = automatic
        self.gone = False
        self._path = path
        self._clock = clock
        self._least, self._greatest, self._step = steps
        self._has_focus = has_focus
        self._curve = curve or self._straight_line
        self._release_ns = round(release * 1e9)
        self._released_ns = 0
        self.switched = 0
        self._focus = self._least

    def ioctl(self, descriptor: int, request: int, data: bytes) -> bytes:
        """Answer one request; raises OSError as the kernel would."""
        if not os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if request not in SIZES:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if len(data) != SIZES[request]:  # the kernel would read and write past the end
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        if request == v4l2.QUERYCAP:
            return v4l2.CAPABILITY.pack(b"uvcvideo", b"Simulated Camera", b"usb-0000:00:14.0-1", 0x060C00, 0, 0)
        control = int.from_bytes(data[:4], "little")
        if control not in self._controls():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if request == v4l2.QUERYCTRL:
            return self._query(control)
        if request == v4l2.S_CTRL:
            self._set(control, v4l2.CONTROL.unpack(data)[1])
        value = self._focus if control == v4l2.FOCUS_ABSOLUTE else int(self.automatic)
        return v4l2.CONTROL.pack(control, value)

    def _controls(self) -> list[int]:
        automatic = [] if self.automatic is None else [v4l2.FOCUS_AUTO]
        return automatic + ([v4l2.FOCUS_ABSOLUTE] if self._has_focus else [])

    def _query(self, control: int) -> bytes:
        if control == v4l2.FOCUS_AUTO:
            return v4l2.QUERY.pack(control, 2, b"Focus, Automatic Continuous", 0, 1, 1, 1, 0)
        flags = v4l2.INACTIVE if self.automatic else 0
        return v4l2.QUERY.pack(
            control, 1, b"Focus, Absolute", self._least, self._greatest, self._step, self._least, flags
        )

    def _set(self, control: int, value: int) -> None:
        if control == v4l2.FOCUS_AUTO:
            if self.automatic and not value:
                self._released_ns = self._clock() + self._release_ns
            self.automatic = bool(value)
            self.switched += 1
            return
        if self.automatic or self._clock() < self._released_ns:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        value = self._least + round((value - self._least) / self._step) * self._step
        self._focus = min(max(value, self._least), self._greatest)
        self.dynamics.command(self._curve(self._focus), self._clock())

    def _straight_line(self, steps: int) -> float:
        model = self.dynamics.model
        share = (steps - self._least) / (self._greatest - self._least)
        return model.min_power + share * (model.max_power - model.min_power)
