"""Focus stacks on disk: an ``.npz`` of arrays, or a folder of photographs described by ``stack.json``.

docs/stack-files.md describes both layouts. Files are not trusted: sizes are checked before memory is allocated, nothing
is unpickled, and file names cannot lead out of the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fossa_ros.core.camera_model import given_rectification, sensible_intrinsics
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack, default_reference
from fossa_ros.io.atomic import replacing, replacing_files
from fossa_ros.io.checked_arrays import Check, open_npz, read_npy
from fossa_ros.io.photographs import photograph_size, read_photographs
from fossa_ros.io.stack_description import DESCRIPTION, StackDescription, read_description, write_description

MIN_SIDE = 16  # px
MAX_PLANES = 1000
MAX_PIXELS = 1_000_000_000  # of all planes together: 3 GB of RGB
BEYOND = 100.0  # times the farthest focus distance: true depth that far away is in millimetres


@dataclass(frozen=True, eq=False)
class StackFile:
    """A focus stack, and what its file says beyond the planes.

    Attributes:
        stack: the planes, in the file's order.
        truth: (H, W) float32 true depth in metres, NaN where unknown; None if the file has none.
        photographs: whether it is a folder of photographs, which may be handheld, rather than registered arrays.
        intrinsics_from: the source of ``stack.K`` in words; None if K is unknown.
        names: of the planes' files; empty if they are not files.
        bits: of the range by which pixels of 16 bits were scaled; None if they had 8.
        files: all that was read.
    """

    stack: FocusStack
    truth: np.ndarray | None = None
    photographs: bool = False
    intrinsics_from: str | None = None
    names: tuple[str, ...] = ()
    bits: int | None = None
    files: tuple[Path, ...] = ()


def load_stack(path: str | Path, fx: float | None = None, bits: int | None = None) -> StackFile:
    """Read a focus stack from an ``.npz`` file or a folder with ``stack.json``.

    Args:
        path: of the file, the folder, or its ``stack.json``.
        fx: focal length in pixels at the size of the images. It replaces K and P of the file by square pixels and a
            principal point in the middle.
        bits: of the range of photographs with 16 bits a channel, 8 .. 16; None for the least that holds all pixels.

    Raises:
        InputError: the file cannot be used; says in one sentence what to change.
    """
    path = Path(path)
    if path.name == DESCRIPTION:
        path = path.parent
    if path.is_dir():
        return _load_folder(path, fx, bits)
    if not path.exists():
        raise InputError(f"{path} does not exist; give an .npz file or a folder with {DESCRIPTION}.")
    if bits is not None:
        raise InputError(f"--bits is for folders of photographs with 16 bits a channel; leave it out for {path.name}.")
    return _load_npz(path, fx)


def save_npz(path: str | Path, stack: FocusStack, truth: np.ndarray | None = None, compressed: bool = False) -> None:
    """Write ``stack``, and its (H, W) true depth (m) if known, as an ``.npz`` that ``load_stack`` reads.

    ``compressed`` files are smaller and slower to read.

    Raises:
        InputError: the file cannot be written.
    """
    optional: dict[str, Any] = {
        "K": stack.K,
        "f_number": stack.f_number,
        "focal_length_m": stack.focal_length,
        "depth": truth,
        **_distortion(stack),
    }
    with replacing(path) as partial, open(partial, "wb") as file:
        (np.savez_compressed if compressed else np.savez)(
            file,
            stack=stack.images(),
            focus=stack.focus_distances,
            reference=stack.reference,
            **{name: value for name, value in optional.items() if value is not None},
        )


def save_folder(folder: str | Path, stack: FocusStack, truth: np.ndarray | None = None) -> None:
    """Write ``stack``, and its (H, W) true depth (m) if known, as a folder that ``load_stack`` reads.

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
                **_distortion(stack),
            ),
            partial / DESCRIPTION,
        )


def centred_intrinsics(focal_length_px: float, size: tuple[int, int]) -> np.ndarray:
    """Return K (3, 3): square pixels, principal point in the middle of images of ``size`` (height, width)."""
    height, width = size
    f = float(focal_length_px)
    return np.array([[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]])


def _distortion(stack: FocusStack) -> dict[str, Any]:
    """Return the entries of a file that describe the rectification of a stack; none if there is none."""
    given = stack.rectification
    if given is None:
        return {}
    entries = {"distortion": given.coefficients, "distortion_model": given.model, "P": given.P, "R": given.R}
    return {name: value for name, value in entries.items() if name != "distortion" or value}


def _load_npz(path: Path, fx: float | None) -> StackFile:
    with open_npz(path) as arrays:
        images = arrays.read("stack", lambda shape, dtype: _check_images(path, shape, dtype))
        images = np.ascontiguousarray(images)
        count, height, width, _ = images.shape
        focus = arrays.read("focus", _expect(path, "focus", (count,), "one distance in metres for every plane"))

        def optional(name: str, shape: tuple[int, ...], meaning: str, kinds: str = "iuf") -> np.ndarray | None:
            return arrays.read(name, _expect(path, name, shape, meaning, kinds)) if name in arrays else None

        K = optional("K", (3, 3), "the intrinsic matrix")
        distortion: list[float] = []
        if "distortion" in arrays:
            distortion = arrays.read("distortion", _coefficients(path)).astype(np.float64).tolist()
        model = str(optional("distortion_model", (), "the name of a model", "U") or "")
        P = None
        if "P" in arrays:
            P = arrays.read("P", _view(path))
        R = optional("R", (3, 3), "a rotation")
        truth = optional("depth", (height, width), "metres at the planes' size", kinds="f")
        f_number = optional("f_number", (), "one number")
        focal_length = optional("focal_length_m", (), "one number")
        reference = optional("reference", (), "the number of a plane", kinds="iu")
    with _named(path):
        if fx:
            K, P = centred_intrinsics(fx, (height, width)), None
        if K is not None:
            K = sensible_intrinsics(K, (height, width), "--fx" if fx else "K")
        stack = FocusStack(
            tuple(FocusPlane(image, float(distance)) for image, distance in zip(images, focus, strict=True)),
            K=K,
            rectification=given_rectification(K, (height, width), distortion, model, P, R),
            f_number=None if f_number is None else float(f_number),
            focal_length=None if focal_length is None else float(focal_length),
            reference=None if reference is None else int(reference),  # type: ignore[arg-type]
        )
    source = "--fx" if fx else "the file" if K is not None else None
    return StackFile(stack, _known(truth, stack, path), intrinsics_from=source, files=(path,))


