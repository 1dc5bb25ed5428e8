"""Draw what estimators make of stacks with known depth, beside the truth.

python benchmarks/depth_pictures.py --data stacks:DIR --out docs/lens-aware.jpg --name stairwell --name masts
"""

from __future__ import annotations

from pathlib import Path

import click
from confidence_sets import samples

from fossa_ros.commands.evaluate import make_estimator
from fossa_ros.core.all_in_focus import compose_all_in_focus
from fossa_ros.evaluation.metrics import depth_metrics
from fossa_ros.io.pictures import colour_depth, contact_sheet, depth_range, write_picture

MODELS = ("classical", "lens_aware")


@click.command()
@click.option("--data", required=True, help="KIND:DIR, a set of fossa evaluate.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A .png or .jpg file.")
@click.option("--name", "names", multiple=True, help="Only this stack; repeatable.")
def main(data, out, names):
    """Write a row for every stack: all in focus, true depth, and depth and AbsRel of every estimator."""
    estimators = {
        model: make_estimator(model, None, None if model == "classical" else "cpu", None)[0] for model in MODELS
    }
    kind, _, folder = data.partition(":")
    panels = []
    for name, stack, truth in samples(kind, folder):
        if names and name not in names:
            continue
        near, far = depth_range(truth)
        panels += [
            (name, compose_all_in_focus(stack, truth)),
            (f"{near:.2f} to {far:.2f} m", colour_depth(truth, near, far)),
        ]
        for label, estimator in estimators.items():
            depth = estimator.estimate(stack).depth
            error = depth_metrics(depth, truth)["abs_rel"]
            panels.append((f"{label}: {error:.3f}", colour_depth(depth, near, far)))
    write_picture(out, contact_sheet(panels, 2 + len(estimators), 200), quality=70)


if __name__ == "__main__":
    main()
