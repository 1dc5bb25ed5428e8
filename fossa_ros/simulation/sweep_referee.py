"""The referee of sweeps in virtual time: it knows the simulated truth and counts what is wrong or lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from fossa_ros.core.optics import dioptres
from fossa_ros.sweep.config import SweepMode, SweepOutput
from fossa_ros.sweep.outcome import Outcome, TakenPlane

STILL = 0.06  # D: a lens within that of its plane holds it (position tolerance and ringing)


class Fault(StrEnum):
    """A fault of a run."""

    NONE = "nothing"
    JITTER = "arrival jitter"
    DROPS = "lost frames"
    DUPLICATES = "duplicates"
    REORDERING = "re-ordering"
    CLOCK_STEPS = "clock steps"
    LATE_SETTLING = "late settling"
    LYING_LENS = "a lens that lies"
    LENS_ERRORS = "a lens that fails"
    SLOW_COMMANDS = "slow acknowledgements"
    ALL = "all at once"


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        fault: what goes wrong.
        mode, output: of the sweeps.
        rate: frames a second.
        seed: of all random numbers.
        measures: whether the lens measures its position; in counted sweeps, whether the camera counts its frames.
    """

    fault: Fault
    mode: SweepMode = SweepMode.STEP
    output: SweepOutput = SweepOutput.SWEEP
    rate: float = 60.0
    seed: int = 0
    measures: bool = False

    def has(self, fault: Fault) -> bool:
        """Return whether the run has a fault."""
        return self.fault in (fault, Fault.ALL)


@dataclass
class Tally:
    """What became of the sweeps of a run.

    Attributes:
        good: stacks all of whose planes have the focus that they claim.
        wrong: planes of stacks that have another focus than they claim.
        justified: sweeps without a stack that a fault had disturbed.
        lost: sweeps without a stack although no fault had disturbed them.
        seconds: virtual time.
        notes: one line for each wrong plane and lost sweep.
    """

    good: int = 0
    wrong: int = 0
    justified: int = 0
    lost: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Tally:
        self.good += other.good
        self.wrong += other.wrong
        self.justified += other.justified
        self.lost += other.lost
        self.seconds += other.seconds
        self.notes += other.notes
        return self


class Referee:
    """Compare the outcomes of a run with the truth.

    Args:
        scenario: the run.
        focus_at: returns the true focus of the whole optics (dioptres) at a time.
    """

    def __init__(self, scenario: Scenario, focus_at: Callable[[int], float]):
        self.tally = Tally()
        self._scenario = scenario
        self._focus_at = focus_at
        self._exposures: dict[int, tuple[int, int]] = {}
        self._disturbed: list[tuple[int, int]] = []

    def add_exposure(self, number: int, start_ns: int, end_ns: int) -> None:
        """Note when the frame whose image is ``number`` was really exposed."""
        self._exposures[number] = start_ns, end_ns

    def disturb(self, start_ns: int, end_ns: int) -> None:
        """Note a time within which a fault may end a sweep."""
        self._disturbed.append((start_ns, end_ns))

    def check(self, outcome: Outcome, started_ns: int, now_ns: int) -> None:
        """Count an outcome of the sweep that lasted from ``started_ns`` until now."""
        if outcome.reason:
            if any(start <= now_ns and started_ns <= end for start, end in self._disturbed):
                self.tally.justified += 1
            else:
                self.tally.lost += 1
                self.tally.notes.append(f"lost: {self._scenario} {outcome.reason}")
            return
        wrong = [plane for plane in outcome.planes if not self.is_true(plane)]
        self.tally.wrong += len(wrong)
        self.tally.good += not wrong
        for plane in wrong:
            self.tally.notes.append(
                f"wrong: {self._scenario} claims {float(dioptres(plane.focus_distance)):.3f} +- "
                f"{plane.uncertainty:.3f} D, was {self._focus_at(self._middle(plane)):.3f} D"
            )

    def is_true(self, plane: TakenPlane) -> bool:
        """Return whether the plane has the focus that it claims.

        A lens that stands still must hold it during the whole exposure, a moving one at its middle.
        """
        claimed = float(dioptres(plane.focus_distance))
        if self._scenario.mode in (SweepMode.STEP, SweepMode.COUNTED):
            times = np.linspace(*self._exposures[plane.frame.image], 5).astype(int).tolist()
            return all(abs(self._focus_at(t) - claimed) <= STILL for t in times)
        return abs(self._focus_at(self._middle(plane)) - claimed) <= plane.uncertainty + 1e-6

    def _middle(self, plane: TakenPlane) -> int:
        start, end = self._exposures[plane.frame.image]
        return (start + end) // 2
