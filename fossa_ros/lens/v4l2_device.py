"""The controls of a V4L2 device; every system call has a timeout."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fossa_ros.core.errors import LensError
from fossa_ros.lens import v4l2_protocol as v4l2
from fossa_ros.lens.lock_holder import lock_holder

Ioctl = Callable[[int, int, bytes], bytes]  # descriptor, request, structure -> structure; raises OSError
VIDEO_CLASS = Path("/sys/class/video4linux")
AGAIN_S = 0.02  # from a refusal to the next attempt


class RefusedError(LensError):
    """The driver does not allow a control to be set now."""


def video_devices() -> dict[str, str]:
    """Return the names of this machine's video devices by path."""
    found = {}
    for folder in sorted(VIDEO_CLASS.glob("video*"), key=lambda entry: (len(entry.name), entry.name)):
        try:
            found[f"/dev/{folder.name}"] = (folder / "name").read_text().strip()
        except OSError:  # unplugged meanwhile
            continue
    return found


class V4l2Device:
    """Read and write controls; not thread-safe.

    A control transfer to a device that hangs blocks its caller in the kernel for seconds and cannot be interrupted.
    Each call is therefore made in its own thread, and waited for no longer than the timeout.
    """

    def __init__(self, path: str, timeout: float, ioctl: Ioctl = fcntl.ioctl):
        """Open ``path`` for one lens driver at a time; other programs may stream from it meanwhile.

        Raises:
            LensError: the device is absent, not permitted, or in use by another lens driver.
        """
        self.path = path
        self._timeout = timeout
        self._ioctl = ioctl
        self._stuck: threading.Thread | None = None
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise LensError(self._why_not(error)) from error

    @property
    def is_open(self) -> bool:
        """Whether the device is held."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Free the device."""
        if self.is_open:
            os.close(self._descriptor)
            self._descriptor = -1

    def name(self) -> str:
        """Return the names of the device and its driver.

        Raises:
            LensError: this is not a video device.
        """
        try:
            driver, card, bus, *_ = v4l2.CAPABILITY.unpack(self._call(v4l2.QUERYCAP, bytes(v4l2.CAPABILITY.size)))
        except OSError as error:
            raise LensError(
                f"{self.path!r} is not a video device ({error}); set port to one of: {_present()}."
            ) from error
        return f"{v4l2.text(card)} ({v4l2.text(driver)}, {v4l2.text(bus)})"

    def query(self, control: int) -> v4l2.ControlRange | None:
        """Return the range of a control; None if the device does not have it or has disabled it."""
        try:
            answer = self._call(v4l2.QUERYCTRL, v4l2.QUERY.pack(control, 0, b"", 0, 0, 0, 0, 0))
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise self._lost(error) from error
        found = v4l2.ControlRange.decode(answer)
        return None if found.flags & v4l2.DISABLED else found

    def get(self, control: int) -> int:
        """Return the value of a control, which is its set-point; raises LensError."""
        try:
            _, value = v4l2.CONTROL.unpack(self._call(v4l2.G_CTRL, v4l2.CONTROL.pack(control, 0)))
            return int(value)
        except OSError as error:
            raise self._lost(error) from error

    def set(self, control: int, value: int, patience: float = 0.0) -> None:
        """Set a control; drivers clamp a value to their range.

        Args:
            control: its id.
            value: to set.
            patience: seconds for which a refusal is no answer, and the control is set again.

        Raises:
            RefusedError: the driver refuses.
            LensError: the device is gone.
        """
        until = time.monotonic() + patience
        while True:
            try:
                self._call(v4l2.S_CTRL, v4l2.CONTROL.pack(control, value))
                return
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EBUSY):
                    raise self._lost(error) from error
                if time.monotonic() >= until:
                    raise RefusedError(
                        f"The camera at {self.path!r} refuses to move its focus ({os.strerror(error.errno)}); "
                        "switch automatic focus off and end other programs that control it."
                    ) from error
            time.sleep(AGAIN_S)

    def _call(self, request: int, data: bytes) -> bytes:
        if self._stuck is not None and self._stuck.is_alive():
            raise LensError(f"The camera at {self.path!r} still has not answered; unplug it and plug it in again.")
        outcome: list[bytes | OSError] = []
        descriptor = self._descriptor

        def call() -> None:
            try:
                outcome.append(self._ioctl(descriptor, request, data))
            except OSError as error:
                outcome.append(error)

        thread = threading.Thread(target=call, name=f"ioctl on {self.path}", daemon=True)
        thread.start()
        thread.join(self._timeout)
        if not outcome:
            self._stuck = thread
            raise LensError(f"The camera at {self.path!r} did not answer within {self._timeout:g} s; check its cable.")
        (answer,) = outcome
        if isinstance(answer, OSError):
            raise answer
        return answer

    def _lost(self, error: OSError) -> LensError:
        return LensError(f"The camera at {self.path!r} failed ({error}); check its cable and open the lens again.")

    def _why_not(self, error: OSError) -> str:
        match error.errno:
            case errno.EACCES | errno.EPERM:
                return f"{self.path!r} may not be opened by this user; add the user to its group (video)."
            case errno.EAGAIN:  # the lock
                held = f"is driven by another program ({lock_holder(self.path)})"
                return f"The focus of {self.path!r} {held}; close it or set another port."
            case errno.ENOENT | errno.ENXIO | errno.ENODEV:
                return f"{self.path!r} does not exist; plug the camera in or set port to one of: {_present()}."
        return f"{self.path!r} cannot be opened ({error}); set port to one of: {_present()}."


def _present() -> str:
    return ", ".join(f"{path} ({name})" for path, name in video_devices().items()) or "none found"
