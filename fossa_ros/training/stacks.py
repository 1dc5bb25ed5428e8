"""Training stacks, made of a scene, a lens and a sensor, and blocks of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from fossa_ros.core import optics
from fossa_ros.training.defocus import MARGIN, render_planes
from fossa_ros.training.lenses import IMAGE_HEIGHT, IMAGE_WIDTH, TrainingLens, draw_focus, draw_lens
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rgbd import RgbdFrame, depth_layers
from fossa_ros.training.scenes import make_scene
from fossa_ros.training.sensor import expose, linear, move
from fossa_ros.training.surfaces import Surfaces
from fossa_ros.training.textures import texture_bank


@dataclass(frozen=True)
class TrainingStacks:
    """Focus stacks of one size with their depth, in canonical units.

    Attributes:
        images: (B, N, 3, H, W) uint8 sRGB.
        disparity: (B, N) float32 disparity the planes are focused at, 1 / canonical metres.
        truth: (B, H, W) float32 true disparity, 1 / canonical metres; NaN where unknown.
    """

    images: Tensor
    disparity: Tensor
    truth: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Imperfections:
    """Imperfections of a lens, drawn once per stack.

    Attributes:
        curvature: dioptres by which the focal surface is nearer at the corner of the image.
        chromatic: dioptres by which red and blue focus nearer than green.
        cats_eye: cat's eye at the corner, as in ``fossa_ros.training.psf.transfer``.
        vignetting: share of the light that is lost at the corner.
        breathing: scale between the nearest and the farthest plane, minus 1.
        shift: (N, 2) shift of each plane (px).
        focus_error: (N,) error of the reported focus (D).
        paths: light paths per pixel, if the stack has the noise of a path tracer, else 0. Many benchmarks are rendered.
        unevenness: relative deviation of the light of such a path without defocus.
    """

    curvature: float
    chromatic: tuple[float, float]
    cats_eye: float
    vignetting: float
    breathing: float
    shift: Tensor
    focus_error: np.ndarray
    paths: float
    unevenness: float


def draw_imperfections(rng: RandomSource, span: float, planes: int) -> Imperfections:
    """Draw the imperfections of a stack whose focus distances span ``span`` dioptres."""
    unsteady = rng.chance(0.4)
    return Imperfections(
        curvature=rng.choice((0.0, 0.06 * span * (2 * rng.uniform() - 1))),
        chromatic=tuple(rng.choice((0.0, 0.03)) * span * (2 * rng.uniform() - 1) for _ in range(2)),
        cats_eye=rng.choice((0.0, rng.uniform(0, 0.7))),
        vignetting=rng.choice((0.0, rng.uniform(0, 0.4))),
        breathing=0.01 * (2 * rng.uniform() - 1) * rng.uniform() if unsteady else 0.0,
        shift=(2 * rng.rand(planes, 2) - 1) * rng.uniform() if unsteady else torch.zeros(planes, 2),
        focus_error=rng.choice((0.0, 0.0, 0.01)) * span * rng.randn(planes).numpy().astype(np.float64),
        paths=rng.log_uniform(24, 1000) if rng.chance(0.3) else 0.0,
        unevenness=rng.uniform(0.1, 1.0),
    )


def make_stack(rng: RandomSource, scene: Surfaces, known: Tensor, planes: int, view: float | None, width: float):
    """Render a scene through a focus sweep.

    Args:
        rng: random numbers.
        scene: the surfaces, with the renderer's margin.
        known: (H, W) bool without the margin: where the depth is known.
        planes: number of planes.
        view: focal length in image widths; None draws one.
        width: width of the image of which the scene is a crop (px).

    Returns:
        ``TrainingStacks`` with one stack.
    """
    truth = scene.visible_power()[MARGIN:-MARGIN, MARGIN:-MARGIN]
    focus = draw_focus(rng, truth, planes)
    powers = optics.dioptres(focus)
    ends = torch.stack([truth.min(), truth.max()]).tolist()
    gap = max(ends[1] - powers.min(), powers.max() - ends[0])
    lens = draw_lens(rng, gap, view=view, image_width=width)
    faults = draw_imperfections(rng, float(powers[0] - powers[-1]), planes)
    images = photograph(rng, scene, lens, focus, faults)
    stated = np.maximum(powers + faults.focus_error, 1e-3)
    return TrainingStacks(
        images=expose(images, rng)[None],
        disparity=torch.tensor(stated / lens.canonical_scale, dtype=torch.float32)[None],
        truth=(truth / lens.canonical_scale).masked_fill(~known, torch.nan)[None],
    )


def procedural_stack(rng: RandomSource, bank: Tensor, side: int, planes: int) -> TrainingStacks:
    """Return one stack of (planes, 3, side, side) of a procedural scene."""
    scene = make_scene(rng, bank, side + 2 * MARGIN)
    known = torch.ones(side, side, dtype=torch.bool, device=bank.device)
    return make_stack(rng, scene, known, planes, None, IMAGE_WIDTH)


def rgbd_stack(
    rng: RandomSource, frame: RgbdFrame, side: int, planes: int, device: torch.device | str
) -> TrainingStacks:
    """Return one stack of (planes, 3, side, side) of a crop of an RGB-D image, enlarged up to 1.5 times."""
    whole = side + 2 * MARGIN
    height, width = frame.depth.shape
    scale = max(rng.uniform(1.0, 1.5) * IMAGE_WIDTH / width, whole / min(height, width))
    width, height = max(whole, round(width * scale)), max(whole, round(height * scale))
    colour = cv2.resize(frame.colour, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    depth = cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST)  # no depths between two surfaces
    top, left = rng.integer(0, height - whole), rng.integer(0, width - whole)
    window = slice(top, top + whole), slice(left, left + whole)
    depth = torch.tensor(depth[window], device=device)
    known = depth.isfinite()
    power = 1 / torch.where(known, depth, depth[known].median() if known.any() else 1.0)
    srgb = torch.tensor(colour[window], device=device).permute(2, 0, 1) / 255
    scene = depth_layers(linear(srgb), power)
    inner = known[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return make_stack(rng, scene, inner, planes, frame.focal_length, width)


def photograph(
    rng: RandomSource, scene: Surfaces, lens: TrainingLens, focus: np.ndarray, faults: Imperfections
) -> Tensor:
    """Return (N, C, H, W) linear light of a crop at a random position of an image, with the lens's imperfections.

    A gray scene (C = 1) has no chromatic focal shift.
    """
    device = scene.colour.device
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    power = scene.power[inner]
    side = power.shape[-1]
    size = lens.image_width, lens.image_width * IMAGE_HEIGHT / IMAGE_WIDTH
    place = tuple((2 * rng.uniform() - 1) * max(extent - side, 0) / 2 for extent in size)  # from the middle, x and y
    corner = math.hypot(*size) / 2
    axis = torch.arange(side, device=device) - (side - 1) / 2
    off_axis = ((axis[None] + place[0]).square() + (axis[:, None] + place[1]).square()) / corner**2  # (H, W), 0..1

    planes = torch.tensor(optics.dioptres(focus), dtype=torch.float32, device=device)[:, None, None, None]
    per_dioptre = torch.tensor(lens.blur_per_dioptre(focus), dtype=torch.float32, device=device)[:, None, None, None]
    red, blue = faults.chromatic
    shifts = [red, 0.0, blue] if scene.colour.shape[1] == 3 else [0.0]
    colours = torch.tensor(shifts, device=device)[:, None, None]
    in_focus = planes + faults.curvature * off_axis + colours  # (N, C, H, W) dioptres
    radius = per_dioptre * (in_focus - power[:, None, None]).abs()
    spread = {
        "psf_power": rng.log_uniform(2, 32),
        "cats_eye": faults.cats_eye * math.hypot(*place) / corner,
        "direction": math.atan2(place[1], place[0]),
    }
    images = render_planes(scene, radius, **spread)
    if faults.paths:
        squares = render_planes(replace(scene, colour=scene.colour.square()), radius, **spread)
        images = path_traced(images, squares, faults, rng)
    if faults.breathing or faults.shift.any():
        powers = planes.flatten().cpu()
        along = (powers - powers.mean()) / (powers.max() - powers.min()).clamp_min(1e-6)
        images = move(images, 1 + faults.breathing * along, faults.shift, (-place[0], -place[1]))
    if faults.vignetting:
        images = images * (1 - faults.vignetting * off_axis)
    return images


def path_traced(images: Tensor, squares: Tensor, faults: Imperfections, rng: RandomSource) -> Tensor:
    """Return linear images with the noise of a mean over random light paths.

    A path hits one of the points that defocus mixes in a pixel. Its variance is the image of the squared scene,
    ``squares``, minus the square of the image: largest where different surfaces are blurred into each other.
    """
    mixed = (squares - images.square()).clamp_min(0)
    deviation = ((mixed + squares * faults.unevenness**2) / faults.paths).sqrt()
    return (images + deviation * rng.noise(*images.shape, device=images.device)).clamp_min(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one CPU thread: with several, transforms differ in the last bit, and occasionally a pixel does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def make_block(
    seed: int,
    block: int,
    count: int,
    side: int,
    planes: int,
    device: torch.device | str = "cpu",
    *,
    bank: tuple[int, int],
    frames: Sequence[RgbdFrame] = (),
) -> TrainingStacks:
    """Render block number ``block`` of ``count`` stacks, a function of seed and number.

    Args:
        seed: seed of the run.
        block: number of the block.
        count: number of stacks.
        side: side of the images (px).
        planes: planes per stack.
        device: device to render on; the stacks stay there.
        bank: number of textures that the scenes of the block share, and their side (px).
        frames: RGB-D images to draw the scenes from, instead of procedural scenes.
    """
    if frames:
        rng = [RandomSource(seed, block, 1, index) for index in range(count)]
        stacks = [rgbd_stack(d, frames[d.integer(0, len(frames) - 1)], side, planes, device) for d in rng]
        return concatenated(stacks)
    textures = texture_bank(RandomSource(seed, block, 0), *bank, device)
    return concatenated(
        [procedural_stack(RandomSource(seed, block, 1, index), textures, side, planes) for index in range(count)]
    )


def concatenated(stacks: Sequence[TrainingStacks]) -> TrainingStacks:
    """Concatenate stacks of one size and number of planes."""
    return TrainingStacks(
        *(torch.cat([getattr(part, name) for part in stacks]) for name in ("images", "disparity", "truth"))
    )
