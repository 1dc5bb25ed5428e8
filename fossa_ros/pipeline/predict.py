"""Estimate the depth of one stack and write it to files, as ``fossa predict`` does."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fossa_ros.core.errors import InputError, RefusedStack
from fossa_ros.core.geometry import coloured_cloud
from fossa_ros.core.rectified import rectified
from fossa_ros.core.resampling import enlarge_depth, shrink_stack
from fossa_ros.core.stack import DepthMap, FocusStack
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.io.atomic import replacing_files
from fossa_ros.io.pictures import confidence_picture, depth_picture, write_picture
from fossa_ros.io.ply import write_ply
from fossa_ros.motion.alignment import AlignmentReport, align_stack
from fossa_ros.motion.one_view import check_one_view
from fossa_ros.motion.smear import check_smear
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.stack_check import NOTHING, StackFindings, check_stack, repeated_frames

ALWAYS = ("depth.npy", "depth.png", "all_in_focus.png", "confidence.png")
OUTPUTS = (*ALWAYS, "cloud.ply", "metrics.json")


@dataclass(frozen=True, eq=False)
class Prediction:
    """The depth of one stack.

    Attributes:
        depth: (H, W) float32 metres at the size of the input's images, NaN where unknown.
        depth_map: the estimate at the working size.
        alignment: misalignment of the planes before and after alignment, px of the working size; None if not aligned.
        seconds: time the estimator took.
        alignment_seconds: time the alignment took.
        findings: what the stack says about its own claim.
    """

    depth: np.ndarray
    depth_map: DepthMap
    alignment: AlignmentReport | None
    seconds: float
    alignment_seconds: float = 0.0
    findings: StackFindings = NOTHING


def predict(
    stack: FocusStack,
    estimator: Estimator,
    *,
    align: bool,
    max_size: int = 0,
    names: Sequence[str] = (),
    limits: DepthLimits | None = None,
    focus_check: bool = True,
) -> Prediction:
    """Estimate the depth of a stack, as it is in the rectified view of its camera.

    Depth is unknown where a plane has no pixels after alignment; the all-in-focus image there is the reference plane's.

    Args:
        stack: the planes.
        estimator: makes the depth map.
        align: whether to align the planes first.
        max_size: largest long edge of the working size, px; 0 works at the size of the stack.
        names: of the planes' files, for errors.
        limits: depth outside them is unknown; None keeps all.
        focus_check: whether a stack is refused in which the blur of the planes contradicts their focus distances, or
            one plane is blurred in one direction.

    Raises:
        RefusedStack: the blur of the planes contradicts their focus distances, or a plane is blurred in one direction.
        InputError: a plane does not show the view of the others, or the estimator needs something that the stack does
            not have.
    """
    size = stack.size
    if focus_check and (refusal := repeated_frames(stack)):
        raise RefusedStack(refusal)
    stack = captured = shrink_stack(stack, max_size)
    started = time.perf_counter()
    alignment = None
    if align:
        stack, alignment = align_stack(stack, names)
    else:
        check_one_view(stack, names)
    if focus_check:
        check_smear(stack, names)
    findings = check_stack(stack, captured) if focus_check else NOTHING
    if findings.refusal:
        raise RefusedStack(findings.refusal)
    aligned = time.perf_counter()
    depth_map = estimator.estimate(stack)
    estimated = time.perf_counter()
    if alignment is not None:
        seen, reference = alignment.valid, stack.planes[stack.reference].image
        whole = np.where(seen[..., None], depth_map.all_in_focus, reference)
        depth_map = replace(depth_map.within(seen), sharp_image=whole)
    depth_map = rectified(depth_map, stack)
    if limits is not None:
        depth_map = limits.apply(depth_map)
    depth = enlarge_depth(depth_map.depth, size)
    return Prediction(depth, depth_map, alignment, estimated - aligned, aligned - started, findings)


def check_outputs(folder: Path, inputs: Iterable[Path]) -> None:
    """Check, before the work, that the files of a prediction replace nothing but those of an earlier one.

    Args:
        folder: of the results.
        inputs: files of the stack.

    Raises:
        InputError: a file belongs to the stack, or is not beside all files that every prediction writes.
    """
    there = [path for path in (folder / name for name in OUTPUTS) if os.path.lexists(path)]
    read = {path.resolve() for path in inputs}
    for path in there:
        if path.resolve() in read:
            raise InputError(f"{path} is part of the stack and would be replaced; give another folder with --out.")
    if there and not all((folder / name).is_file() for name in ALWAYS):
        raise InputError(
            f"{there[0]} is of no earlier prediction and would be replaced; give another folder with --out."
        )


def write_outputs(folder: str | Path, prediction: Prediction, metrics: dict[str, float] | None = None) -> list[str]:
    """Write the files of a prediction to ``folder``, all of them or none; return their names.

    ``cloud.ply`` needs intrinsics and ``metrics.json`` needs metrics; without them, the file of an earlier run is
    removed.

    Raises:
        InputError: the folder cannot be written.
    """
    depth_map = prediction.depth_map
    with replacing_files(folder, outdated=OUTPUTS) as partial:
        np.save(partial / "depth.npy", prediction.depth)
        write_picture(partial / "depth.png", depth_picture(depth_map.depth))
        write_picture(partial / "all_in_focus.png", depth_map.all_in_focus)
        write_picture(partial / "confidence.png", confidence_picture(depth_map.confidence))
        if depth_map.K is not None:
            write_ply(partial / "cloud.ply", coloured_cloud(depth_map.depth, depth_map.K, depth_map.all_in_focus))
        if metrics is not None:
            known = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
            (partial / "metrics.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        return [name for name in OUTPUTS if (partial / name).exists()]
