"""What the lens-aware network owes to the lens, to pooling, to its correction, to the image, and to evidence at all.

Every variant is trained from random weights on the same stacks in the same order, once for each seed, and measured on
stacks that neither training nor any choice has seen. A run is a folder in OUT; the same command resumes it:

    python benchmarks/lens_aware_ablations.py --rooms ROOMS --data REPORT --out OUT --plot docs/ablations.png
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from fossa_ros.commands.progress import progress_bar
from fossa_ros.core.stack import FocusStack
from fossa_ros.estimators.classical import ClassicalEstimator, depth_profile, focus_measure
from fossa_ros.estimators.classical.surfaces import regressed_surfaces
from fossa_ros.estimators.evidence import CONFIG, Evidence, small_images, stack_evidence
from fossa_ros.estimators.lens_aware.estimator import WIDTH, padded
from fossa_ros.estimators.lens_aware.network import (
    GUIDES,
    MIXTURE,
    SETTINGS,
    EvidenceNetwork,
    Inputs,
    NetworkConfig,
    enlarged,
)
from fossa_ros.evaluation.metrics import depth_metrics, mean_metrics
from fossa_ros.io.atomic import replacing
from fossa_ros.io.stack_files import load_stack
from fossa_ros.training.evidence_cache import (
    EvidenceCache,
    decoded,
    encoded,
    fill_cache,
    possible_error,
    write_fields,
)
from fossa_ros.training.evidence_config import EvidenceTraining, load_evidence_config
from fossa_ros.training.evidence_run import EvidenceRun
from fossa_ros.training.evidence_sources import Source, find_sources
from fossa_ros.training.posterior_losses import near_edges

CONFIGURATION = Path(__file__).parents[1] / "config/training/lens_aware_ablation.yaml"
MOST_PLANES = 9  # of a stack whose planes are seen one by one
TOKEN = 24  # channels of a plane
PATCH = 4  # px at half resolution, of a token
SCORE = 8.0  # log-likelihood of a score of 1
ABSENT = -100.0  # place of a plane that a stack does not have
FIGURES = ("abs_rel", "delta_1.25", "edge", "elsewhere")

Encoding = dict[str, np.ndarray]


class WithoutSurfaces(EvidenceNetwork):
    """A network that is not told depth along surfaces."""

    def along_surfaces(self, inputs: Inputs) -> Tensor:
        """Return no evidence."""
        return torch.zeros_like(inputs.total, dtype=torch.float32)


class Unpooled(WithoutSurfaces):
    """Evidence of single pixels only: neither sums over more of them nor depth along surfaces."""

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        begin_with(self, 0)

    def pooled(self, inputs: Inputs) -> list[Tensor]:
        """Return the evidence of each pixel, and none at the other scales."""
        first, *others = super().pooled(inputs)
        return [first, *map(torch.zeros_like, others)]

    def forward(self, inputs: Inputs):
        """Withhold what the classical estimator says of surfaces as well."""
        sides = torch.cat((inputs.sides[:, :2], torch.zeros_like(inputs.sides[:, 2:])), 1)
        return super().forward(inputs._replace(sides=sides))


def begin_with(network: EvidenceNetwork, scale: int) -> None:
    """Give evidence of one scale the weight with which depth along surfaces would begin."""
    with torch.no_grad():
        network.mix.bias[scale] = MIXTURE[-1]


class Unguided(EvidenceNetwork):
    """Evidence without images."""

    def forward(self, inputs: Inputs):
        """Withhold the images."""
        return super().forward(inputs._replace(guides=torch.zeros_like(inputs.guides)))


def without_correction(config: NetworkConfig) -> EvidenceNetwork:
    """Return a network that only weighs evidence: what it adds to it is zero and stays so."""
    network = EvidenceNetwork(config)
    for layer in network.correct:
        layer.requires_grad_(False)
    return network


class StackAttention(WithoutSurfaces):
    """Features of each plane, related by attention across planes (FOSSA, arXiv 2603.26658), instead of evidence.

    A token is a plane at a patch of 8 pixels, to which the place of the plane among the levels is added. A plane's
    score at a pixel counts for the levels near the plane, as sharpness does in depth from focus; the mean over the
    planes corrects that. The U-Net is the same as with evidence.

    Attributes:
        attends: whether tokens attend to those of the other planes; else each counts alone.
        embeds: whether the places of the planes are added to their tokens.
    """

    attends = True
    embeds = True

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        self.features = nn.Sequential(
            nn.Conv2d(4, TOKEN, 3, padding=1), nn.ReLU(), nn.Conv2d(TOKEN, TOKEN, 3, padding=1)
        )
        self.place = nn.Sequential(nn.Linear(config.levels, TOKEN), nn.ReLU(), nn.Linear(TOKEN, TOKEN))
        self.query, self.key, self.value, self.out = (nn.Linear(TOKEN, TOKEN) for _ in range(4))
        self.norm = nn.LayerNorm(TOKEN)
        self.score = nn.Conv2d(TOKEN, 2, 1)
        self.mean = nn.Conv2d(TOKEN, 2 * config.levels, 1)
        begin_with(self, 1)

    def forward(self, inputs: Inputs):
        """Replace the evidence by what attention makes of the planes."""
        images, planes = inputs.guides.split((GUIDES, MOST_PLANES), 1)
        settings, places = inputs.settings.split((self.config.levels + SETTINGS, MOST_PLANES), 1)
        total, finest = self.attended(planes, places)
        sides = torch.zeros_like(inputs.sides)
        seen = inputs._replace(total=total, finest=finest, guides=images, sides=sides, settings=settings)
        return super().forward(seen)

    def attended(self, planes: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stands for total and finest, (B, L, h, w), from (B, N, H, W) planes and (B, N) places."""
        size = places.shape
        there = places > ABSENT
        level = torch.arange(self.config.levels, device=places.device)
        near = (1 - (level - places[..., None]).abs() / spacing(places, there)[:, None, None]).clamp_min(0)
        images = planes - planes.mean((2, 3), keepdim=True)
        features = self.features(F.pixel_unshuffle(images.flatten(0, 1)[:, None], 2))
        patches = F.avg_pool2d(features, PATCH).unflatten(0, size).permute(0, 3, 4, 1, 2)  # (B, h, w, N, TOKEN)
        tokens = self.norm(patches + self.place(near)[:, None, None] if self.embeds else patches)
        affinity = self.query(tokens) @ self.key(tokens).transpose(-1, -2) / TOKEN**0.5
        affinity = affinity.masked_fill(~there[:, None, None, None], -torch.inf)
        values = self.value(tokens)
        related = self.out(affinity.softmax(-1) @ values if self.attends else values)
        related = related.permute(0, 3, 4, 1, 2).flatten(0, 1)
        features = F.relu(features + enlarged(related, features.shape[2:]))
        scores = self.score(features).unflatten(0, size) * there[..., None, None, None]
        mean = (features.unflatten(0, size) * there[..., None, None, None]).sum(1) / there.sum(1)[:, None, None, None]
        levels = torch.einsum("bnkhw,bnl->bklhw", scores, near.to(scores)) + self.mean(mean).unflatten(1, (2, -1))
        total, finest = levels.float().unbind(1)
        return SCORE * total, finest


