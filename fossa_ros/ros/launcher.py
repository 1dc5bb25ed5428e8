"""The launch that started this process: when it is gone, nobody is left to end the process."""

from __future__ import annotations

import os
from contextlib import suppress

VARIABLE = "FOSSA_ROS_LAUNCH_PID"  # set for the nodes by the launch files of this package


class Launcher:
    """Watch the launch that started this process, if one did."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._launch: int | None = None
        with suppress(KeyError, ValueError):
            self._launch = int(os.environ[VARIABLE])

    @property
    def is_gone(self) -> bool:
        """Whether the launch has ended without ending this process: it was killed, by SIGTERM for example."""
        if self._launch is None:
            return False
        if os.getppid() != self._parent:  # the launch, or a program such as gdb that it started
            return True
        try:
            os.kill(self._launch, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's
            return False
        return False


def variables() -> dict[str, str]:
    """Return the environment variables of a process that is to end with this one, which launches it."""
    return {VARIABLE: str(os.getpid())}
