"""Submissions of ZEDD's test split to its server, https://zedd.cs.princeton.edu: write and check them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.evaluation.datasets.zedd import SIZES, SOURCE, Zedd
from fossa_ros.evaluation.evaluate import estimate
from fossa_ros.io.atomic import replacing
from fossa_ros.io.checked_arrays import open_npz

SCENES = 50
NAMES = tuple(f"zedd_output_{number:04}.npy" for number in range(1, SCENES + 1))
SHOWN = 3  # problems listed in an error


def write_submission(
    path: Path, folder: Path, estimator: Estimator, *, progress: Callable[[str], None] = lambda name: None
) -> float:
    """Estimate the test split under the published protocol and write the zip, atomically.

    The server does not accept unknown pixels; they get the depth of the nearest known pixel.

    Args:
        path: of the zip.
        folder: of ZEDD.
        estimator: of the depth.
        progress: called after each scene with its name.

    Returns:
        The share of filled pixels.

    Raises:
        InputError: the data is incomplete, or the estimator finds no depth in a scene.
    """
    zedd = Zedd(folder, split="test")
    if len(zedd.names) != SCENES:
        raise InputError(f"The test split has {len(zedd.names)} scenes of {SCENES}; unpack {SOURCE} again.")
    zedd.check(zedd.protocol)
    unknown = 0
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (scene, name) in enumerate(zip(zedd.names, NAMES, strict=True)):
            depth = estimate(estimator, zedd.sample(index, zedd.protocol)).depth
            known = np.isfinite(depth)
            if not known.any():
                raise InputError(f"The estimator finds no depth in {scene}; choose another model.")
            if not known.all():
                nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
                depth = depth[tuple(nearest)]
            with archive.open(name, "w") as file:
                np.lib.format.write_array(file, depth.astype(np.float32))
            unknown += np.count_nonzero(~known)
            progress(scene)
    check_submission(path)
    return unknown / (SCENES * SIZES["test"][0] * SIZES["test"][1])


def check_submission(path: Path) -> None:
    """Check a zip like the server: 50 files at its root, each a (1216, 1824) float array, all finite.

    Raises:
        InputError: the zip is not a valid submission; lists the first problems of each kind.
    """
    path = Path(path)
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a readable zip; give one that --zedd-submission wrote.")
    problems: list[str] = []
    with open_npz(path) as archive:
        problems += _names(archive.names())
        wrong = [trouble for name in NAMES if name in archive.names() and (trouble := _content(archive, name))]
    problems += _listed(wrong, "other arrays")
    if problems:
        raise InputError(f"{path} is not a valid submission to ZEDD: {'; '.join(problems)}; write it again.")


def _names(names):
    yield from _listed([name for name in NAMES if name not in names], "other files", "lacks {}")
    yield from _listed([name for name in names if name not in NAMES], "other files", "holds {} besides")
    yield from _listed(sorted({name for name in names if names.count(name) > 1}), "other files", "holds {} twice")


def _content(archive, name) -> str:
    def check(shape, dtype):
        if shape != SIZES["test"] or dtype.kind != "f":
            raise InputError(f"{name} is {shape} {dtype} instead of {SIZES['test']} floating point")

    try:
        values = archive.read(name.removesuffix(".npy"), check)
    except InputError as error:
        return str(error)
    bad = np.count_nonzero(~np.isfinite(values))
    return f"{name} has {bad} values that are not finite" if bad else ""


def _listed(names, rest, phrase="{}") -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - SHOWN} {rest}" if len(names) > SHOWN else ""
    return [phrase.format(", ".join(names[:SHOWN]) + more)]