class PlanesAlone(StackAttention):
    """Features of each plane, without attention across planes."""

    attends = False


class Unplaced(StackAttention):
    """Stack attention that is not told where the planes are focused."""

    embeds = False


def spacing(places: Tensor, there: Tensor) -> Tensor:
    """Return the (B,) mean spacing of (B, N) places, levels."""
    count = there.sum(1)
    nearest = places.amax(1)
    farthest = places.masked_fill(~there, torch.inf).amin(1)
    return (nearest - farthest) / (count - 1)


def as_shipped(evidence: Evidence) -> tuple[Evidence, dict]:
    """Return the evidence of a stack, and no further fields."""
    return evidence, {}


def focus_only(evidence: Evidence) -> tuple[Evidence, dict]:
    """Return evidence that knows the focus distances and not the lens: sharpness, interpolated between the planes."""
    statistics = focus_measure.band_statistics(evidence.gray, evidence.noise, CONFIG.window)
    moments = depth_profile.normalised_moments(statistics, CONFIG.model_error)
    count = len(evidence.focus)
    own = np.flatnonzero(np.equal(*np.triu_indices(count)))
    sharpness = moments.reshape(len(statistics.products), -1, moments.shape[1])[:, own]
    order = np.argsort(evidence.focus)
    near = np.stack([np.interp(evidence.levels, evidence.focus[order], row) for row in np.eye(count)])
    scores = np.einsum("bnp,nl->bpl", sharpness[:, order], near).astype(np.float32)
    total = scores.sum(0)
    shape = evidence.total.shape
    peaks = np.stack(depth_profile.score_peaks(total, evidence.levels)).astype(np.float32).reshape(3, *shape[1:])
    images = small_images(evidence.gray, shape[1:])
    changed = replace(
        evidence,
        total=np.ascontiguousarray(total.T).reshape(shape),
        finest=np.ascontiguousarray(scores[0].T).reshape(shape),
        surfaces=regressed_surfaces(peaks, images, evidence.focus, evidence.levels, CONFIG),
        gains=np.full(count, 1.0 / (evidence.levels[1] - evidence.levels[0])),
    )
    return changed, {}


