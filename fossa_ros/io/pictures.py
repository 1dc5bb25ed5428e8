"""Pictures for people: depth and confidence as images, and the one colour map of the package."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import replacing

UNKNOWN = (48, 48, 48)
_COLOURS = cv2.applyColorMap(np.arange(255, -1, -1, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
_INK, _PAPER = (32, 32, 32), 255


def depth_range(depth) -> tuple[float, float]:
    """Return near and far (m) of a depth map for display, its extremes left out.

    A flat map gets a range of 5 %, so that there is always something to divide by.
    """
    known = depth[(depth > 0) & np.isfinite(depth)]
    near, far = (float(value) for value in np.percentile(known, (1, 99)))
    margin = max(0.0, 1.05 - far / near) / 2
    return near * (1 - margin), far * (1 + margin)


def colour_depth(depth, near, far) -> np.ndarray:
    """Colour an (H, W) depth map (m): Turbo over the logarithm of depth, red at ``near``, blue at ``far``.

    Equal ratios of depth are equal steps of colour. What lies beyond takes the end's colour; unknown depth is
    dark grey.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    known = depth > 0  # NaN is not
    steps = np.log(np.where(known, depth, near) / near) * (255.0 / math.log(far / near))
    picture = _COLOURS[np.clip(np.nan_to_num(steps), 0, 255).astype(np.uint8)]
    picture[~known] = UNKNOWN
    return picture


def depth_picture(depth) -> np.ndarray:
    """Colour an (H, W) depth map and put a bar with metres below it; return (H + bar, W, 3) uint8 RGB.

    A map without any known depth has no bar.
    """
    if not (depth > 0).any():
        return np.full((*depth.shape, 3), UNKNOWN, np.uint8)
    near, far = depth_range(depth)
    picture = colour_depth(depth, near, far)
    height, width = depth.shape
    return np.vstack([picture, _bar(near, far, width, max(1.0, min(height, width) / 480))])


def error_picture(depth, truth, worst=0.25) -> np.ndarray:
    """Colour |depth - truth| / truth of (H, W) maps: black at 0, bright at ``worst`` and beyond, grey where unknown."""
    error = np.abs(depth - truth) / truth
    steps = np.clip(np.nan_to_num(error / worst), 0.0, 1.0) * 255.0
    picture = cv2.applyColorMap(steps.astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].copy()
    picture[~np.isfinite(error)] = UNKNOWN
    return picture


def contact_sheet(panels, columns, width=400) -> np.ndarray:
    """Lay out titled pictures of one size, (title, (H, W, 3) uint8 RGB), in rows of ``columns``; white between.

    Each is resized to ``width`` px.
    """
    height = round(panels[0][1].shape[0] * width / panels[0][1].shape[1])
    panels = [(title, cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)) for title, picture in panels]
    scale = max(1.0, min(height, width) / 480)
    gap, line = round(8 * scale), round(30 * scale)
    rows = -(-len(panels) // columns)
    sheet = np.full((rows * (height + line + gap), columns * (width + gap) + gap, 3), _PAPER, np.uint8)
    for index, (title, picture) in enumerate(panels):
        top, left = index // columns * (height + line + gap), gap + index % columns * (width + gap)
        _write(sheet, title, (left, top + line - round(9 * scale)), scale)
        sheet[top + line : top + line + height, left : left + width] = picture
    return sheet


def confidence_picture(confidence) -> np.ndarray:
    """Return (H, W) confidence 0..1 as uint8 grey 0..255."""
    return np.rint(np.clip(np.nan_to_num(confidence), 0.0, 1.0) * 255.0).astype(np.uint8)


def write_picture(path, picture, quality=95) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) uint8 as PNG or JPEG of ``quality``, whichever the name ends in.

    The file appears under its name only when complete.

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
        partial.write_bytes(data)


def write_figure(path, figure) -> None:
    """Write a matplotlib figure in the format that the name ends in, PNG where it has no ending.

    The file appears under its name only when complete.

    Raises:
        InputError: a format that matplotlib does not know, or the file cannot be written.
    """
    path = Path(path)
    with replacing(path) as partial:
        try:
            figure.savefig(partial, format=path.suffix.lower().lstrip(".") or "png")
        except ValueError as error:
            raise InputError(f"{path} cannot be drawn ({error}); name a .png, .svg or .pdf file.") from error


def ticks(near, far) -> list[float]:
    """Choose round depths between ``near`` and ``far`` (m) to label."""
    decades = range(math.floor(math.log10(near)), math.ceil(math.log10(far)) + 1)
    chosen = [m * 10.0**k for k in decades for m in (1, 2, 5) if near <= m * 10.0**k <= far]
    if len(chosen) >= 4:
        return chosen
    rough = (far - near) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
    return [n * step for n in range(math.ceil(near / step - 1e-6), math.floor(far / step + 1e-6) + 1)]


def _style(scale) -> dict:
    return {"fontFace": cv2.FONT_HERSHEY_SIMPLEX, "fontScale": 0.45 * scale, "thickness": max(1, round(scale))}


def _write(picture, text, origin, scale) -> None:
    cv2.putText(picture, text, origin, color=_INK, lineType=cv2.LINE_AA, **_style(scale))


def _bar(near, far, width, scale):
    margin, depth_of_bar = round(14 * scale), round(16 * scale)
    strip = np.full((round(58 * scale), width, 3), _PAPER, np.uint8)
    left, right = margin, width - margin
    span = max(right - left, 2)
    shown = near * (far / near) ** np.linspace(0.0, 1.0, span)
    top = round(10 * scale)
    strip[top : top + depth_of_bar, left : left + span] = colour_depth(shown[None], near, far)
    style = {
        "fontFace": cv2.FONT_HERSHEY_SIMPLEX,
        "fontScale": 0.45 * scale,
        "thickness": max(1, round(scale)),
    }
    free_from = 0
    for depth in ticks(near, far):
        x = left + round(math.log(depth / near) / math.log(far / near) * (span - 1))
        label = f"{depth:.6g} m"
        (text_width, text_height), _ = cv2.getTextSize(label, **style)
        start = min(max(x - text_width // 2, 0), width - text_width)
        if start < free_from:
            continue
        free_from = start + text_width + round(8 * scale)
        below = top + depth_of_bar
        cv2.line(strip, (x, below), (x, below + round(5 * scale)), _INK, style["thickness"])
        origin = (start, below + round(9 * scale) + text_height)
        _write(strip, label, origin, scale)
    return strip
