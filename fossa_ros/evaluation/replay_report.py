"""One self-contained HTML page of replays: figures, plots and pictures, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fossa_ros import __version__
from fossa_ros.evaluation import report_viewer
from fossa_ros.evaluation.metrics import mean_metrics
from fossa_ros.evaluation.replay import Replay, kind_of_reason
from fossa_ros.evaluation.replay_figures import BLUR_BINS, DEPTH_BINS, Bins, ErrorProfile, SweepFigures
from fossa_ros.evaluation.replay_outputs import PICTURES
from fossa_ros.io.atomic import replacing

SHOWN = 3  # sweeps of each bag whose pictures are shown
WIDTH = 400  # px of a picture
LEAST_PIXELS = 500  # of a bin, below which its mean says nothing
NAMES = {
    "all_in_focus": "all in focus",
    "depth": "depth",
    "error": "relative error, black 0 to bright 25 %",
    "confidence": "confidence",
}
INK, BLUE, RED = "#22303c", "#2b6cb0", "#c0392b"
STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; color: {INK}; max-width: 1180px; margin: 2em auto; padding: 0 1em; }}
h1, h2 {{ font-weight: 600; }} h2 {{ margin-top: 2em; border-bottom: 1px solid #d5dbe1; }}
table {{ border-collapse: collapse; }} th {{ font-weight: 600; }}
th, td {{ padding: .25em .8em; text-align: right; border-bottom: 1px solid #e6eaee; }}
th:first-child, td:first-child {{ text-align: left; }}
.plots, .sweep {{ display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; }}
figure {{ margin: 0; }} figcaption {{ font-size: 13px; color: #5a6b7a; }} .sweep img {{ width: 280px; }}
.plots img {{ width: 560px; max-width: 100%; }} .damage {{ color: {RED}; }}
{report_viewer.STYLE}"""


def write_report(path, page: str) -> None:
    """Write a page atomically; raises InputError."""
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


def report_page(replays: Sequence[tuple[Replay, Path]]) -> str:
    """Return the page of some replays, each with the folder of its pictures."""
    sweeps = [sweep for replay, _ in replays for sweep in replay.sweeps]
    several = len(replays) > 1
    title = f"Replay of {len(replays)} bags" if several else f"Replay of {Path(replays[0][0].source).name}"
    parts = [f"<h1>{html.escape(title)}</h1>", _overall(replays, sweeps)]
    parts.append(_plots(sweeps))
    for replay, folder in replays:
        parts.append(_bag(replay, folder, several))
    parts.append(f"<p><small>fossa_ros {__version__}, fossa report</small></p>")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + f"\n<script>{report_viewer.SCRIPT}</script></body></html>\n"
    )


def _overall(replays: Sequence[tuple[Replay, Path]], sweeps: list[SweepFigures]) -> str:
    head = ("bag", "estimator", "time", "speed", "sweeps", "accepted", "AbsRel", "RMSE", "&lt; 1.25", "known")
    rows = [_row(html.escape(Path(replay.source).name), replay.estimator, [replay]) for replay, _ in replays]
    if len(replays) > 1:
        rows.append(_row("<b>all</b>", "", [replay for replay, _ in replays]))
    header = "".join(f"<th>{name}</th>" for name in head)
    return f'<table class="figures"><tr>{header}</tr>{"".join(rows)}</table>'


