"""Training stacks: a scene, a lens and a sensor put together, and the blocks of them that training goes through."""

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
from fossa_ros.training.rgbd import RgbdFrame, sliced
from fossa_ros.training.scenes import make_scene
from fossa_ros.training.sensor import expose, linear, move
from fossa_ros.training.surfaces import Surfaces
from fossa_ros.training.textures import Dice, texture_bank


@dataclass(frozen=True)
class TrainingStacks:
    """Focus stacks of one size with their depth, in canonical units.

    Attributes:
        images: (B, N, 3, H, W) uint8 sRGB.
        disparity: (B, N) float32 focus, in 1 / canonical metres.
        truth: (B, H, W) float32 disparity of what is visible, in 1 / canonical metres; NaN where unknown.
    """

    images: Tensor
    disparity: Tensor
    truth: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Imperfections:
    """What a real lens does besides focusing, drawn once a stack.

    Attributes:
        curvature: dioptres by which the focal surface lies nearer at the corner of the image.
        chromatic: dioptres by which red and blue focus nearer than green.
        cut: cat's eye at the corner, as in :func:`fossa_ros.training.psf.kernels`.
        vignetting: light lost at the corner, of 1.
        breathing: scale from the nearest to the farthest plane, less 1.
        shift: (N, 2) px of each plane.
        misread: (N,) dioptres by which the stated focus is off.
        paths: light paths a pixel where the stack looks path-traced, else 0; it is no fault of a lens, but much of
            what networks are measured on is rendered.
        unevenness: of the light that such a path carries, before the lens has its part.
    """

    curvature: float
    chromatic: tuple[float, float]
    cut: float
    vignetting: float
    breathing: float
    shift: Tensor
    misread: np.ndarray
    paths: float
    unevenness: float


def draw_imperfections(dice: Dice, span: float, planes: int) -> Imperfections:
    """Draw them for a stack whose focus spans some dioptres."""
    unsteady = dice.chance(0.4)
    return Imperfections(
        curvature=dice.choice((0.0, 0.06 * span * (2 * dice.uniform() - 1))),
        chromatic=tuple(dice.choice((0.0, 0.03)) * span * (2 * dice.uniform() - 1) for _ in range(2)),
        cut=dice.choice((0.0, dice.uniform(0, 0.7))),
        vignetting=dice.choice((0.0, dice.uniform(0, 0.4))),
        breathing=0.01 * (2 * dice.uniform() - 1) * dice.uniform() if unsteady else 0.0,
        shift=(2 * dice.rand(planes, 2) - 1) * dice.uniform() if unsteady else torch.zeros(planes, 2),
        misread=dice.choice((0.0, 0.0, 0.01)) * span * dice.randn(planes).numpy().astype(np.float64),
        paths=dice.log_uniform(24, 1000) if dice.chance(0.3) else 0.0,
        unevenness=dice.uniform(0.1, 1.0),
    )


def make_stack(dice: Dice, scene: Surfaces, known: Tensor, planes: int, view: float | None, width: float):
    """Photograph a scene once through a focus sweep.

    Args:
        dice: random numbers.
        scene: the surfaces, with the renderer's margin.
        known: (H, W) bool without the margin: where the depth may be learnt from.
        planes: of the sweep.
        view: focal length in image widths; None draws one.
        width: px of the image that the scene is a crop of.

    Returns:
        :class:`TrainingStacks` of one stack.
    """
    truth = scene.visible_power()[MARGIN:-MARGIN, MARGIN:-MARGIN]
    focus = draw_focus(dice, truth, planes)
    powers = optics.dioptres(focus)
    ends = torch.stack([truth.min(), truth.max()]).tolist()
    gap = max(ends[1] - powers.min(), powers.max() - ends[0])
    lens = draw_lens(dice, gap, view=view, image_width=width)
    faults = draw_imperfections(dice, float(powers[0] - powers[-1]), planes)
    images = photograph(dice, scene, lens, focus, faults)
    stated = np.maximum(powers + faults.misread, 1e-3)
    return TrainingStacks(
        images=expose(images, dice)[None],
        disparity=torch.tensor(stated / lens.canonical_scale, dtype=torch.float32)[None],
        truth=(truth / lens.canonical_scale).masked_fill(~known, torch.nan)[None],
    )


def procedural_stack(dice: Dice, bank: Tensor, side: int, planes: int) -> TrainingStacks:
    """Return one stack of (planes, 3, side, side) of a scene that never was."""
    scene = make_scene(dice, bank, side + 2 * MARGIN)
    known = torch.ones(side, side, dtype=torch.bool, device=bank.device)
    return make_stack(dice, scene, known, planes, None, IMAGE_WIDTH)


