"""Pictures of depth, confidence and error, and the colour map of the package."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import check_writable, replacing

if TYPE_CHECKING:  # slow to import, so it is imported where a figure is drawn
    from matplotlib.figure import Figure

UNKNOWN = (48, 48, 48)
_COLOURS = cv2.applyColorMap(np.arange(255, -1, -1, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
_DPI = 100
_FONT = 8  # points
_GAP = 8  # px between pictures, matplotlib's own padding
_TITLE = 22  # px of a line above a picture
_LABEL = 40  # px of a label of the bar, with the gap beside it


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """Return the 1st and 99th percentile of a depth map (m), for display.

    The range is at least 5 % wide, so that ``far`` exceeds ``near`` for a flat map.
    """
    known = depth[(depth > 0) & np.isfinite(depth)]
    near, far = (float(value) for value in np.percentile(known, (1, 99)))
    margin = max(0.0, 1.05 - far / near) / 2
    return near * (1 - margin), far * (1 + margin)


def colour_depth(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Colour an (H, W) depth map (m): Turbo over the logarithm of depth, red at ``near``, blue at ``far``.

    Equal ratios of depth are equal steps of colour. Depth outside the range gets the colour of its end; unknown depth
    is dark grey.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    known = depth > 0  # NaN is not
    steps = np.log(np.where(known, depth, near) / near) * (255.0 / math.log(far / near))
    picture: np.ndarray = _COLOURS[np.clip(np.nan_to_num(steps), 0, 255).astype(np.uint8)]
    picture[~known] = UNKNOWN
    return picture


def depth_picture(depth: np.ndarray) -> np.ndarray:
    """Colour an (H, W) depth map (m) and draw a colour bar in metres below it.

    Returns:
        (H + bar, W, 3) uint8 RGB; without the bar if no depth is known.
    """
    if not (depth > 0).any():
        return np.full((*depth.shape, 3), UNKNOWN, np.uint8)
    near, far = depth_range(depth)
    picture = colour_depth(depth, near, far)
    return np.vstack([picture, _bar(near, far, depth.shape)])


def error_picture(depth: np.ndarray, truth: np.ndarray, worst: float = 0.25) -> np.ndarray:
    """Colour |depth - truth| / truth of (H, W) maps: black at 0, bright at ``worst`` and beyond, grey where unknown."""
    error = np.abs(depth - truth) / truth
    steps = np.clip(np.nan_to_num(error / worst), 0.0, 1.0) * 255.0
    picture: np.ndarray = cv2.applyColorMap(steps.astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].copy()
    picture[~np.isfinite(error)] = UNKNOWN
    return picture


def contact_sheet(panels: Sequence[tuple[str, np.ndarray]], columns: int, width: int = 400) -> np.ndarray:
    """Lay out titled pictures of one size in rows of ``columns``, each shown about ``width`` px wide.

    Args:
        panels: title and (H, W, 3) uint8 RGB of each picture.
        columns: pictures in a row.
        width: px of a picture.

    Returns:
        (H, columns * (width + gap), 3) uint8 RGB.
    """
    from matplotlib.figure import Figure

    height, whole = panels[0][1].shape[:2]
    rows = -(-len(panels) // columns)
    size = columns * (width + _GAP), rows * (round(height * width / whole) + _TITLE)
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI, layout="compressed")
    for axes, panel in itertools.zip_longest(figure.subplots(rows, columns, squeeze=False).flat, panels):
        axes.axis("off")
        if panel is not None:
            title, picture = panel
            axes.imshow(picture)
            axes.set_title(title, loc="left", fontsize=_FONT, pad=4)
    return _drawn(figure)


def confidence_picture(confidence: np.ndarray) -> np.ndarray:
    """Return (H, W) confidence 0..1 as uint8 grey 0..255."""
    grey: np.ndarray = np.rint(np.clip(np.nan_to_num(confidence), 0.0, 1.0) * 255.0)
    return grey.astype(np.uint8)


def write_picture(path: str | Path, picture: np.ndarray, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) uint8 as PNG or JPEG of ``quality``, by the suffix of ``path``, atomically.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    settings = (cv2.IMWRITE_JPEG_QUALITY, quality) if jpeg else ()
    done, data = cv2.imencode(path.suffix, picture, settings)
    if not done:
        raise InputError(f"{path} cannot be encoded; use a smaller --max-size.")
    with replacing(path) as partial:
        partial.write_bytes(data.tobytes())


def check_figure(path: Path) -> None:
    """Check that a figure can be written to ``path``, before the work that it shows.

    Raises:
        InputError: matplotlib does not know the format, or the folder is missing or not writable.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    if path.suffix and path.suffix.lower().lstrip(".") not in FigureCanvasBase.get_supported_filetypes():
        raise InputError(f"{path} cannot be drawn; give a .png, .svg or .pdf file.")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written, as {folder} is not a folder; create it or give another path.")
    check_writable(folder)


def write_figure(path: str | Path, figure: Figure) -> None:
    """Write a matplotlib figure in the format of the suffix of ``path``, PNG by default, atomically.

    Raises:
        InputError: matplotlib does not know the format, or the file cannot be written.
    """
    path = Path(path)
    with replacing(path) as partial:
        try:
            figure.savefig(partial, format=path.suffix.lower().lstrip(".") or "png")
        except ValueError as error:
            raise InputError(f"{path} cannot be drawn ({error}); give a .png, .svg or .pdf file.") from error


def _bar(near: float, far: float, size: tuple[int, ...]) -> np.ndarray:
    """Draw a horizontal colour bar with depths in metres below an (H, W) map; return (bar, W, 3) uint8 RGB."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    width = size[1]
    scale = max(1.0, min(size) / 480)
    dpi = _DPI * scale
    figure = Figure(figsize=((width + 1) / dpi, 0.45), dpi=dpi)  # one px more, cut below: sizes are rounded down
    marks = (1, 2, 5) if 3 * math.log10(far / near) * _LABEL * scale < width else (1,)
    decades = math.log10(far / near)
    room = 1.5 * _LABEL * scale / (0.9 * width) * decades  # from an end to the next label, in decades
    ticks = [
        mark
        for mark in LogLocator(subs=marks).tick_values(near, far)
        if room < math.log10(mark / near) < decades - room
    ]
    bar = figure.colorbar(
        ScalarMappable(LogNorm(near, far), ListedColormap(_COLOURS / 255)),
        cax=figure.add_axes((0.05, 0.55, 0.9, 0.3)),
        orientation="horizontal",
        ticks=[near, *ticks, far],
        format=FuncFormatter(lambda metres, _: f"{metres:.3g} m"),
    )
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=_FONT)
    labels = bar.ax.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right")
    return _drawn(figure)[:, :width]


def _drawn(figure: Figure) -> np.ndarray:
    """Return what a figure looks like, (H, W, 3) uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
