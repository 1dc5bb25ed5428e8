"""The two parts of a report that can be moved: a slider through the planes of a sweep, and its cloud in 3-D."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import coloured_cloud
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.io.pictures import write_picture
from fossa_ros.io.ply import read_ply, write_ply

MOST_POINTS = 40_000  # of a cloud in a page: 0.5 MB
QUALITY = 85  # of the JPEG of a plane
PLANE = re.compile(r"\d+-plane-(\d+)-(inf|[\d.e+-]+)m\.jpg")  # the distance as {:.4g} writes it
CLOUD = "cloud.ply"

STYLE = """
.viewer { margin: 10px 0; } .viewer img, .viewer canvas { width: 400px; display: block; background: #14181c; }
.viewer img[hidden] { display: none; } .viewer input { width: 400px; margin: 4px 0 0; display: block; }
.viewer canvas { cursor: grab; touch-action: none; }
"""

# The cloud is drawn on the processor with a depth buffer: 40,000 points take some milliseconds, and nothing depends on
# the graphics driver. x is right, y down, z forward; the view turns about the middle of the cloud.
SCRIPT = """
for (const box of document.querySelectorAll('.planes')) {
  const images = [...box.querySelectorAll('img')], slider = box.querySelector('input');
  const caption = box.querySelector('figcaption');
  const show = () => images.forEach((image, i) => {
    image.hidden = i !== +slider.value;
    if (!image.hidden) caption.textContent = image.alt;
  });
  slider.addEventListener('input', show);
  show();
}
for (const canvas of document.querySelectorAll('canvas.cloud')) {
  const bytes = Uint8Array.from(atob(canvas.dataset.points), c => c.charCodeAt(0));
  const count = bytes.length / 9, unit = +canvas.dataset.unit, middle = +canvas.dataset.middle;
  const at = new Int16Array(bytes.buffer, 0, 3 * count), colour = bytes.subarray(6 * count);
  const W = canvas.width, H = canvas.height, context = canvas.getContext('2d');
  const focal = W * canvas.dataset.focal, gap = W / Math.max(canvas.dataset.columns - 1, 1);
  const picture = context.createImageData(W, H), pixels = new Uint32Array(picture.data.buffer);
  const near = new Float32Array(W * H);
  let yaw, pitch, back, queued = false;
  const draw = () => {
    queued = false;
    pixels.fill(0xff1c1814);
    near.fill(Infinity);
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
    for (let i = 0; i < count; i++) {
      const x = at[3 * i] * unit, y = at[3 * i + 1] * unit, z = at[3 * i + 2] * unit - middle;
      const x1 = cy * x + sy * z, z1 = cy * z - sy * x, y1 = cp * y - sp * z1, z2 = cp * z1 + sp * y + back;
      if (z2 < 0.02 * middle) continue;
      const u = Math.round(W / 2 + focal * x1 / z2), v = Math.round(H / 2 + focal * y1 / z2);
      const size = Math.min(12, Math.ceil(gap * (z + middle) / z2)); // of the pixel that the point was
      const rgb = 0xff000000 | colour[3 * i + 2] << 16 | colour[3 * i + 1] << 8 | colour[3 * i];
      const left = Math.max(u - (size >> 1), 0), right = Math.min(u - (size >> 1) + size, W);
      const bottom = Math.min(v - (size >> 1) + size, H);
      for (let b = Math.max(v - (size >> 1), 0); b < bottom; b++) for (let k = b * W + left; k < b * W + right; k++) {
        if (z2 < near[k]) { near[k] = z2; pixels[k] = rgb; }
      }
    }
    context.putImageData(picture, 0, 0);
  };
  const later = () => { if (!queued) { queued = true; requestAnimationFrame(draw); } };
  const reset = () => { yaw = pitch = 0; back = middle; later(); };
  canvas.addEventListener('pointerdown', event => {
    event.preventDefault();
    try { canvas.setPointerCapture(event.pointerId); } catch (ignored) { /* not from a device */ }
  });
  canvas.addEventListener('pointermove', event => {
    if (!event.buttons) return;
    yaw -= event.movementX * 0.008;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + event.movementY * 0.008));
    later();
  });
  canvas.addEventListener('wheel', event => {
    event.preventDefault();
    back = Math.max(0.1 * middle, Math.min(5 * middle, back * Math.exp(event.deltaY * 0.001)));
    later();
  }, {passive: false});
  canvas.addEventListener('dblclick', reset);
  reset();
}
"""


def write_viewed(folder: Path, number: int, stack: FocusStack | None, depth: DepthMap) -> None:
    """Write what the report lets a reader move: the planes of a sweep as JPEG, and its cloud, thinned, as PLY.

    Args:
        folder: of the pictures.
        number: of the sweep.
        stack: as it was captured; None for no planes.
        depth: of the sweep; there is no cloud without K.
    """
    planes = sorted(() if stack is None else stack.planes, key=lambda plane: plane.focus_distance)
    for place, plane in enumerate(planes):
        name = f"{number:06d}-plane-{place:02d}-{plane.focus_distance:.4g}m.jpg"
        write_picture(folder / name, plane.image, QUALITY)
    if depth.K is not None:
        step = int(np.ceil(np.sqrt(depth.depth.size / MOST_POINTS)))
        cloud = coloured_cloud(depth.depth, depth.K, depth.all_in_focus)[step // 2 :: step, step // 2 :: step]
        write_ply(folder / f"{number:06d}-{CLOUD}", cloud)


def viewers(folder: Path, number: str, inline: Callable[[Path], str]) -> Iterator[str]:
    """Yield the figures of a sweep that can be moved, as HTML; none for a sweep without these files.

    Args:
        folder: of the pictures.
        number: of the sweep, as the names of its files begin.
        inline: makes a data URL of a picture.
    """
    found = (PLANE.fullmatch(path.name) for path in folder.glob(f"{number}-plane-*.jpg"))
    planes = sorted((int(name[1]), name[2], folder / name[0]) for name in found if name is not None)
    if len(planes) > 1:
        shown = "".join(
            f'<img class="plane" alt="plane {place + 1} of {len(planes)}, focused at {distance} m" '
            f'src="{inline(path)}"{" hidden" if place else ""}>'
            for place, (_, distance, path) in enumerate(planes)
        )
        slider = f'<input type="range" min="0" max="{len(planes) - 1}" value="0" aria-label="plane">'
        yield f'<figure class="viewer planes">{shown}{slider}<figcaption></figcaption></figure>'
    if (canvas := _canvas(folder / f"{number}-{CLOUD}")) is not None:
        caption = "cloud: drag to turn, wheel to approach, double click to return"
        yield f'<figure class="viewer">{canvas}<figcaption>{caption}</figcaption></figure>'


def _canvas(path: Path) -> str | None:
    """Return the canvas of a cloud, whose points are 16-bit integers in units of their largest coordinate."""
    try:
        cloud = read_ply(path)
    except InputError:
        return None
    at = np.stack([cloud[axis] for axis in "xyz"], axis=1).astype(np.float64)
    # Single points far behind the others would make the unit coarse.
    kept = np.isfinite(at).all(axis=1) & (at[:, 2] > 0)
    if not kept.any():
        return None
    kept &= at[:, 2] <= 4 * np.percentile(at[kept, 2], 90)
    at, colour = at[kept], np.stack([cloud[name] for name in ("red", "green", "blue")], axis=1)[kept]
    unit = np.abs(at).max() / 32767
    slopes = at[:, :2] / at[:, 2:]
    slope = np.abs(slopes).max(axis=0)  # of the view's edges
    columns = 1 + np.count_nonzero(np.diff(np.sort(slopes[:, 0])) > 1e-4 * slope[0])
    width, height = 800, int(np.clip(800 * slope[1] / max(slope[0], 1e-6), 200, 1200))
    points = np.rint(at / unit).astype("<i2").tobytes() + colour.tobytes()
    return (
        f'<canvas class="cloud" width="{width}" height="{height}" data-unit="{unit:.6g}" '
        f'data-middle="{np.median(at[:, 2]):.6g}" data-focal="{0.5 / max(slope[0], 1e-6):.6g}" '
        f'data-columns="{columns}" data-points="{base64.b64encode(points).decode()}"></canvas>'
    )