def _row(name: str, estimator: str, replays: list[Replay]) -> str:
    sweeps = [sweep for replay in replays for sweep in replay.sweeps]
    scored = [sweep.metrics for sweep in sweeps if sweep.metrics]
    metrics = mean_metrics(scored) if scored else {}
    seconds, wall = sum(r.seconds for r in replays), sum(r.wall_seconds for r in replays)
    accepted = sum(sweep.accepted for sweep in sweeps)
    cells = [
        name,
        html.escape(estimator),
        f"{seconds:.1f} s",
        f"{seconds / wall:.1f}x" if wall else "",
        str(len(sweeps)),
        f"{accepted} ({accepted / len(sweeps):.0%})" if sweeps else "0",
        f"{metrics['abs_rel']:.4f}" if metrics else "unknown",
        f"{metrics['rmse']:.3f} m" if metrics else "",
        f"{metrics['delta_1.25']:.1%}" if metrics else "",
        f"{metrics['coverage']:.1%}" if metrics else "",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _bag(replay: Replay, folder: Path, several: bool) -> str:
    parts = [f"<h2>{html.escape(replay.source)}</h2>"]
    if replay.damage:
        parts.append(f'<p class="damage">The bag is {html.escape(replay.damage)}.</p>')
    if replay.fault:
        parts.append(f'<p class="damage">No frame can be used: {html.escape(replay.fault)}.</p>')
    if replay.interrupted:
        parts.append(f'<p class="damage">Interrupted after {replay.seconds:.1f} s.</p>')
    if several:
        parts.append(_plots(replay.sweeps))
    figures = {f"{sweep.sweep:06d}": sweep for sweep in replay.sweeps}
    written = sorted({picture.name.partition("-")[0] for picture in (folder / PICTURES).glob("[0-9]*-depth.png")})
    written = [number for number in written if number.isdecimal()]
    chosen = [written[round(at)] for at in np.linspace(0, len(written) - 1, min(SHOWN, len(written)))]
    for number in dict.fromkeys(chosen):
        sweep = figures.get(number)
        error = f", AbsRel {sweep.metrics['abs_rel']:.4f}" if sweep is not None and sweep.metrics else ""
        parts.append(f"<p>Sweep {int(number)}{error}</p>")
        shown = [
            f'<figure><img class="picture" alt="{name}" src="{_inline(folder / PICTURES / f"{number}-{name}.png")}">'
            f"<figcaption>{caption}</figcaption></figure>"
            for name, caption in NAMES.items()
            if (folder / PICTURES / f"{number}-{name}.png").is_file()
        ]
        parts.append(f'<div class="sweep">{"".join(shown)}</div>')
        parts.append(f'<div class="sweep">{"".join(report_viewer.viewers(folder / PICTURES, number, _inline))}</div>')
    return "\n".join(parts)


def _plots(sweeps: list[SweepFigures]) -> str:
    plots = [("latency", _latency(sweeps)), ("verdicts and reasons", _reasons(sweeps))]
    plots.append(("error against depth", _error(sweeps, "by_depth", DEPTH_BINS, "true depth [m]")))
    plots.append(("error against blur", _error(sweeps, "by_blur", BLUR_BINS, "blur in the reference plane [px]")))
    shown = [f'<img class="plot" alt="{name}" src="{_svg(figure)}">' for name, figure in plots if figure is not None]
    return f'<div class="plots">{"".join(shown)}</div>'


def _latency(sweeps: list[SweepFigures]) -> Figure | None:
    series = {
        "sweep": [sweep.sweep_ms for sweep in sweeps if sweep.accepted],
        "motion check": [sweep.motion_ms for sweep in sweeps],
        "inference": [sweep.inference_ms for sweep in sweeps],
    }
    series = {name: finite for name, values in series.items() if (finite := [v for v in values if v == v and v > 0])}
    if not series:
        return None
    everything = [value for values in series.values() for value in values]
    low, high = min(everything) * 0.95, max(everything) * 1.05
    figure, axes = _axes("milliseconds", "sweeps")
    for name, values in series.items():
        label = f"{name}, median {np.median(values):.0f} ms"
        axes.hist(values, np.geomspace(low, high, 40), label=label, alpha=0.7)
    _logarithmic(axes)
    axes.legend(loc="upper left", frameon=False)  # sweeps, the most and the longest, are on the right
    axes.set_title("Latency")
    return figure


def _reasons(sweeps: list[SweepFigures]) -> Figure | None:
    counts = Counter("accepted" if sweep.accepted else _kind(sweep) for sweep in sweeps)
    if not counts:
        return None
    ordered = counts.most_common(8)[::-1]
    figure, axes = _axes("sweeps", "")
    colours = [BLUE if name == "accepted" else RED for name, _ in ordered]
    bars = axes.barh(range(len(ordered)), [count for _, count in ordered], color=colours, height=0.45)
    axes.bar_label(bars, padding=3)
    axes.set_yticks([])
    for place, (name, _) in enumerate(ordered):
        axes.text(0, place + 0.3, name if len(name) < 80 else f"{name[:78]} ...", fontsize=7.5, va="bottom")
    axes.set_ylim(-0.5, len(ordered) - 0.1)
    axes.margins(x=0.12)
    axes.set_title("What became of the sweeps")
    return figure


def _kind(sweep: SweepFigures) -> str:
    """Return verdict and reason of a sweep without its numbers, so that equal reasons count together."""
    reason = kind_of_reason(sweep.reason)
    return f"{sweep.verdict}: {reason}" if reason else sweep.verdict


def _error(sweeps: Iterable[SweepFigures], which: str, bins: Bins, label: str) -> Figure | None:
    profiles: list[ErrorProfile] = [profile for sweep in sweeps if (profile := getattr(sweep, which)) is not None]
    if not profiles:
        return None
    total = reduce(add, profiles)
    counts, edges = np.array(total.counts), bins.edges
    means = np.where(counts >= LEAST_PIXELS, total.means(), np.nan)
    centres = np.sqrt(edges[:-1] * edges[1:]) if bins.ratio else (edges[:-1] + edges[1:]) / 2
    figure, axes = _axes(label, "mean relative error")
    axes.plot(centres, means, "o-", color=BLUE, markersize=3.5)
    axes.set_ylim(bottom=0)
    share = axes.twinx()
    share.stairs(counts / max(counts.sum(), 1), edges, fill=True, color="#9aa7b4", alpha=0.35)
    share.set_ylabel("share of pixels", color="#7b8794")
    share.spines["top"].set_visible(False)
    axes.set_zorder(1)
    axes.patch.set_visible(False)
    if bins.ratio:
        _logarithmic(axes)
    shown = np.flatnonzero(counts)
    if shown.size:
        axes.set_xlim(edges[shown[0]], edges[shown[-1] + 1])
    axes.set_title(f"Error against {label.partition(' [')[0]}")
    return figure


def _logarithmic(axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _axes(x: str, y: str):
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _inline(path: Path) -> str:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        return ""
    size = WIDTH, round(picture.shape[0] * WIDTH / picture.shape[1])
    done, data = cv2.imencode(".jpg", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if done else ""
