"""Fit the confidence of nano: weights of fossa_ros/estimators/agreement.py, a logistic regression of right pixels.

    python benchmarks/fit_confidence.py --data stacks:choosing --data photographs:rgbd --data stacks:rooms

Right is a relative error below 10 %. Every set weighs the same. Each scene of a set is also predicted by weights that
were fitted without it, which is how columns were chosen.
"""

from __future__ import annotations

import click
import cv2
import numpy as np
from confidence_sets import samples
from scipy.optimize import minimize

from fossa_ros.estimators import agreement, create_estimator
from fossa_ros.estimators.calibration_curve import CLOSE
from fossa_ros.estimators.evidence import stack_evidence

PIXELS = 2500  # of a stack
RIDGE = 1e-3


def fitted(columns: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the constant and the weights of a logistic regression, with a ridge in units of each column's spread."""
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    scaled = np.c_[np.ones(len(columns)), (columns - mean) / spread]
    weight = weight / weight.sum()

    def loss(b):
        z = scaled @ b
        gradient = scaled.T @ (weight * (1 / (1 + np.exp(-z)) - right))
        value = np.sum(weight * (np.logaddexp(0, z) - right * z)) + RIDGE * np.sum(b[1:] ** 2)
        return value, gradient + 2 * RIDGE * np.r_[0, b[1:]]

    b = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B").x
    return np.r_[b[0] - np.sum(b[1:] * mean / spread), b[1:] / spread]


def calibration_error(probability: np.ndarray, right: np.ndarray, weight: np.ndarray) -> float:
    """Return the expected calibration error over ten bins."""
    number = np.minimum((10 * probability).astype(int), 9)
    return float(np.abs(np.bincount(number, weight * (probability - right), 10)).sum() / weight.sum())


@click.command()
@click.option("--data", "sets", multiple=True, help="KIND:DIR, a set of fossa evaluate; repeatable.")
def main(sets):
    """Print the calibration error of each set, its scenes left out in turn, and the weights of all."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    estimator = create_estimator("fossa", model="nano", device="cpu")
    rows = []
    for source in sets:
        kind, _, folder = source.partition(":")
        parts = []
        for name, stack, truth in samples(kind, folder):
            depth = estimator.depth(stack)
            evidence = stack_evidence(stack, agreement.LEVELS, agreement.WIDTH)
            columns = agreement.agreement(evidence.levels, evidence.total, depth)
            size = columns.shape[1::-1]
            true, found = (cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in (truth, depth))
            both = np.flatnonzero(np.isfinite(true) & (true > 0) & np.isfinite(found))
            both = rng.choice(both, min(len(both), PIXELS), replace=False)
            right = np.abs(found.ravel()[both] / true.ravel()[both] - 1) < CLOSE
            parts.append((f"{source} {name}", columns.reshape(-1, columns.shape[-1])[both], right))
        rows += [(source, *part, np.full(len(part[2]), 1 / len(parts) / len(part[2]))) for part in parts]
    columns, right, weight = (np.concatenate([row[i] for row in rows]) for i in (2, 3, 4))
    group, scene = (np.repeat([row[i] for row in rows], [len(row[3]) for row in rows]) for i in (0, 1))
    for source in sets:
        inside = group == source
        probability = np.zeros(len(right))
        for name in np.unique(scene[inside]):
            left_out = scene == name
            b = fitted(columns[~left_out], right[~left_out], weight[~left_out])
            probability[left_out] = 1 / (1 + np.exp(-(b[0] + columns[left_out] @ b[1:])))
        error = calibration_error(probability[inside], right[inside], weight[inside])
        print(f"{source}: {right[inside].mean():.2f} right, expected calibration error {error:.3f}")
    print(np.array2string(fitted(columns, right, weight), precision=4, separator=", "))


if __name__ == "__main__":
    main()
