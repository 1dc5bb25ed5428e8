"""Work through images strip by strip: a strip stays in the processor's cache, and OpenCV's threads share them out."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2


def in_strips(height: int, rows: int, work: Callable[[slice], None]) -> None:
    """Call ``work`` with the rows of each strip of an image, on as many threads as OpenCV is set to use.

    ``work`` writes nothing outside its rows, and gains by threads as far as NumPy and OpenCV do the work.
    """
    strips = [slice(top, min(top + rows, height)) for top in range(0, height, rows)]
    threads = min(cv2.getNumThreads(), os.cpu_count() or 1, len(strips))
    if threads < 2:
        for strip in strips:
            work(strip)
        return
    shares = [strips[len(strips) * i // threads : len(strips) * (i + 1) // threads] for i in range(threads)]

    def do(share: list[slice]) -> None:
        for strip in share:
            work(strip)

    others = [_threads().submit(do, share) for share in shares[1:]]
    try:
        do(shares[0])
    finally:
        for other in others:
            other.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(cv2.getNumThreads(), 2) - 1, thread_name_prefix="strips")
