"""Keep freed memory in the process: images come and go by the megabyte, and fresh pages are what that costs."""

from __future__ import annotations

import ctypes

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2  # malloc.h of glibc
LARGEST = 2**25  # bytes; glibc takes no larger threshold
KEPT = 2**31 - 1
GROWTH = 2**26


def keep_freed_memory() -> bool:
    """Let glibc's malloc give nothing back to the kernel; return False where there is another C library.

    For programs that work on one image after another: their peak is what they keep.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    pairs = ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, KEPT), (TOP_PAD, GROWTH))
    return all([mallopt(name, value) == 1 for name, value in pairs])
