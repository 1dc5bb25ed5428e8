"""What a run leaves to look at: a CSV of its losses, figures on stacks it never saw, and pictures of them."""

from __future__ import annotations

import csv
import time
from collections import deque
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from fossa_ros.core.errors import InputError
from fossa_ros.estimators.fossa.predictor import Predictor
from fossa_ros.estimators.fossa.preprocessing import normalise
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.io.atomic import replacing
from fossa_ros.io.pictures import colour_depth, contact_sheet, depth_range, error_picture, write_picture
from fossa_ros.io.stack_files import StackFile, load_stack
from fossa_ros.training.loop import Run, make_block_of
from fossa_ros.training.stacks import TrainingStacks

FIGURES = ("abs_rel", "delta_1.05", "delta_1.25")
UNSEEN_BLOCK = 10**9  # number of a block that no run comes to
PICTURED = 4  # stacks a picture shows


class Reporter:
    """Writes log.csv, figures.csv, unseen.jpg and weights.safetensors into the folder of a run.

    Of several processes only the first writes.
    """

    def __init__(self, run: Run, validation: Path | None, every: int):
        """Start, or go on after the step the run has come to.

        Args:
            run: of which the folder is.
            validation: a folder of stacks to give figures of besides; None for none.
            every: steps between rows of the log.

        Raises:
            InputError: a validation folder without a stack that has a depth.
        """
        self._run, self._every = run, every
        self._files = read_validation(validation) if validation else {}
        self._writes = run.rank == 0
        self._ends: deque[float] = deque(maxlen=20)
        self._started = time.monotonic()
        self._unseen: TrainingStacks | None = None
        if self._writes:
            run.folder.mkdir(parents=True, exist_ok=True)
            for name in ("log.csv", "figures.csv"):
                drop_rows_after(run.folder / name, run.step)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exception) -> None:
        """Write the averaged weights, whatever ended the run."""
        if self._writes:
            state = self._run.average.state_dict()
            with replacing(self._run.folder / "weights.safetensors") as partial:
                save_file({name: value.contiguous().cpu() for name, value in state.items()}, partial)

    def step(self, losses: dict[str, float]) -> float:
        """Take note of a step; return how many stacks a second the last ones took."""
        self._ends.append(time.monotonic())
        speed = 0.0
        if len(self._ends) > 1:
            speed = self._run.config.batch * (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])
        if self._writes and self._run.step % self._every == 0:
            append_row(self._run.folder / "log.csv", {"step": self._run.step, **losses, "stacks_per_s": speed})
        return speed

    def figures(self) -> str:
        """Evaluate the averaged weights, write figures and picture, and return a line that tells them."""
        if not self._writes:
            return ""
        run = self._run
        if self._unseen is None:
            self._unseen = make_block_of(run.config, 0, "cpu", UNSEEN_BLOCK)
        found = evaluate_unseen(run.average, self._unseen, run.device)
        picture_unseen(run.average, self._unseen, run.device, run.folder / "unseen.jpg")
        line = f"step {run.step}: unseen {told(found)}"
        if self._files:
            mean = validate(run.average, self._files)["mean"]
            line += f"; validation {told(mean)}"
            found |= {f"validation_{name}": value for name, value in mean.items()}
        minutes = (time.monotonic() - self._started) / 60
        append_row(run.folder / "figures.csv", {"step": run.step, "minutes": minutes, **found})
        return line


def told(figures: dict[str, float]) -> str:
    """Put figures into words."""
    within = ", ".join(f"{figures[f'delta_1.{part:02}']:.1%} within {part} %" for part in (5, 25))
    return f"AbsRel {figures['abs_rel']:.4f}, {within}"


def drop_rows_after(path: Path, step: int) -> None:
    """Drop the rows of a run that had got further than the state it goes on from."""
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        path.unlink()
        for row in rows:
            append_row(path, row)


def append_row(path: Path, row: dict) -> None:
    """Add a row to a CSV, with a header where it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def evaluate_unseen(model: nn.Module, stacks: TrainingStacks, device: torch.device) -> dict[str, float]:
    """Return mean figures of a network over training stacks kept back, in canonical depth."""
    figures = [depth_metrics(depth, truth) for depth, truth, _image in predictions(model, stacks, device)]
    return {name: mean_metrics(figures)[name] for name in FIGURES}


def picture_unseen(model: nn.Module, stacks: TrainingStacks, device: torch.device, path: Path) -> None:
    """Write a picture of some stacks kept back: a plane, depth, truth and error of each."""
    panels = []
    shown = TrainingStacks(stacks.images[:PICTURED], stacks.disparity[:PICTURED], stacks.truth[:PICTURED])
    for depth, truth, image in predictions(model, shown, device):
        near, far = depth_range(truth)
        panels += [("middle plane", image), ("depth", colour_depth(depth, near, far))]
        panels += [("truth", colour_depth(truth, near, far)), ("error, to 25 %", error_picture(depth, truth))]
    write_picture(path, contact_sheet(panels, columns=4, width=2 * stacks.truth.shape[2]))


def picture_stacks(stacks: TrainingStacks, path: Path) -> None:
    """Write a picture of stacks: the nearest, middle and farthest plane, and the depth (canonical metres)."""
    panels = []
    for images, focus, truth in zip(stacks.images, stacks.disparity, stacks.truth, strict=True):
        order = focus.argsort(descending=True)
        for index in (order[0], order[len(order) // 2], order[-1]):
            panels.append((f"focus {1 / focus[index]:.2f}", images[index].permute(1, 2, 0).numpy()))
        depth = (1 / truth).numpy()
        near, far = depth_range(depth)
        panels.append((f"depth {near:.2f} to {far:.2f}", colour_depth(depth, near, far)))
    write_picture(path, contact_sheet(panels, columns=4, width=min(stacks.truth.shape[2], 160)))


def predictions(model: nn.Module, stacks: TrainingStacks, device: torch.device):
    """Give depth, truth (H, W) and the middle plane's (H, W, 3) uint8 picture, stack by stack."""
    for images, focus, truth in zip(stacks.images, stacks.disparity, stacks.truth, strict=True):
        pixels = images.permute(0, 2, 3, 1)
        with torch.inference_mode():
            depth = model(normalise(pixels.to(device))[None], 1 / focus[None].to(device))
        yield depth[0, 0].cpu().numpy(), (1 / truth).cpu().numpy(), pixels[len(pixels) // 2].cpu().numpy()


def read_validation(folder: Path) -> dict[str, StackFile]:
    """Read the stacks with a known depth of a folder, by name.

    Raises:
        InputError: a folder without any, or a stack that cannot be read.
    """
    files = {path.stem: load_stack(path) for path in sorted(folder.glob("*.npz"))}
    files = {name: file for name, file in files.items() if file.truth is not None}
    if not files:
        raise InputError(f"'{folder}' holds no .npz stack with a depth to compare with; give another folder.")
    return files


def validate(model: nn.Module, files: dict[str, StackFile]) -> dict[str, dict[str, float]]:
    """Return the figures of a network on every validation stack, by name, and their ``mean``."""
    predictor = Predictor(model, name="training")
    figures = {name: depth_metrics(predictor.depth(file.stack), file.truth) for name, file in files.items()}
    figures["mean"] = mean_metrics(figures.values())
    return {name: {figure: row[figure] for figure in FIGURES} for name, row in figures.items()}