def with_planes(evidence: Evidence) -> tuple[Evidence, dict]:
    """Return the evidence, and the planes and their places as further channels of the images and of the settings."""
    step = evidence.levels[1] - evidence.levels[0]
    count = len(evidence.focus)
    planes = np.zeros((MOST_PLANES, *evidence.gray.shape[1:]), np.uint8)
    planes[:count] = np.rint(evidence.gray.clip(0, 255))
    places = np.full(MOST_PLANES, ABSENT, np.float32)
    places[:count] = (evidence.focus - evidence.levels[0]) / step
    return evidence, {"guides": planes, "settings": places}


@dataclass(frozen=True)
class Variant:
    """A variant of the network: how it is made, what it sees of a stack, and the folder of that."""

    make: Callable[[NetworkConfig], EvidenceNetwork] = EvidenceNetwork
    see: Callable[[Evidence], tuple[Evidence, dict]] = as_shipped

    def encode(self, stack: FocusStack, truth: np.ndarray, levels: int) -> Encoding:
        """Return what the variant is trained on or measured by; how hard a stack is is the same for every variant."""
        evidence = stack_evidence(stack, levels, WIDTH)
        seen, further = self.see(evidence)
        made = encoded(seen, truth) | {"possible": possible_error(evidence, truth)}
        for name, channels in further.items():
            made[name] = np.concatenate((made[name], channels))
        return made


VARIANTS = {
    "complete": Variant(),
    "focus distances, no lens": Variant(see=focus_only),
    "no pooling": Variant(Unpooled),
    "no correction": Variant(without_correction),
    "no images": Variant(Unguided),
    "stack attention, no evidence": Variant(StackAttention, with_planes),
    "the same, no attention": Variant(PlanesAlone, with_planes),
    "the same, no focus distances": Variant(Unplaced, with_planes),
}


def write_encodings(variant: Variant, folder: Path, config: EvidenceTraining, source: Source) -> None:
    """Write what a variant sees of a stack and its variations."""
    stacks, truth = source.stacks(config)
    write_fields(folder, source.name, [variant.encode(stack, truth, config.network.levels) for stack in stacks])


