"""What the frames of a sweep show of the board: corners, how sharp each is, and how the image breathes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fossa_ros.calibration.board.board import Board
from fossa_ros.calibration.board.detection import BoardFinder
from fossa_ros.calibration.breathing_measurement import evenly, register_frames
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.calibration.sharpness import local_sharpness
from fossa_ros.core.errors import InputError

_PATCH = 1.4  # of a square: side of the window around a corner whose sharpness counts
_SHARP = 0.6  # of the greatest sharpness of a corner: a frame in which its place is trusted
_MOST = 6  # frames that tell the place of one corner
_REGISTERED = 11  # frames of a sweep whose breathing is registered
_AROUND = 1.0  # squares around the corners that are registered


@dataclass(frozen=True, eq=False)
class SweepObservation:
    """One sweep of the lens, F frames, in front of the board at one place.

    Attributes:
        name: for people.
        size: height and width of the images.
        commands: (F,) of the lens.
        directions: (F,) in which they were reached; None before the first move.
        temperatures: (F,) degC, NaN where unknown.
        corners: (C,) numbers of the corners seen.
        places: (C, 2) pixel of each in its sharpest frame.
        side: of a square, px.
        frames, which, pixels: (M,), (M,) and (M, 2): in a frame, a corner (index of ``corners``) is at a pixel.
        sharpness: (F, C) around each corner, as if the image did not breathe; NaN where a part is outside the image.
        motion: (F, 3) log scale and shift (px) by which the image of each frame differs, by registration alone.
        steps: numbers of two frames, and (3,) log scale and shift (px) from one to the other about the image centre.
        missed: pairs of frames that could not be registered.
        copies: frames whose pixels are those of the frame before, though the command differs.
        noise: (F - 1,) root mean square difference of each frame to the one before, grey levels.
    """

    name: str
    size: tuple[int, int]
    commands: npt.NDArray[np.float64]
    directions: tuple[Direction | None, ...]
    temperatures: npt.NDArray[np.float64]
    corners: npt.NDArray[np.int_]
    places: npt.NDArray[np.float64]
    side: float
    frames: npt.NDArray[np.int_]
    which: npt.NDArray[np.int_]
    pixels: npt.NDArray[np.float64]
    sharpness: npt.NDArray[np.float64]
    motion: npt.NDArray[np.float64]
    steps: tuple[tuple[int, int, np.ndarray], ...]
    missed: int
    copies: tuple[int, ...]
    noise: npt.NDArray[np.float64]

    def of(self, direction: Direction) -> npt.NDArray[np.int_]:
        """Return the numbers of the frames reached in a direction."""
        return np.array([number for number, way in enumerate(self.directions) if way is direction], dtype=np.int_)


def observe(
    series: CalibrationSeries, board: Board, name: str, progress: Callable[[], None] = lambda: None
) -> SweepObservation | None:
    """Find the board in the frames of a sweep, and measure each frame around its corners.

    Corners are found in the sharp frames. The board stands still, so that breathing alone moves them in the others: by
    what registration of the whole board tells, for a corner that is too blurred to be found.

    Returns:
        None if no frame shows the board.

    Raises:
        InputError: the images have several sizes.
    """
    images = []
    for frame in series.frames:
        images.append(frame.load())
        progress()
    sizes = sorted({image.shape[::-1] for image in images})
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sizes)
        raise InputError(f"The images of {name} have {listed} px; record each sweep at one resolution.")
    finder = BoardFinder(board)
    views = [finder.find(image) for image in images]
    seen = [(number, view) for number, view in enumerate(views) if view is not None]
    if not seen:
        return None
    frames = np.concatenate([np.full(len(view.numbers), number) for number, view in seen])
    numbers = np.concatenate([view.numbers for _, view in seen])
    pixels = np.concatenate([view.pixels for _, view in seen])
    corners, which = np.unique(numbers, return_inverse=True)
    side = float(np.median([view.side for _, view in seen]))
    commands = np.array([frame.command for frame in series.frames], dtype=np.float64)
    steps, missed = _registered(images, commands, pixels, _AROUND * side)
    motion = _motion(steps, commands)
    centre = (np.array(images[0].shape[::-1]) - 1) / 2
    scale, shift = np.exp(motion[:, :1]), motion[:, 1:]
    still = centre + (pixels - centre - shift[frames]) / scale[frames]
    middle = np.array([np.median(still[which == index], axis=0) for index in range(len(corners))])
    # An edge is as sharp in an image that shows everything larger, but there are fewer of them in an area: the mean
    # squared gradient falls with the scale, which would move a peak by hundredths of a dioptre.
    sharp = np.array(
        [
            float(s[0]) * local_sharpness(image, centre + s * (middle - centre) + d, _PATCH * side * float(s[0]))
            for image, s, d in zip(images, scale, shift, strict=True)
        ]
    )
    sharp[:, np.isnan(sharp).any(axis=0)] = np.nan
    kept = _trusted(frames, which, sharp)
    frames, which, pixels = frames[kept], which[kept], pixels[kept]
    places = middle.copy()
    for index in range(len(corners)):
        mine = np.flatnonzero(which == index)
        if len(mine):
            places[index] = pixels[mine[np.nan_to_num(sharp[frames[mine], index]).argmax()]]
    gaps = [np.asarray(b, np.float32) - a for a, b in pairwise(images)]
    noise = np.array([float(np.sqrt(np.mean(np.square(gap)))) for gap in gaps])
    copies = tuple(k + 1 for k in range(len(gaps)) if noise[k] == 0 and commands[k] != commands[k + 1])
    degrees = [np.nan if frame.temperature is None else frame.temperature for frame in series.frames]
    height, width = images[0].shape
    return SweepObservation(
        name=name,
        size=(height, width),
        commands=commands,
        directions=series.directions(),
        temperatures=np.array(degrees),
        corners=corners,
        places=places,
        side=side,
        frames=frames,
        which=which,
        pixels=pixels,
        sharpness=sharp,
        motion=motion,
        steps=tuple(steps),
        missed=missed,
        copies=copies,
        noise=noise,
    )


def _trusted(frames: np.ndarray, which: np.ndarray, sharp: np.ndarray) -> npt.NDArray[np.int_]:
    """Return the observations of corners that are nearly as sharp as they become, the sharpest ``_MOST`` of each."""
    share = np.nan_to_num(sharp[frames, which] / np.maximum(sharp.max(axis=0)[which], 1e-12))
    kept: list[int] = []
    for index in np.unique(which):
        mine = np.flatnonzero((which == index) & (share > _SHARP))
        kept += mine[np.argsort(-share[mine], kind="stable")[:_MOST]].tolist()
    return np.array(sorted(kept), dtype=np.int_)


def _registered(
    images: list[np.ndarray], commands: np.ndarray, corners: np.ndarray, around: float
) -> tuple[list[tuple[int, int, np.ndarray]], int]:
    """Register the board in some frames; scale and shift are about the centre of the image."""
    height, width = images[0].shape
    left, top = np.maximum(np.floor(corners.min(axis=0) - around), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0) + around) + 1, (width, height)).astype(int)
    offset = np.array([(left + right - width) / 2, (top + bottom - height) / 2])
    chosen = evenly(commands.tolist(), _REGISTERED)

    def part(number: int) -> Callable[[], np.ndarray]:
        return lambda: np.ascontiguousarray(images[number][top:bottom, left:right])

    found, missed = register_frames([part(number) for number in chosen])
    steps = []
    for first, second, step in found:
        shift = step[1:] + (1 - np.exp(step[0])) * offset
        steps.append((chosen[first], chosen[second], np.array([step[0], *shift])))
    return steps, missed


def _motion(steps: list[tuple[int, int, np.ndarray]], commands: np.ndarray) -> npt.NDArray[np.float64]:
    """Return the (F, 3) log scale and shift of every frame that explain the registrations best, 0 in the mean."""
    if not steps:
        return np.zeros((len(commands), 3))
    frames = sorted({frame for first, second, _ in steps for frame in (first, second)})
    design = np.zeros((len(steps) + 1, len(frames)))
    for row, (first, second, _) in enumerate(steps):
        design[row, [frames.index(first), frames.index(second)]] = -1, 1
    design[-1] = 1
    values, *_ = np.linalg.lstsq(design, np.vstack([[step for *_, step in steps], np.zeros(3)]), rcond=None)
    order = np.argsort(commands[frames], kind="stable")
    known, heights = commands[frames][order], values[order]
    return np.column_stack([np.interp(commands, known, heights[:, part]) for part in range(3)])