def rgbd_stack(dice: Dice, frame: RgbdFrame, side: int, planes: int, device: torch.device | str) -> TrainingStacks:
    """Return one stack of (planes, 3, side, side) of a crop of an RGB-D image, enlarged by up to 1.5."""
    whole = side + 2 * MARGIN
    height, width = frame.depth.shape
    scale = max(dice.uniform(1.0, 1.5) * IMAGE_WIDTH / width, whole / min(height, width))
    width, height = max(whole, round(width * scale)), max(whole, round(height * scale))
    colour = cv2.resize(frame.colour, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    depth = cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST)  # no depth between two surfaces
    top, left = dice.integer(0, height - whole), dice.integer(0, width - whole)
    window = slice(top, top + whole), slice(left, left + whole)
    depth = torch.tensor(depth[window], device=device)
    known = depth.isfinite()
    power = 1 / torch.where(known, depth, depth[known].median() if known.any() else 1.0)
    srgb = torch.tensor(colour[window], device=device).permute(2, 0, 1) / 255
    scene = sliced(linear(srgb), power)
    inner = known[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return make_stack(dice, scene, inner, planes, frame.focal_length, width)


def photograph(dice: Dice, scene: Surfaces, lens: TrainingLens, focus: np.ndarray, faults: Imperfections) -> Tensor:
    """Return (N, 3, H, W) linear light of a crop, at a random place, of an image with the faults of its lens."""
    device = scene.colour.device
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    power = scene.power[inner]
    side = power.shape[-1]
    size = lens.image_width, lens.image_width * IMAGE_HEIGHT / IMAGE_WIDTH
    place = tuple((2 * dice.uniform() - 1) * max(extent - side, 0) / 2 for extent in size)  # from the middle, x and y
    corner = math.hypot(*size) / 2
    axis = torch.arange(side, device=device) - (side - 1) / 2
    off_axis = ((axis[None] + place[0]).square() + (axis[:, None] + place[1]).square()) / corner**2  # (H, W), 0..1

    planes = torch.tensor(optics.dioptres(focus), dtype=torch.float32, device=device)[:, None, None, None]
    per_dioptre = torch.tensor(lens.blur_per_dioptre(focus), dtype=torch.float32, device=device)[:, None, None, None]
    red, blue = faults.chromatic
    colours = torch.tensor([red, 0.0, blue], device=device)[:, None, None]
    in_focus = planes + faults.curvature * off_axis + colours  # (N, 3, H, W) dioptres
    radius = per_dioptre * (in_focus - power[:, None, None]).abs()
    spread = {
        "psf_power": dice.log_uniform(2, 32),
        "cut": faults.cut * math.hypot(*place) / corner,
        "towards": math.atan2(place[1], place[0]),
    }
    images = render_planes(scene, radius, **spread)
    if faults.paths:
        squares = render_planes(replace(scene, colour=scene.colour.square()), radius, **spread)
        images = path_traced(images, squares, faults, dice)
    if faults.breathing or faults.shift.any():
        powers = planes.flatten().cpu()
        along = (powers - powers.mean()) / (powers.max() - powers.min()).clamp_min(1e-6)
        images = move(images, 1 + faults.breathing * along, faults.shift, (-place[0], -place[1]))
    if faults.vignetting:
        images = images * (1 - faults.vignetting * off_axis)
    return images


def path_traced(images: Tensor, squares: Tensor, faults: Imperfections, dice: Dice) -> Tensor:
    """Return linear images with the noise of a mean over a number of random light paths.

    A path lands on one point of what the defocus mixes, so the noise of a pixel is the deviation of that, which
    ``squares``, the image of the squared scene, tells: more where different things are blurred into each other.
    """
    mixed = (squares - images.square()).clamp_min(0)
    deviation = ((mixed + squares * faults.unevenness**2) / faults.paths).sqrt()
    return (images + deviation * dice.noise(*images.shape, device=images.device)).clamp_min(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one CPU thread: on several, transforms differ in the last bit, and now and then a pixel does."""
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
    """Render block number ``block`` of ``count`` stacks; the same seed and number give the same block.

    Args:
        seed: of the run.
        block: number of the block.
        count: stacks.
        side: of the stacks, px.
        planes: of each stack.
        device: to render on; the stacks stay there.
        bank: textures that the scenes of the block share, and their side.
        frames: RGB-D images to draw the scenes from, instead of making them up.
    """
    if frames:
        dice = [Dice(seed, block, 1, index) for index in range(count)]
        stacks = [rgbd_stack(d, frames[d.integer(0, len(frames) - 1)], side, planes, device) for d in dice]
        return joined(stacks)
    textures = texture_bank(Dice(seed, block, 0), *bank, device)
    return joined([procedural_stack(Dice(seed, block, 1, index), textures, side, planes) for index in range(count)])


def joined(stacks: Sequence[TrainingStacks]) -> TrainingStacks:
    """Put stacks of one size and number of planes together."""
    return TrainingStacks(
        *(torch.cat([getattr(part, name) for part in stacks]) for name in ("images", "disparity", "truth"))
    )
