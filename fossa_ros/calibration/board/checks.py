"""What is wrong with sweeps of a board, or weak about a calibration, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fossa_ros.calibration.board.adjustment import Adjustment
from fossa_ros.calibration.board.board import BOARDS, Board
from fossa_ros.calibration.board.board_calibration import BoardCalibration
from fossa_ros.calibration.board.detection import papers_in
from fossa_ros.calibration.board.guidance import tilt_of, uncovered_corners
from fossa_ros.calibration.board.observation import SweepObservation
from fossa_ros.calibration.series import CalibrationSeries, Direction
from fossa_ros.core.errors import InputError

FEWEST_SWEEPS = 4
_LOOKED_AT = 9  # frames of a sweep in which the paper is recognised
_FLAT = 1.25  # greatest over least sharpness of a sweep whose lens does not follow its commands
_CHANGES = 1.6  # of the noise between frames: images that differ show another focus
_CERTAIN = 4.0  # deviations
_BENT, _WEAK_BEND = 0.006, 0.002  # of the width of the board: sag that spoils the distances, and that weakens them
_TILTED = np.radians(15)
_DRIFTS = 0.03  # D: of focus that may have drifted without being told
_SAME_PLACE = 0.01  # of the nearest distance, by which the entrance pupil may move
_SAME_DIOPTRES = 0.05  # by which a lens commanded in dioptres may differ from the board


def board_in(series: Sequence[CalibrationSeries], paper: str | None = None) -> Board:
    """Return the board, as designed, that the images show; raise InputError if it is none, or not that of ``paper``."""
    for each in series:
        frames = each.frames[:: max(len(each.frames) // _LOOKED_AT, 1)]
        seen = papers_in(frame.load() for frame in frames)
        if seen:
            shown = seen.most_common(1)[0][0]
            if paper not in (None, shown):
                raise InputError(
                    f"The images show the {shown} board, not the {paper} board, whose squares have another size; give "
                    f"--paper {shown}, or leave it out."
                )
            return BOARDS[shown]
    raise InputError(
        "No image shows the board; print one with 'fossa calibrate print', show all of it, in focus in some frame of "
        "each sweep, with more light, and nearer if its squares are smaller than 20 px."
    )


def check_lens_moves(series: Sequence[CalibrationSeries], sweeps: Sequence[SweepObservation | None]) -> None:
    """Refuse sweeps in which the focus does not follow the commands, and frames that are copies. Raises InputError."""
    for number, each in enumerate(series):
        if not each.passes():
            count, commands = len(each.frames), len({frame.command for frame in each.frames})
            raise InputError(
                f"Sweep {number + 1} has {count} image{'s' * (count > 1)} at {commands} command{'s' * (commands > 1)}, "
                "which is no sweep; step the lens through its range in front of the board, at least five commands in "
                "one direction."
            )
    seen = [sweep for sweep in sweeps if sweep is not None]
    copies = [(sweep.name, number) for sweep in seen for number in sweep.copies]
    if copies:
        name, number = copies[0]
        raise InputError(
            f"{len(copies)} frames, first frame {number + 1} of {name}, are copies of the frame before although the "
            "command differs: the camera delivered an old image; let it run freely at a fixed rate, wait longer for "
            "the lens to settle, and record the sweep again."
        )
    flat = [sweep for sweep in seen if _contrast(sweep) < _FLAT]
    if len(flat) * 2 <= len(seen):
        return
    if any(_wanders(sweep) for sweep in flat):
        raise InputError(
            f"In {len(flat)} of {len(seen)} sweeps the board is about equally sharp at every command while the image "
            "changes: something else focuses the camera; switch its autofocus off (v4l2-ctl -c "
            "focus_automatic_continuous=0) and record again."
        )
    raise InputError(
        f"In {len(flat)} of {len(seen)} sweeps no command changes the image: the lens does not move; check its cable "
        "and supply, try 'fossa lens', and record again."
    )


def check_sizes(sweeps: Sequence[SweepObservation]) -> None:
    """Refuse sweeps whose images have several sizes: they are of several cameras, or modes. Raises InputError."""
    first = sweeps[0]
    for sweep in sweeps:
        if sweep.size != first.size:
            a, b = (f"{width}x{height}" for height, width in (first.size, sweep.size))
            raise InputError(
                f"The images of {first.name} have {a} px and those of {sweep.name} {b} px; calibrate from sweeps of "
                "one camera at one resolution."
            )


def check_enough(count: int, recorded: int) -> None:
    """Refuse too few sweeps that show the board. Raises InputError."""
    if count < FEWEST_SWEEPS:
        raise InputError(
            f"{count} of {recorded} sweeps show the board, where {FEWEST_SWEEPS} are needed, better eight; put it "
            "near, in the middle and far, tilted by 20 to 40 degrees to different sides, and into the image's corners."
        )


def refuse_bent(bent: Adjustment, board: Board) -> None:
    """Refuse a board that is far from flat. Raises InputError."""
    sag, spread = _sag(bent)
    if sag > _CERTAIN * spread and sag > _BENT * board.size[0]:
        raise InputError(
            f"The board is bent by {1000 * sag:.1f} mm: its corners lie on no plane, and distances would be wrong; "
            "glue it onto something flat, such as glass or a board of aluminium, and record again."
        )


def weaknesses(result: BoardCalibration, bent: Adjustment, unseen: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each weakness of a calibration."""
    board, calibration = result.board, result.calibration
    if unseen:
        yield f"The board was not found in {', '.join(unseen)}; it was too blurred, too small or cut off there."
    if not board.measured:
        yield (
            f"The bar of the board was not measured, so that metres are as right as the printer; measure it (designed: "
            f"{board.bar_mm:g} mm) and give --measured."
        )
    sag, spread = _sag(bent)
    if sag > _CERTAIN * spread and sag > _WEAK_BEND * board.size[0]:
        yield f"The board is bent by {1000 * sag:.1f} mm; glue it onto something flat."
    yield from _reach(result)
    for way in Direction:
        if way not in result.fit.curves:
            yield f"No sweep with {way} command: hysteresis is unknown; step the lens both ways."
    yield from _coverage(result)
    if calibration.device.unit in ("D", "dpt", "dioptres"):
        curve = calibration.rising
        factor = float(np.ptp(curve.dioptres) / np.ptp(curve.commands))
        if abs(factor - 1) > _SAME_DIOPTRES:
            yield (
                f"The lens says that it moves {1 / factor:.2f} times as many dioptres as the board: the board is not "
                "of the size that is assumed, or the lens is not the one that its driver takes it for; measure the bar "
                "of the board and give --measured."
            )
    if calibration.uncertainty > 0.03:
        yield (
            f"The focus is uncertain by {calibration.uncertainty:.3f} D; record more sweeps, with more steps and more "
            "light, and let nothing move while the lens is swept."
        )
    temperature = calibration.temperature
    if temperature is not None and temperature.uncertainty is not None:
        warmed = (temperature.high or 0.0) - (temperature.low or 0.0)
        if temperature.uncertainty * warmed > _DRIFTS:
            yield (
                f"The lens warmed by {warmed:.0f} degC, which may have moved the focus by "
                f"{temperature.uncertainty * warmed:.2f} D; put the board where it was first once more, and sweep "
                "again while the lens is warm."
            )
    if result.pupil.moves and _pupil_error(result) > _SAME_PLACE:
        yield (
            f"The entrance pupil moves by {1000 * abs(result.pupil.shift or 0.0):.2f} mm a dioptre of focus, which is "
            f"not modelled: at {result.pupil.nearest:.2f} m distances are off by up to {_pupil_error(result):.1%}; "
            "keep the reference near the distances that matter (--reference)."
        )
    if result.blur is None:
        yield "The growth of blur could not be measured; step the lens over a wider range, with more light."