def measured(depth: np.ndarray, truth: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """Return AbsRel of all pixels, of those near depth edges, and of the others, and the share within 25 %."""
    edge = near_edges(torch.from_numpy(levels)[None])[0].numpy() > 0
    parts = (truth, np.where(edge, truth, np.nan), np.where(edge, np.nan, truth))
    whole, at_edges, elsewhere = (depth_metrics(depth, part) for part in parts)
    return {
        "abs_rel": whole["abs_rel"],
        "delta_1.25": whole["delta_1.25"],
        "edge": at_edges["abs_rel"],
        "elsewhere": elsewhere["abs_rel"],
    }


def figures_of(network: EvidenceNetwork, encodings: list[Encoding]) -> dict[str, float]:
    """Return the mean figures of the network's own depth; the estimator would draw doubtful depth to surfaces."""
    rows = []
    for encoding in encodings:
        inputs, truth, scale, _ = decoded({name: field[None] for name, field in encoding.items()}, 0)
        height, width = truth.shape
        with torch.inference_mode():
            full = network(padded(inputs)).full[0, :height, :width].numpy()
        first, step = scale.tolist()
        rows.append(measured(1 / (first + step * full), 1 / (first + step * truth.numpy()), truth.numpy()))
    return mean_metrics(rows)


@click.command()
@click.option("--rooms", required=True, type=click.Path(path_type=Path), help="Folder of .npz stacks to train on.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of .npz stacks to measure on.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the runs.")
@click.option("--steps", type=int, help="Steps of every run; the configuration's by default.")
@click.option("--seeds", default=3, show_default=True, help="Runs of every variant.")
@click.option("--name", "names", multiple=True, type=click.Choice(list(VARIANTS)), help="Only these variants.")
@click.option("--workers", default=1, show_default=True, help="Processes that compute evidence.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw every run to this .png file.")
def main(rooms, data, out, steps, seeds, names, workers, plot):
    """Train every variant, write OUT/figures.csv, and print the table."""
    config = load_evidence_config(CONFIGURATION)
    config = replace(config, steps=steps or config.steps)
    sources = find_sources(rooms, config)
    files = [load_stack(path) for path in sorted(data.glob("*.npz"))]
    variants = {name: VARIANTS[name] for name in names or VARIANTS}
    rows, shown = [], {}
    with progress_bar() as bar:
        for seed in range(seeds):
            for name, variant in variants.items():
                folder = out / variant.see.__name__
                task = bar.add_task(f"stacks, {folder.name}", total=len(sources))
                for done in fill_cache(folder, config, sources, workers, partial(write_encodings, variant)):
                    bar.update(task, completed=done)
                run = EvidenceRun(
                    replace(config, seed=seed), out / f"{name.replace(' ', '-')}-{seed}", "cpu", variant.make
                )
                task = bar.add_task(f"{name}, seed {seed}", total=config.steps, completed=run.step)
                cache = EvidenceCache(folder, [source.name for source in sources], config.hardest)
                run.train(cache, config.steps, lambda _losses, task=task: bar.advance(task) or True)
                run.save()
                if variant.see not in shown:
                    shown[variant.see] = [
                        variant.encode(file.stack, file.truth, config.network.levels) for file in files
                    ]
                rows.append({"variant": name, "seed": seed, **figures_of(run.average, shown[variant.see])})
                bar.console.print(f"{name}, seed {seed}: AbsRel {rows[-1]['abs_rel']:.3f}")
    with replacing(out / "figures.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    encodings = next(iter(shown.values()))  # all have the same levels
    classical = ClassicalEstimator()
    reference = mean_metrics(
        [
            measured(classical.estimate(file.stack).depth, file.truth, encoding["truth"])
            for file, encoding in zip(files, encodings, strict=True)
        ]
    )
    print_table(rows, reference)
    if plot is not None:
        draw(rows, reference, plot)


def print_table(rows: list[dict], reference: dict[str, float]) -> None:
    """Print the mean over the seeds, and half of the range between them."""
    table = Table("variant", *FIGURES)
    for name in dict.fromkeys(row["variant"] for row in rows):
        values = np.array([[row[figure] for figure in FIGURES] for row in rows if row["variant"] == name])
        half = np.ptp(values, axis=0) / 2
        table.add_row(name, *(f"{a:.3f} +- {b:.3f}" for a, b in zip(values.mean(0), half, strict=True)))
    table.add_row("classical, for comparison", *(f"{reference[figure]:.3f}" for figure in FIGURES))
    Console(width=140).print(table)


def draw(rows: list[dict], reference: dict[str, float], path: Path) -> None:
    """Draw AbsRel of every run, at edges and elsewhere."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row["variant"] for row in rows))
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
    for axis, key, title in zip(axes, ("edge", "elsewhere"), ("near depth edges", "elsewhere"), strict=True):
        axis.axvline(reference[key], color="0.6", linewidth=1, linestyle="--")
        for place, name in enumerate(names):
            values = [row[key] for row in rows if row["variant"] == name]
            axis.plot(values, [place] * len(values), "o", markersize=5, alpha=0.7)
        axis.set_xlabel(f"mean AbsRel {title}")
        axis.set_xlim(0, 1.1 * max(row[key] for row in rows))
        axis.grid(axis="x", color="0.92")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