def _load_folder(folder: Path, fx: float | None, bits: int | None) -> StackFile:
    description = read_description(folder / DESCRIPTION)
    files = [file for file, _ in description.frames]
    _check_sizes(folder, [photograph_size(file) for file in files])
    reference = description.reference
    if reference is None or not 0 <= reference < len(files):  # the stack refuses the latter
        reference = default_reference(len(files))
    photographs, bits = read_photographs(files, reference, bits)
    lengths = sorted({f"{1e3 * p.focal_length:.3g}" for p in photographs if p.focal_length})
    if len(lengths) > 1:
        raise InputError(
            f"{folder} mixes photographs of {' and '.join(lengths)} mm focal length; "
            "keep lens and zoom of the camera fixed."
        )
    with _named(folder):
        stack = FocusStack(
            tuple(FocusPlane(p.image, s) for p, (_, s) in zip(photographs, description.frames, strict=True)),
            f_number=_first_known(description.f_number, photographs[0].f_number),
            focal_length=_first_known(description.focal_length, photographs[0].focal_length),
            reference=description.reference,  # type: ignore[arg-type]
        )
        measured = photographs[stack.reference].focal_length_px
        source: str | None
        K: np.ndarray | None
        if fx:
            source, K = "--fx", centred_intrinsics(fx, stack.size)
        elif description.K is not None:
            source, K = DESCRIPTION, description.K
        elif measured is not None:
            source, K = "EXIF", centred_intrinsics(measured, stack.size)
        else:
            source, K = None, None
        if K is not None:
            K = sensible_intrinsics(K, stack.size, "K" if source == DESCRIPTION else str(source))
        P = None if fx else description.P
        rectification = given_rectification(
            K, stack.size, description.distortion, description.distortion_model, P, description.R
        )
        stack = replace(stack, K=K, rectification=rectification)
    truth, file = None, description.ground_truth
    if file is not None:
        raw = read_npy(file, _expect(file, None, stack.size, "metres at the images' size", kinds="f"))
        truth = _known(raw, stack, file)
    names = tuple(file.name for file in files)
    read = (folder / DESCRIPTION, *files, *([] if file is None else [file]))
    return StackFile(stack, truth, photographs=True, intrinsics_from=source, names=names, bits=bits, files=read)


def _check_images(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
        raise InputError(f"{path}: 'stack' must be (N, H, W, 3) uint8 RGB, not {shape} {dtype}; convert it.")
    _check_sizes(path, [(shape[2], shape[1])] * min(shape[0], MAX_PLANES + 1))


def _check_sizes(path: Path, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse stacks that are too large for memory or too small for an estimate, by (width, height) of each plane."""
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


def _expect(path: Path, name: str | None, shape: tuple[int, ...], meaning: str, kinds: str = "iuf") -> Check:
    """Return a check for ``shape`` and a numeric kind of dtype, whose error says what is expected."""

    def check(got: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if got != shape or dtype.kind not in kinds:
            label = path if name is None else f"{path}: '{name}'"
            size = f"of shape {shape}" if shape else "a single number"
            real = " in floating point" if kinds == "f" else ""
            raise InputError(f"{label} must be {size} ({meaning}{real}), not {got} {dtype}; correct it.")

    return check


def _coefficients(path: Path) -> Check:
    """Return a check for coefficients of a distortion."""

    def check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if len(shape) != 1 or shape[0] > 14 or dtype.kind not in "iuf":
            raise InputError(f"{path}: 'distortion' must be up to 14 numbers, not {shape} {dtype}; correct it.")

    return check


def _view(path: Path) -> Check:
    """Return a check for the matrix of a rectified view."""

    def check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if shape not in ((3, 3), (3, 4)) or dtype.kind not in "iuf":
            raise InputError(f"{path}: 'P' must be a 3x3 or 3x4 matrix of numbers, not {shape} {dtype}; correct it.")

    return check


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Prefix the error of a stack with the name of its file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _known(depth: np.ndarray | None, stack: FocusStack, path: Path) -> np.ndarray | None:
    """Return true depth as float32 with NaN where unknown, None for None.

    Raises:
        InputError: it is so far beyond all planes that its unit is another.
    """
    if depth is None:
        return None
    known = np.where((depth > 0) & np.isfinite(depth), depth, np.nan).astype(np.float32)
    focus = stack.focus_distances[np.isfinite(stack.focus_distances)]
    middle = float(np.nanmedian(known)) if np.isfinite(known).any() else 0.0
    if focus.size and middle > BEYOND * focus.max():
        raise InputError(
            f"The true depth in {path} has a median of {middle:g} m, where no plane is focused beyond {focus.max():g} "
            "m: it seems to be in millimetres; give metres."
        )
    return known
