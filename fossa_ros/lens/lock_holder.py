"""Find which process holds the lock on a device."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def lock_holder(path: str) -> str:
    """Describe the process that holds the lock (flock) on a file, as far as /proc shows it.

    Source: proc_locks(5): number, kind, mode, access, process, major:minor:inode (hexadecimal but for the inode).
    """
    with contextlib.suppress(OSError):
        status = os.stat(path)
        file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == file:
                process = fields[4]
                with contextlib.suppress(OSError):
                    return f"process {process}, {Path(f'/proc/{process}/comm').read_text().strip()}"
    return "an unknown process"