def _pupil_error(result: BoardCalibration) -> float:
    """Return the share of the nearest distance by which the entrance pupil moves away from that at the reference."""
    focus = np.concatenate(list(result.focus))
    most = float(np.abs(focus - result.adjustment.camera.reference).max())
    return abs(result.pupil.shift or 0.0) * most / result.pupil.nearest


def _reach(result: BoardCalibration) -> Iterator[str]:
    """Yield what the board did not reach: the commands of the lens that lie beyond its curves."""
    curve, device = result.calibration.rising, result.calibration.device
    span = float(np.ptp(curve.dioptres))
    for command, end in ((device.least, 0), (device.greatest, -1)):
        known, reached = float(curve.dioptres[end]), float(curve.focus(command))
        if reached - known > 0.15 * span:
            yield (
                f"The board was never nearer than {1 / known:.2f} m, but the lens focuses to about {1 / reached:.2f} "
                "m; put it there in one more sweep, or the near end stays unknown."
            )
        elif known - reached > 0.15 * span:
            far = f"about {1 / reached:.1f} m" if reached > 0.05 else "infinity"
            yield (
                f"The board was never farther than {1 / known:.2f} m, but the lens focuses to {far}; put it farther "
                "away in one more sweep (a larger paper is found farther away), or the far end stays unknown."
            )


def _coverage(result: BoardCalibration) -> Iterator[str]:
    """Yield what the places of the board leave weak about the camera."""
    missing = uncovered_corners(result.sweeps)
    if missing:
        yield f"The board was never seen in the {' and '.join(missing)} of the image; put it there for distortion."
    tilts = np.array([tilt_of(turn) for turn in result.adjustment.rotations])
    if np.count_nonzero(tilts > _TILTED) < 2:
        yield "The board faced the camera in nearly every sweep; tilt it by 20 to 40 degrees, or fx stays uncertain."


def _contrast(sweep: SweepObservation) -> float:
    """Return the greatest over the least sharpness of the whole board."""
    whole = np.nanmean(sweep.sharpness, axis=1)
    return float(whole.max() / max(float(whole.min()), 1e-12))


def _wanders(sweep: SweepObservation) -> bool:
    """Return whether images differ by more than noise."""
    return bool(np.quantile(sweep.noise, 0.9) > _CHANGES * max(float(np.quantile(sweep.noise, 0.1)), 0.3))


def _sag(bent: Adjustment) -> tuple[float, float]:
    """Return how far the middle of the board lies off its edges, metres, and the standard deviation of that."""
    across, _, down = np.abs(bent.camera.bend)
    index = 0 if across > down else 2
    return float(np.abs(bent.camera.bend[index])), float(bent.bend_uncertainty[index])
