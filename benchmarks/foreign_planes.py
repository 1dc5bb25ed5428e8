"""How surely `fossa predict` refuses a stack with one foreign plane, and never one without.

    python benchmarks/foreign_planes.py --first-seed 5000 --scenes 60 [--folder STACK ...]

Rendered stacks, moved as by a hand, at 320 and 1280 px (each with its own seed), and folders of photographs at both
sizes. Each stack is checked as it is, and with each of its planes, in turn, replaced: by itself turned by 180 or 90
degrees or mirrored, and by a plane of another stack.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.resampling import shrink_stack
from fossa_ros.core.stack import FocusStack
from fossa_ros.io.stack_files import load_stack
from fossa_ros.motion.one_view import check_one_view
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack

WIDTHS = (320, 1280)
OPTICS = ((0.012, 1.4), (0.012, 2.0), (0.016, 2.8), (0.0068, 1.85))  # focal length (m) and f-number; a phone's last


def rendered(seed: int, width: int) -> FocusStack:
    """Render three to six planes of a random scene through random optics, each moved as by a hand."""
    rng = np.random.default_rng(seed)
    focal_length, f_number = OPTICS[seed // 4 % len(OPTICS)]  # the kind of scene follows the seed itself
    camera = SimulatedCamera(
        width, width * 3 // 4, width * rng.uniform(0.75, 1.3), focal_length=focal_length, f_number=f_number
    )
    focus = 1 / np.linspace(1 / rng.uniform(0.3, 0.5), 1 / rng.uniform(2, 8), rng.integers(3, 7))
    stack, _ = render_stack(seed, camera, focus, rng=rng, views=48)
    return stack.with_images([moved(plane.image, rng) for plane in stack.planes])


def moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move an image by some 0.6 % of its width, 0.3 degrees and 0.8 % of scale."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 0.3), 1 + rng.normal(0, 0.008))
    matrix[:, 2] += rng.normal(0, 0.006 * width, 2)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def quarter_turned(image: np.ndarray) -> np.ndarray:
    """Turn an image by 90 degrees, enlarged so that it fills the frame."""
    height, width = image.shape[:2]
    long, short = max(height, width), min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.ascontiguousarray(np.rot90(image[top : top + short, left : left + short]))
    square = cv2.resize(square, (long, long), interpolation=cv2.INTER_LINEAR)
    top, left = (long - height) // 2, (long - width) // 2
    return square[top : top + height, left : left + width]


CHANGES = {
    "turned by 180 degrees": lambda image, other: image[::-1, ::-1],
    "turned by 90 degrees": lambda image, other: quarter_turned(image),
    "mirrored left to right": lambda image, other: image[:, ::-1],
    "mirrored top to bottom": lambda image, other: image[::-1],
    "of another stack": lambda image, other: cv2.resize(other, image.shape[1::-1], interpolation=cv2.INTER_AREA),
}


def refused(stack: FocusStack) -> str:
    """Return the refusal of a stack whose planes are named by their numbers; empty if it is accepted."""
    try:
        check_one_view(stack, [f"<{plane}>" for plane in range(len(stack))])
    except InputError as error:
        return str(error)
    return ""


def sources(first: int, scenes: int, folders: list[Path]) -> Iterator[tuple[str, FocusStack, FocusStack]]:
    """Yield a name, a stack, and a stack of another scene."""
    for width in WIDTHS:
        before = rendered(first + scenes, width)
        for seed in range(first, first + scenes):
            stack = rendered(seed, width)
            yield f"rendered, {width} px", stack, before
            before = stack
        photographs = [shrink_stack(load_stack(folder).stack, width) for folder in folders]
        for index, stack in enumerate(photographs):
            yield f"photographs, {width} px", stack, photographs[index - 1] if len(photographs) > 1 else before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--folder", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    rng = np.random.default_rng(options.first_seed)
    counts: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(3, int))  # refused, by name, of
    for kind, stack, other in sources(options.first_seed, options.scenes, options.folder):
        counts[kind, "as it is"] += (bool(refused(stack)), 0, 1)
        for change, make in CHANGES.items():
            for plane in range(len(stack)):
                images = [each.image for each in stack.planes]
                foreign = other.planes[rng.integers(len(other))].image
                images[plane] = np.ascontiguousarray(make(images[plane], foreign))
                reason = refused(stack.with_images(images))
                counts[kind, change] += (bool(reason), reason.startswith(f"<{plane}> "), 1)
    print("| stacks | one plane | refused | by its name |\n|---|---|---|---|")
    for (kind, change), (no, named, count) in counts.items():
        print(f"| {kind} | {change} | {no} of {count} | {f'{named} of {count}' if change != 'as it is' else ''} |")


if __name__ == "__main__":
    main()
