"""Reports of a run: a CSV of its losses, and figures and pictures of held-out stacks."""

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
from fossa_ros.training.loop import Run, render_block
from fossa_ros.training.stacks import TrainingStacks

FIGURES = ("abs_rel", "delta_1.05", "delta_1.25")
UNSEEN_BLOCK = 10**9  # a block number that no run reaches
PICTURED = 4  # stacks in a picture


class Reporter:
    """Writes log.csv, figures.csv, unseen.jpg and weights.safetensors to the folder of a run.

    With several processes, only the first writes.
    """

    def __init__(self, run: Run, validation: Path | None, every: int):
        """Start, or continue after the current step of the run.

        Args:
            run: the run.
            validation: a folder of stacks with depth for additional figures, or None.
            every: steps between rows of the log.

        Raises:
            InputError: the validation folder has no stack with depth.
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
        """Write the averaged weights, also after an exception."""
        if self._writes:
            write_weights(self._run.average, self._run.folder)

    def step(self, losses: dict[str, float]) -> float:
        """Record a step; return the recent speed in stacks per second."""
        self._ends.append(time.monotonic())
        speed = 0.0
        if len(self._ends) > 1:
            speed = self._run.config.batch * (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])
        if self._writes and self._run.step % self._every == 0:
            append_row(self._run.folder / "log.csv", {"step": self._run.step, **losses, "stacks_per_s": speed})
        return speed

    def figures(self) -> str:
        """Evaluate the averaged weights, write figures and picture, and return a line with the figures."""
        if not self._writes:
            return ""
        run = self._run
        if self._unseen is None:
            self._unseen = render_block(run.config, 0, "cpu", UNSEEN_BLOCK)
        found = evaluate_unseen(run.average, self._unseen, run.device)
        picture_unseen(run.average, self._unseen, run.device, run.folder / "unseen.jpg")
        line = f"step {run.step}: unseen {figures_line(found)}"
        if self._files:
            mean = validate(run.average, self._files)["mean"]
            line += f"; validation {figures_line(mean)}"
            found |= {f"validation_{name}": value for name, value in mean.items()}
        minutes = (time.monotonic() - self._started) / 60
        append_row(run.folder / "figures.csv", {"step": run.step, "minutes": minutes, **found})
        return line


def write_weights(average: nn.Module, folder: Path) -> None:
    """Write the averaged weights of a run to ``weights.safetensors`` in its folder."""
    with replacing(folder / "weights.safetensors") as partial:
        save_file({name: value.contiguous().cpu() for name, value in average.state_dict().items()}, partial)


def figures_line(figures: dict[str, float]) -> str:
    """Format figures as text."""
    within = ", ".join(f"{figures[f'delta_1.{part:02}']:.1%} within {part} %" for part in (5, 25))
    return f"AbsRel {figures['abs_rel']:.4f}, {within}"


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows after ``step``, the step of the state from which the run is resumed."""
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        path.unlink()
        for row in rows:
            append_row(path, row)


def append_row(path: Path, row: dict) -> None:
    """Append a row to a CSV file, with a header if the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def evaluate_unseen(model: nn.Module, stacks: TrainingStacks, device: torch.device) -> dict[str, float]:
    """Return mean figures of a network over held-out training stacks, in canonical depth."""
    figures = [depth_metrics(depth, truth) for depth, truth, _image in predictions(model, stacks, device)]
    return {name: mean_metrics(figures)[name] for name in FIGURES}


def picture_unseen(model: nn.Module, stacks: TrainingStacks, device: torch.device, path: Path) -> None:
    """Write a picture of held-out stacks: the middle plane, depth, truth and error of each."""
    panels = []
    shown = TrainingStacks(stacks.images[:PICTURED], stacks.disparity[:PICTURED], stacks.truth[:PICTURED])
    for depth, truth, image in predictions(model, shown, device):
        near, far = depth_range(truth)
        panels += [("middle plane", image), ("depth", colour_depth(depth, near, far))]
        panels += [("truth", colour_depth(truth, near, far)), ("error, to 25 %", error_picture(depth, truth))]
    write_picture(path, contact_sheet(panels, columns=4, width=2 * stacks.truth.shape[2]))


def picture_stacks(stacks: TrainingStacks, path: Path) -> None:
    """Write a picture of stacks: nearest, middle and farthest plane, and depth (canonical metres)."""
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
    """Yield (H, W) depth, (H, W) truth and the middle plane's (H, W, 3) uint8 image of every stack."""
    for images, focus, truth in zip(stacks.images, stacks.disparity, stacks.truth, strict=True):
        pixels = images.permute(0, 2, 3, 1)
        with torch.inference_mode():
            depth = model(normalise(pixels.to(device))[None], 1 / focus[None].to(device))
        yield depth[0, 0].cpu().numpy(), (1 / truth).cpu().numpy(), pixels[len(pixels) // 2].cpu().numpy()


def read_validation(folder: Path) -> dict[str, StackFile]:
    """Read the .npz stacks with depth in a folder, by name.

    Raises:
        InputError: there is none, or a stack cannot be read.
    """
    files = {path.stem: load_stack(path) for path in sorted(folder.glob("*.npz"))}
    files = {name: file for name, file in files.items() if file.truth is not None}
    if not files:
        raise InputError(f"'{folder}' holds no .npz stack with a depth to compare with; give another folder.")
    return files


def validate(model: nn.Module, files: dict[str, StackFile]) -> dict[str, dict[str, float]]:
    """Return the figures of a network for every validation stack, by name, and their ``mean``."""
    predictor = Predictor(model, name="training")
    figures = {name: depth_metrics(predictor.depth(file.stack), file.truth) for name, file in files.items()}
    figures["mean"] = mean_metrics(figures.values())
    return {name: {figure: row[figure] for figure in FIGURES} for name, row in figures.items()}
