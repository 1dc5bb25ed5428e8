"""Focus stacks on disk: an ``.npz`` of arrays, or a folder of photographs described by ``stack.json``.

Both layouts are written down in docs/stack-files.md. Files are taken as they come from strangers: sizes are
judged before anything is allocated, nothing is unpickled, and no name leads out of the folder.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.io.atomic import replacing, replacing_files
from fossa_ros.io.checked_arrays import open_npz, read_npy
from fossa_ros.io.photographs import photograph_size, read_photograph
from fossa_ros.io.stack_description import DESCRIPTION, StackDescription, read_description, write_description

MIN_SIDE = 16  # px
MAX_PLANES = 1000
MAX_PIXELS = 1_000_000_000  # of all planes together: 3 GB of RGB


@dataclass(frozen=True, eq=False)
class StackFile:
    """A focus stack as read, with what its file knows beyond the planes.

    Attributes:
        stack: the planes, in the file's order.
        truth: (H, W) float32 true depth in metres, NaN where unknown; None where the file has none.
        photographs: whether it is a folder of photographs, perhaps handheld, and not registered arrays.
        intrinsics_from: where ``stack.K`` comes from, in words; None where K is unknown.
    """

    stack: FocusStack
    truth: np.ndarray | None = None
    photographs: bool = False
    intrinsics_from: str | None = None


def load_stack(path, fx=None) -> StackFile:
    """Read a focus stack from an ``.npz`` file or a folder with ``stack.json``.

    ``fx``, a focal length in pixels at the images' size, takes the place of whatever the file says about
    intrinsics: square pixels, principal point in the middle.

    Raises:
        InputError: whatever in the file cannot be used, in one sentence that says what to change.
    """
    path = Path(path)
    if path.name == DESCRIPTION:
        path = path.parent
    if path.is_dir():
        return _load_folder(path, fx)
    if not path.exists():
        raise InputError(f"{path} does not exist; give an .npz file or a folder with {DESCRIPTION}.")
    return _load_npz(path, fx)


def save_npz(path, stack, truth=None, compressed=False) -> None:
    """Write ``stack``, and its (H, W) depth (m) where known, as an ``.npz`` that ``load_stack`` reads.

    ``compressed`` makes it smaller and slower to read; nothing is lost.

    Raises:
        InputError: the file cannot be written.
    """
    optional = {
        "K": stack.K,
        "f_number": stack.f_number,
        "focal_length_m": stack.focal_length,
        "depth": truth,
    }
    with replacing(path) as partial, open(partial, "wb") as file:
        (np.savez_compressed if compressed else np.savez)(
            file,
            stack=stack.images(),
            focus=stack.focus_distances,
            reference=stack.reference,
            **{name: value for name, value in optional.items() if value is not None},
        )


def save_folder(folder, stack, truth=None) -> None:
    """Write ``stack``, and its (H, W) depth (m) where known, as a folder that ``load_stack`` reads.

    Raises:
        InputError: the folder cannot be written.
    """
    with replacing_files(folder) as partial:
        frames = []
        for number, plane in enumerate(stack.planes):
            file = partial / f"plane_{number:03}.png"
            Image.fromarray(plane.image).save(file)
            frames.append((file, float(plane.focus_distance)))
        if truth is not None:
            np.save(partial / "depth.npy", truth)
        write_description(
            StackDescription(
                tuple(frames),
                reference=stack.reference,
                K=stack.K,
                f_number=stack.f_number,
                focal_length=stack.focal_length,
                ground_truth=None if truth is None else partial / "depth.npy",
            ),
            partial / DESCRIPTION,
        )


def centred_intrinsics(focal_length_px, size) -> np.ndarray:
    """Return K (3, 3): square pixels, principal point in the middle of images of ``size`` (height, width)."""
    height, width = size
    f = float(focal_length_px)
    return np.array([[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]])


def _load_npz(path, fx):
    with open_npz(path) as arrays:
        images = arrays.read("stack", lambda shape, dtype: _check_images(path, shape, dtype))
        images = np.ascontiguousarray(images)
        count, height, width, _ = images.shape
        focus = arrays.read("focus", _expect(path, "focus", (count,), "one distance in metres for every plane"))

        def optional(name, shape, meaning, kinds="iuf"):
            return arrays.read(name, _expect(path, name, shape, meaning, kinds)) if name in arrays else None

        K = None if fx else optional("K", (3, 3), "the intrinsic matrix")
        truth = optional("depth", (height, width), "metres at the planes' size", kinds="f")
        f_number = optional("f_number", (), "one number")
        focal_length = optional("focal_length_m", (), "one number")
        reference = optional("reference", (), "the number of a plane", kinds="iu")
    with _named(path):
        stack = FocusStack(
            tuple(FocusPlane(image, float(distance)) for image, distance in zip(images, focus, strict=True)),
            K=centred_intrinsics(fx, (height, width)) if fx else K,
            f_number=None if f_number is None else float(f_number),
            focal_length=None if focal_length is None else float(focal_length),
            reference=None if reference is None else int(reference),
        )
    return StackFile(stack, _known(truth), intrinsics_from="--fx" if fx else "the file" if K is not None else None)


def _load_folder(folder, fx):
    description = read_description(folder / DESCRIPTION)
    files, distances = zip(*description.frames, strict=True) if description.frames else ((), ())
    _check_sizes(folder, [photograph_size(file) for file in files])
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # decoding releases the GIL
        photographs = list(pool.map(read_photograph, files))
    lengths = sorted({f"{1e3 * p.focal_length:.3g}" for p in photographs if p.focal_length})
    if len(lengths) > 1:
        raise InputError(
            f"{folder} mixes photographs of {' and '.join(lengths)} mm focal length; "
            "keep the camera from changing lens or zoom."
        )
    with _named(folder):
        stack = FocusStack(
            tuple(FocusPlane(p.image, s) for p, s in zip(photographs, distances, strict=True)),
            f_number=_first_known(description.f_number, photographs[0].f_number),
            focal_length=_first_known(description.focal_length, photographs[0].focal_length),
            reference=description.reference,
        )
        measured = photographs[stack.reference].focal_length_px
        if fx:
            source, K = "--fx", centred_intrinsics(fx, stack.size)
        elif description.K is not None:
            source, K = DESCRIPTION, description.K
        elif measured is not None:
            source, K = "EXIF", centred_intrinsics(measured, stack.size)
        else:
            source, K = None, None
        stack = replace(stack, K=K)
    truth = description.ground_truth
    if truth is not None:
        truth = read_npy(truth, _expect(truth, None, stack.size, "metres at the images' size", kinds="f"))
    return StackFile(stack, _known(truth), photographs=True, intrinsics_from=source)


def _check_images(path, shape, dtype):
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
        raise InputError(f"{path}: 'stack' must be (N, H, W, 3) uint8 RGB, not {shape} {dtype}; convert it.")
    _check_sizes(path, [(shape[2], shape[1])] * min(shape[0], MAX_PLANES + 1))


def _check_sizes(path, sizes):
    """Refuse what could not be held or estimated, from (width, height) alone."""
    if not 2 <= len(sizes) <= MAX_PLANES:
        raise InputError(f"{path} must have 2 to {MAX_PLANES} planes, not {len(sizes)}; add or remove some.")
    width, height = min(sizes, key=min)
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{path} has images of {width}x{height}; use at least {MIN_SIDE} px a side.")
    total = sum(width * height for width, height in sizes)
    if total > MAX_PIXELS:
        raise InputError(
            f"{path} has {total / 1e6:.0f} megapixels in all its planes, more than {MAX_PIXELS / 1e6:.0f}; "
            "shrink the images or take fewer."
        )


def _expect(path, name, shape, meaning, kinds="iuf"):
    """Return a check for ``shape`` and a numeric kind of dtype that names what is expected."""

    def check(got, dtype):
        if got != shape or dtype.kind not in kinds:
            label = path if name is None else f"{path}: '{name}'"
            size = f"of shape {shape}" if shape else "a single number"
            real = " in floating point" if kinds == "f" else ""
            raise InputError(f"{label} must be {size} ({meaning}{real}), not {got} {dtype}; correct it.")

    return check


@contextmanager
def _named(path):
    """Begin the sentence about a stack with the name of its file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _first_known(*values):
    return next((value for value in values if value is not None), None)


def _known(depth):
    return None if depth is None else np.where((depth > 0) & np.isfinite(depth), depth, np.nan).astype(np.float32)
