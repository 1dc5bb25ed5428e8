"""The paper's ablations on nano: stack attention, the embedded focus distance, and mean fusion.

Every variant is trained on the same stacks in the same order, and measured on held-out stacks and on the path-traced
ones of the tests. Each run is a folder in OUT; the same command resumes it:

    python benchmarks/ablations.py OUT --steps 600

Differences between two seeds of one variant show the noise of the table: --seeds 3 4 trains each variant twice.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fossa_ros.training.config import load_config
from fossa_ros.training.loop import Run, render_block
from fossa_ros.training.report import FIGURES, UNSEEN_BLOCK, evaluate_unseen, read_validation, validate

ROOT = Path(__file__).parents[1]
VARIANTS = {
    "nano": {},
    "no stack attention": {"stack_attention": False},
    "focus distance hidden": {"focus": "none"},
    "index instead of distance": {"focus": "index"},
    "FiLM instead of adding": {"focus": "film"},
    "maximum instead of mean": {"fusion": "max"},
}


def main():
    """Train every variant and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the runs")
    parser.add_argument("--config", type=Path, default=ROOT / "config/training/ablation.yaml")
    parser.add_argument("--steps", type=int, help="steps of every run; the configuration's by default")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds; the configuration's by default")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    steps, seeds = arguments.steps or config.steps, arguments.seeds or [config.seed]
    files = read_validation(ROOT / "tests/data/path_traced")
    table = Table(
        "variant", "seed", *(f"unseen {name}" for name in FIGURES), *(f"path-traced {name}" for name in FIGURES)
    )
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Training", total=len(VARIANTS) * len(seeds) * steps)
        for seed in seeds:
            unseen = render_block(dataclasses.replace(config, seed=seed), 0, "cpu", UNSEEN_BLOCK)
            for name, architecture in VARIANTS.items():
                bar.update(task, description=f"Training {name}, seed {seed}")
                changed = dataclasses.replace(config, architecture=architecture, steps=steps, seed=seed)
                run = Run(changed, arguments.out / f"{name.replace(' ', '-')}-{seed}", arguments.device)
                bar.advance(task, run.step)
                run.train(steps, workers=1, after_step=lambda _losses: bar.advance(task) or True)
                run.save()
                found = evaluate_unseen(run.average, unseen, run.device), validate(run.average, files)["mean"]
                table.add_row(name, str(seed), *(f"{part[figure]:.3f}" for part in found for figure in FIGURES))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
