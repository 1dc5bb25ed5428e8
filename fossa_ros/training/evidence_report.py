"""Figures and pictures of a run of the lens-aware network, on stacks that it is not trained on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from fossa_ros.estimators.lens_aware.estimator import LensAwareEstimator, padded
from fossa_ros.estimators.lens_aware.network import Inputs
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.io.pictures import colour_depth, contact_sheet, depth_range, error_picture, write_picture
from fossa_ros.training.evidence_cache import decoded, open_evidence
from fossa_ros.training.evidence_run import EvidenceRun
from fossa_ros.training.report import (
    FIGURES,
    PICTURED,
    append_row,
    drop_rows_after,
    figures_line,
    read_validation,
    write_weights,
)


class EvidenceReporter:
    """Writes log.csv, figures.csv, unseen.jpg and weights.safetensors to the folder of a run."""

    def __init__(self, run: EvidenceRun, cache: Path, unseen: list[str], validation: Path | None, every: int):
        """Start, or continue after the current step of the run.

        Args:
            run: the run.
            cache: folder of the evidence.
            unseen: names of the stacks in it that are held out.
            validation: a folder of stacks with depth for additional figures, or None.
            every: steps between rows of the log.

        Raises:
            InputError: the validation folder has no stack with depth.
        """
        self._run, self._every = run, every
        self._files = read_validation(validation) if validation else {}
        if self._files:  # the averaged weights change in place
            self._estimator = LensAwareEstimator(run.average, run.device)
        self._unseen = [open_evidence(cache, stack) for stack in unseen]
        self._started = time.monotonic()
        run.folder.mkdir(parents=True, exist_ok=True)
        for name in ("log.csv", "figures.csv"):
            drop_rows_after(run.folder / name, run.step)

    def __enter__(self) -> EvidenceReporter:
        return self

    def __exit__(self, *exception) -> None:
        """Write the averaged weights, also after an exception."""
        write_weights(self._run.average, self._run.folder)

    def step(self, losses: dict[str, float]) -> None:
        """Record a step."""
        if self._run.step % self._every == 0:
            append_row(self._run.folder / "log.csv", {"step": self._run.step, **losses})

    def figures(self) -> str:
        """Evaluate the averaged weights, write figures and picture, and return a line with the figures."""
        run = self._run
        found, panels = self._unseen_figures()
        write_picture(run.folder / "unseen.jpg", contact_sheet(panels, columns=4, width=320))
        line = f"step {run.step}: unseen {figures_line(found)}"
        if self._files:
            rows = [depth_metrics(self._estimator.estimate(f.stack).depth, f.truth) for f in self._files.values()]
            mean = mean_metrics(rows)
            line += f"; validation {figures_line(mean)}"
            found |= {f"validation_{name}": mean[name] for name in FIGURES}
        minutes = (time.monotonic() - self._started) / 60
        append_row(run.folder / "figures.csv", {"step": run.step, "minutes": minutes, **found})
        return line

    def _unseen_figures(self) -> tuple[dict[str, float], list[tuple[str, np.ndarray]]]:
        rows, panels = [], []
        for number, fields in enumerate(self._unseen):
            inputs, truth, scale, _ = decoded(fields, 0)
            height, width = truth.shape
            first, step = scale.tolist()
            whole = padded(inputs)
            with torch.inference_mode():
                full = self._run.average(Inputs(*(part.to(self._run.device) for part in whole))).full
            depth = 1 / (first + step * full[0, :height, :width].cpu().numpy())
            true = (1 / (first + step * truth.numpy())).astype(np.float32)
            rows.append(depth_metrics(depth, true))
            if number < PICTURED:
                near, far = depth_range(true)
                sharp = np.repeat(np.rint(255 * whole.guides[0, 0, :height, :width].numpy())[..., None], 3, axis=2)
                panels += [("all in focus", sharp.astype(np.uint8)), ("depth", colour_depth(depth, near, far))]
                panels += [("truth", colour_depth(true, near, far)), ("error, to 25 %", error_picture(depth, true))]
        mean = mean_metrics(rows)
        return {name: mean[name] for name in FIGURES}, panels
