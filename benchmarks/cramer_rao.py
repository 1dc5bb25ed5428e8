"""Hold estimators against the Cramér-Rao bound of depth: no estimator without a bias has a smaller scatter.

    python benchmarks/cramer_rao.py --picture limit.png

A flat textured surface parallel to the sensor is blurred by the discs of five planes, and white noise is added. Blur
and noise are those of the encoded grey levels, which is exact for faint textures. The texture is unknown to the
estimators, and so it is to the bound: docs/optics.md has the formula.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.progress import track

from fossa_ros.commands.evaluate import make_estimator
from fossa_ros.core import optics
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.estimators.classical.blur_model import disc_transfer
from fossa_ros.simulation.camera import SimulatedCamera

CAMERA = SimulatedCamera(width=256, height=256, fx=320.0, f_number=1.4)
FOCUS = optics.dioptre_space(0.35, 6.0, 5)
CONTRAST = 20.0  # grey levels: standard deviation of the texture
NOISES = (0.5, 1.0, 2.0, 4.0, 8.0)  # grey levels
ROUNDING = 1.0 / 12.0  # variance of the rounding to whole grey levels
WINDOWS = (8, 16, 32)  # px: sides of the windows that the bound is drawn for
MARGIN = 32  # px at the borders, which are not counted
STEP = 1e-3  # dioptres, of the derivative


def texture(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the (H, W) complex coefficients of a texture, whose amplitudes fall as 1/f, and their frequencies."""
    shape = (CAMERA.height, CAMERA.width)
    frequency = 2 * np.pi * np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    amplitude = 1 / np.maximum(frequency, frequency[0, 1])
    amplitude[0, 0] = 0
    coefficients = amplitude * np.fft.fft2(rng.standard_normal(shape), norm="ortho")
    return coefficients * CONTRAST / np.sqrt(np.mean(np.abs(coefficients) ** 2)), frequency


def transfers(power: float, frequency: np.ndarray) -> np.ndarray:
    """Return the (N, H, W) transfer of every plane for a surface at ``power`` dioptres."""
    radii = optics.blur_radius(1 / power, FOCUS, CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size)
    return np.stack([disc_transfer(np.asarray(radius), frequency) for radius in np.abs(radii)])


def bound(power: float, coefficients: np.ndarray, frequency: np.ndarray, noise: float, window: int) -> float:
    """Return the least standard deviation (dioptres) of depth from a window of ``window`` x ``window`` px."""
    transfer = transfers(power, frequency)
    slope = (transfers(power + STEP, frequency) - transfers(power - STEP, frequency)) / (2 * STEP)
    # Along the transfer itself a change of depth cannot be told from a change of the texture.
    along = (slope * transfer).sum(0) ** 2 / np.maximum((transfer**2).sum(0), 1e-12)
    information = np.sum(np.abs(coefficients) ** 2 * ((slope**2).sum(0) - along)) / (noise**2 + ROUNDING)
    return float(1 / np.sqrt(information * window**2 / coefficients.size))


def rendered(power: float, coefficients, frequency, noise: float, rng: np.random.Generator) -> FocusStack:
    """Return the focus stack of a flat surface."""
    planes = []
    for transfer, focus in zip(transfers(power, frequency), FOCUS, strict=True):
        gray = 128 + np.fft.ifft2(coefficients * transfer, norm="ortho").real
        gray = gray + noise * rng.standard_normal(gray.shape)
        image = np.clip(np.rint(gray), 0, 255).astype(np.uint8)
        planes.append(FocusPlane(np.repeat(image[..., None], 3, axis=2), float(focus)))
    return FocusStack(tuple(planes), CAMERA.K, CAMERA.f_number, CAMERA.focal_length)


@click.command()
@click.option("--model", "models", multiple=True, default=("classical", "lens_aware"), show_default=True)
@click.option("--surfaces", default=8, show_default=True, type=click.IntRange(1), help="Surfaces for each noise.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw error against noise.")
def main(models, surfaces, picture):
    """Print the error of each estimator in px of blur and as a multiple of the bound."""
    rng = np.random.default_rng(0)
    estimators = {name: make_estimator(name, None, None if name == "classical" else "cpu", None)[0] for name in models}
    near, far = optics.dioptres(FOCUS[[0, -1]])
    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    bounds = {window: [] for window in WINDOWS}
    found = {name: [] for name in models}
    for noise in track(NOISES, "Noise"):
        errors, limits = {name: [] for name in models}, {window: [] for window in WINDOWS}
        for share in (np.arange(surfaces) + 0.5) / surfaces:
            power = far + share * (near - far)
            scale = optics.blur_per_dioptre(1 / power, CAMERA.focal_length, CAMERA.f_number, CAMERA.pixel_size)
            coefficients, frequency = texture(rng)
            stack = rendered(power, coefficients, frequency, noise, rng)
            for name, estimator in estimators.items():
                depth = estimator.estimate(stack).depth[inner]
                errors[name].append(scale * np.abs(1 / depth[np.isfinite(depth)] - power))
            for window in WINDOWS:
                limits[window].append(scale * bound(power, coefficients, frequency, noise, window))
        for window in WINDOWS:
            bounds[window].append(np.sqrt(np.mean(np.square(limits[window]))))
        for name in models:
            found[name].append(np.quantile(np.concatenate(errors[name]), 0.68))
    for index, noise in enumerate(NOISES):
        limit = bounds[WINDOWS[1]][index]
        parts = [f"{name} {found[name][index]:.3f} ({found[name][index] / limit:.1f}x)" for name in models]
        print(f"noise {noise:g}: bound of {WINDOWS[1]} px {limit:.4f} px of blur; 68 % within: {', '.join(parts)}")
    if picture is not None:
        draw(bounds, found, picture)


def draw(bounds: dict, found: dict, path: Path) -> None:
    """Draw the errors and the bounds against noise."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for number, (window, values) in enumerate(bounds.items()):
        axes.loglog(NOISES, values, "--", color=f"{0.3 + 0.2 * number:.1f}", label=f"bound, {window} x {window} px")
    for name, values in found.items():
        axes.loglog(NOISES, values, "o-", label=name)
    axes.set(xlabel="noise, grey levels", ylabel="error of depth, px of blur (68 %)")
    axes.set_xticks(NOISES, [f"{noise:g}" for noise in NOISES])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
