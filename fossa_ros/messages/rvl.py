"""RVL, a lossless code for 16-bit depth, as compressed_depth_image_transport writes and reads it.

Andrew D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017. Pixels row by row are a sequence of runs: the
number of zeros, the number of pixels that follow and are not zero, and of each of these the difference to the one
before it, past zeros too. A difference d is written as 2 d, or -2 d - 1 where it is negative. Each number takes groups
of 3 bits, the least significant first, in nibbles whose fourth bit says that more follow; the first of eight nibbles is
the most significant one of a 32-bit word, and words are little-endian.
"""

from __future__ import annotations

import numpy as np

GROUP = 3  # bits of a number in a nibble
MORE = np.uint8(8)  # set in a nibble that is not a number's last
NIBBLES = 8  # in a word
SIZE = np.dtype("<u4")  # width and height, which the plugin writes before the words


def encode_rvl(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) uint16 ``pixels`` as the plugin's RVL: width, height and words, as uint8."""
    numbers = _numbers(pixels.ravel())
    lengths = np.ones(len(numbers), np.uint8)
    for bits in range(GROUP, 33, GROUP):
        longer = numbers >= 1 << bits
        if not longer.any():
            break
        lengths += longer
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    nibbles = np.zeros(-(-total // NIBBLES) * NIBBLES, np.uint8)
    at = ends - lengths  # of each number's next nibble
    while len(numbers):
        nibbles[at] = (numbers & 7).astype(np.uint8) | np.where(lengths > 1, MORE, np.uint8(0))
        going_on = np.flatnonzero(lengths > 1)
        numbers, at, lengths = numbers[going_on] >> GROUP, at[going_on] + 1, lengths[going_on] - 1
    words = (nibbles[0::2] << np.uint8(4) | nibbles[1::2]).reshape(-1, 4)[:, ::-1]
    height, width = pixels.shape
    return np.concatenate([np.array([width, height], SIZE).view(np.uint8), words.ravel()])


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """Return the numbers that describe (N,) uint16 ``pixels``, as int32."""
    known = pixels != 0
    edges = np.flatnonzero(np.diff(known)) + 1
    # Bounds of the runs: zeros first, which may be none, and known pixels last, which may be none either.
    bounds = np.concatenate([[0] if len(pixels) == 0 or not known[0] else [0, 0], edges, [len(pixels)]])
    if len(bounds) % 2 == 0:
        bounds = np.append(bounds, len(pixels))
    counts = np.diff(bounds).reshape(-1, 2)  # of zeros and of known pixels
    values = pixels[known].astype(np.int32)
    differences = np.diff(values, prepend=np.int32(0))
    numbers = np.empty(len(values) + counts.size, np.int32)
    before = np.cumsum(counts[:, 1]) - counts[:, 1]  # known pixels before each run
    heads = before + 2 * np.arange(len(counts))
    numbers[heads], numbers[heads + 1] = counts[:, 0], counts[:, 1]
    others = np.ones(len(numbers), bool)
    others[heads] = others[heads + 1] = False
    numbers[others] = (differences << 1) ^ (differences >> 31)
    return numbers
