"""A calibration with a board as one HTML page: verdict, weaknesses, figures, plots and pictures."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fossa_ros.calibration.board.board_calibration import BoardCalibration
from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.lens_calibration import TemperatureModel
from fossa_ros.calibration.series import Direction

_COLOURS = {Direction.RISING: "tab:blue", Direction.FALLING: "tab:orange"}
_WIDTH = 320  # px of a picture
_ENLARGED = 200  # times: arrows of residuals
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #22303c; max-width: 1180px; margin: 2em auto; padding: 0 1em; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2em; border-bottom: 1px solid #d5dbe1; }
table { border-collapse: collapse; } td { padding: .25em .8em; border-bottom: 1px solid #e6eaee; }
.verdict { font-size: 18px; padding: .6em 1em; border-left: 6px solid; }
.good { border-color: #2f855a; background: #f0faf4; } .weak { border-color: #c05621; background: #fff7ed; }
.row { display: flex; flex-wrap: wrap; gap: 12px; } figure { margin: 0; } figcaption { font-size: 13px; }
img { max-width: 100%; }
"""


def report_page(result: BoardCalibration) -> str:
    """Return the page, which loads nothing from elsewhere."""
    kind = "good" if result.good else "weak"
    parts = [
        f"<h1>Calibration of {html.escape(result.calibration.device.identity)}</h1>",
        f'<p class="verdict {kind}">{html.escape(result.verdict)}</p>',
    ]
    if result.warnings:
        parts.append("<h2>What is weak, and what to do</h2><ul>")
        parts += [f"<li>{html.escape(each)}</li>" for each in result.warnings]
        parts.append("</ul>")
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in facts(result)
    )
    parts.append(f"<h2>Figures</h2><table>{rows}</table><h2>Plots</h2><div class='row'>")
    for title, draw in _plots(result):
        figure = Figure(figsize=(5.6, 3.7), dpi=90, layout="constrained")
        _drawn(figure.subplots(), title, draw, result)
        parts.append(f'<figure><img alt="{html.escape(title)}" src="{_inline(_png(figure))}"></figure>')
    parts.append("</div><h2>The board in each sweep, where it is sharpest</h2><div class='row'>")
    for number, sweep in enumerate(result.sweeps):
        near, far = result.distances[number].min(), result.distances[number].max()
        error = _reprojection(result, number)
        caption = f"{sweep.name}: {near:.3f} to {far:.3f} m, {len(sweep.corners)} corners, {error:.2f} px"
        picture = bytes(cv2.imencode(".png", picture_of(result, number))[1])
        parts.append(
            f'<figure><img alt="{html.escape(sweep.name)}" src="{_inline(picture)}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    parts.append(f"</div><p><small>fossa calibrate board, {result.calibration.created}</small></p>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Calibration</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def overview(result: BoardCalibration) -> Figure:
    """Return the plots of the page that every calibration has as one figure."""
    figure = Figure(figsize=(15, 7.5), dpi=80, layout="constrained")
    for axes, (title, draw) in zip(figure.subplots(2, 3).flat, _plots(result), strict=False):
        _drawn(axes, title, draw, result)
    return figure


def _plots(result: BoardCalibration) -> tuple[tuple[str, Callable[[Axes, BoardCalibration], None]], ...]:
    always = (
        ("Focus over command", _focus),
        ("Each peak less the curve", _residuals),
        ("Sharpness of one corner of each sweep", _sharpness),
        ("Breathing", _breathing),
        ("Blur against dioptres", _blur),
        (f"Corners seen, and their residuals {_ENLARGED} times enlarged", _corners),
    )
    temperature = result.calibration.temperature
    warmed = temperature is not None and temperature.coefficient is not None
    return (*always, ("Drift with temperature", _drift)) if warmed else always


def _drawn(axes: Axes, title: str, draw: Callable[[Axes, BoardCalibration], None], result: BoardCalibration) -> None:
    draw(axes, result)
    axes.set_title(title, fontsize=10)


def facts(result: BoardCalibration) -> Iterator[tuple[str, str]]:
    """Yield name and value of everything that a calibration found, for people."""
    made, camera = result.calibration, result.adjustment.camera
    K, spread = camera.K, result.adjustment.fx_uncertainty
    yield "focus", f"{made.range[0]:.2f} to {made.range[1]:.2f} D +- {made.uncertainty:.3f} D"
    yield "hysteresis", f"{made.hysteresis:.3f} D" if len(result.fit.curves) > 1 else "unknown"
    yield "drift", _drift_words(made.temperature)
    yield (
        "camera",
        f"fx {K[0, 0]:.2f} +- {spread * K[0, 0]:.2f}, fy {K[1, 1]:.2f}, cx {K[0, 2]:.1f}, cy {K[1, 2]:.1f} px at "
        f"{camera.reference:.2f} D",
    )
    yield "distortion", f"{camera.model} {', '.join(f'{each:.4g}' for each in camera.D)}"
    if result.models:
        errors = ", ".join(f"{name} {error:.3f} px" for name, error in result.models.items())
        yield "models, on sweeps left out", errors
    if made.breathing is not None:
        scale = made.breathing.scale
        yield (
            "breathing",
            f"{scale.max() / scale.min() - 1:.2%} over the range, +- {made.breathing.uncertainty:.3%}",
        )
    if result.blur is not None and made.optics is not None and made.optics.pupil is not None:
        yield (
            "blur",
            f"{result.blur.pixels_per_dioptre:.2f} +- {result.blur.uncertainty:.2f} px/D: an entrance pupil of "
            f"{1000 * made.optics.pupil:.2f} mm",
        )
    yield "entrance pupil", str(result.pupil)
    yield "corners", f"{len(result.adjustment.residuals)}, residual {result.adjustment.deviations[0]:.3f} px"
    scale_words = "bar measured" if result.board.measured else "bar not measured"
    yield "board", f"{result.board.paper}, squares of {1000 * result.board.square:.2f} mm, {scale_words}"


def _drift_words(temperature: TemperatureModel | None) -> str:
    if temperature is None:
        return "unknown: the lens has no thermometer"
    seen = f"between {temperature.low:.1f} and {temperature.high:.1f} degC"
    if temperature.coefficient is None:
        return f"unknown: the lens stayed {seen}"
    words = f"{temperature.coefficient:+.4f}" if temperature.coefficient else "none found, 0"
    return f"{words} +- {temperature.uncertainty:.4f} D/degC {seen}"


def _label(result: BoardCalibration) -> str:
    device = result.calibration.device
    return f"{device.quantity} [{device.unit}]"


def _focus(axes: Axes, result: BoardCalibration) -> None:
    for way, curve in result.fit.curves.items():
        commands = np.linspace(curve.commands[0], curve.commands[-1], 200)
        axes.plot(commands, curve.focus(commands), color=_COLOURS[way], lw=1, label=str(way))
        peaks = result.peaks[way]
        axes.plot(peaks.commands, _powers(result, way), ".", ms=3, alpha=0.5, color=_COLOURS[way])
    axes.set(xlabel=_label(result), ylabel="focus [D]")
    axes.legend(fontsize=8)


def _drift(axes: Axes, result: BoardCalibration) -> None:
    temperature = result.calibration.temperature
    assert temperature is not None and temperature.coefficient is not None
    for way, left in result.fit.residuals.items():
        degrees = result.peaks[way].temperatures
        drift = temperature.coefficient * (degrees - temperature.reference)
        axes.plot(degrees, 1000 * (drift - left), ".", ms=4, alpha=0.6, color=_COLOURS[way], label=str(way))
    ends = np.array([temperature.low, temperature.high])
    axes.plot(ends, 1000 * temperature.coefficient * (ends - temperature.reference), "k-", lw=0.8)
    axes.set(xlabel="lens [degC]", ylabel="focus less the curve [mD]")
    axes.legend(fontsize=8)


def _powers(result: BoardCalibration, way: Direction) -> np.ndarray:
    peaks = result.peaks[way]
    return np.array(
        [1 / result.distances[sweep][corner] for sweep, corner in zip(peaks.sweep, peaks.corner, strict=True)]
    )


def _residuals(axes: Axes, result: BoardCalibration) -> None:
    for way, left in result.fit.residuals.items():
        axes.plot(_powers(result, way), 1000 * left, ".", ms=4, color=_COLOURS[way], label=str(way))
    axes.axhline(0, color="grey", lw=0.6)
    axes.set(xlabel="board [D]", ylabel="[mD]")
    axes.legend(fontsize=8)


def _sharpness(axes: Axes, result: BoardCalibration) -> None:
    for sweep in result.sweeps:
        usable = np.flatnonzero(np.isfinite(sweep.sharpness).all(axis=0))
        if not len(usable):
            continue
        index = usable[len(usable) // 2]
        for way, colour in _COLOURS.items():
            frames = sweep.of(way)
            if len(frames):
                values = sweep.sharpness[frames, index] / sweep.sharpness[:, index].max()
                axes.plot(sweep.commands[frames], values, ".-", lw=0.7, ms=3, color=colour, alpha=0.7)
    axes.set(xlabel=_label(result), ylabel="relative sharpness")


def _breathing(axes: Axes, result: BoardCalibration) -> None:
    breathing = result.calibration.breathing
    assert breathing is not None  # a board always tells
    places = np.linspace(max(breathing.dioptres[0], 0.0), breathing.dioptres[-1], 100)
    values = breathing.at(places)
    axes.plot(places, 100 * (values[:, 0] - 1), color="tab:green", label="scale")
    axes.set(xlabel="focus [D]", ylabel="scale - 1 [%]")
    shift = axes.twinx()
    shift.plot(places, values[:, 1], "--", color="tab:purple", lw=0.8, label="right")
    shift.plot(places, values[:, 2], ":", color="tab:purple", lw=0.8, label="down")
    shift.set_ylabel("shift [px]")
    shift.legend(fontsize=8)


def _blur(axes: Axes, result: BoardCalibration) -> None:
    if result.blur is None:
        axes.text(0.5, 0.5, "was not measured", ha="center", transform=axes.transAxes)
        return
    away = np.abs(result.blur.away)
    axes.plot(away, result.blur.diameters, ".", ms=3, alpha=0.6, label="measured")
    line = np.array([0, away.max()])
    axes.plot(line, result.blur.pixels_per_dioptre * line, "k-", lw=0.8, label="thin lens")
    axes.set(xlabel="focus less board [D]", ylabel="diameter [px]")
    axes.legend(fontsize=8)


def _corners(axes: Axes, result: BoardCalibration) -> None:
    places = np.concatenate([sweep.pixels for sweep in result.sweeps])
    left = _ENLARGED * result.adjustment.residuals
    axes.quiver(*places.T, *left.T, angles="xy", scale_units="xy", scale=1, width=0.002, color="tab:red")
    axes.plot(*places.T, ".", ms=2, color="grey")
    height, width = result.sweeps[0].size
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="[px]", ylabel="[px]")


def _reprojection(result: BoardCalibration, number: int) -> float:
    first = sum(len(sweep.frames) for sweep in result.sweeps[:number])
    left = result.adjustment.residuals[first : first + len(result.sweeps[number].frames)]
    return math.sqrt(float(np.mean(np.square(left).sum(axis=1))))


def picture_of(result: BoardCalibration, number: int) -> np.ndarray:
    """Return a small (H, W, 3) uint8 BGR picture of the sharpest frame of a sweep, with the corners of the board."""
    sweep: SweepObservation = result.sweeps[number]
    frame = int(np.bincount(sweep.frames).argmax())
    image = cv2.cvtColor(result.series[number].frames[frame].load(), cv2.COLOR_GRAY2BGR)
    scale = _WIDTH / image.shape[1]
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for place in sweep.places * scale:
        cv2.circle(image, tuple(np.rint(place).astype(int).tolist()), 4, (80, 60, 230), 1, cv2.LINE_AA)
    return np.asarray(image)


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _inline(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
