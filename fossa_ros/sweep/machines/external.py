"""A sweep whose lens is driven by another program."""

from __future__ import annotations

from collections import Counter

from fossa_ros.lens import LensState
from fossa_ros.sweep.frame import Drop, Frame
from fossa_ros.sweep.machines.actions import Action, Ended, Wait
from fossa_ros.sweep.machines.machine import SweepMachine
from fossa_ros.sweep.moving import MovingAssembler
from fossa_ros.sweep.outcome import TakenPlane
from fossa_ros.sweep.timing import SweepTiming
from fossa_ros.sweep.track import LensTrack

LATE_NS = 500_000_000  # later than messages arrive, unless sweep.frame_timeout is longer


class ExternalSweep(SweepMachine):
    """Wait until a lens that another program drives has passed through every plane.

    Args:
        timing: of camera and lens.
        assembler: follows the lens; keeps the newest frame of every plane.
        track: the positions of the lens.
        refused: frames that did not pass the stamp guard.
        span_ns: longest time from the oldest frame of a stack to the newest.
        now_ns: beginning of the sweep.
    """

    _assembler: MovingAssembler

    def __init__(
        self,
        timing: SweepTiming,
        assembler: MovingAssembler,
        track: LensTrack,
        refused: Counter[Drop],
        span_ns: int,
        now_ns: int,
    ):
        super().__init__(assembler, refused)
        self._timing = timing
        self._track = track
        self._sampled = track.sampled  # before this sweep
        self._camera_late_ns: int | None = None  # least time from a frame's exposure to its arrival
        self._lens_late_ns: int | None = None  # least time from the newest lens state's stamp to a frame's arrival
        # A lens that passes through all planes within the span returns to the plane it has just left within twice that.
        self._deadline_ns = now_ns + 2 * span_ns + timing.frame_timeout_ns
        assembler.begin()

    def next(self, now_ns: int) -> Action:
        """Return the next action: wait until every plane has a frame, or the time is up."""
        self._assembler.resolve()
        if self._assembler.complete():
            fault = self._clock_fault()
            return Ended(f"{fault[0].upper()}{fault[1:]}." if fault else "")
        if now_ns < self._deadline_ns:
            return Wait(self._deadline_ns)
        waiting = Counter({Drop.AWAITING_LENS: self._assembler.waiting})
        return Ended(
            f"No certain frame for the planes at {self._assembler.missing()} m "
            f"{self._unused_frames('none arrived', waiting)}; {self._advice()}."
        )

    def on_arrival(self, frame: Frame) -> None:
        """Compare the clock of the lens with the arrival of a frame."""
        if self._track.newest_ns is not None and self._track.sampled > self._sampled:
            self._lens_late_ns = _least(self._lens_late_ns, frame.arrival_ns - self._track.newest_ns)

    def add_frame(self, frame: Frame) -> None:
        """Assign a frame, and compare the camera's clock with its arrival."""
        self._camera_late_ns = _least(self._camera_late_ns, frame.arrival_ns - self._timing.exposed(frame)[1])
        super().add_frame(frame)

    def on_measured(self, state: LensState) -> None:
        """Assign the frames that waited for this state."""
        self._assembler.resolve()

    def planes(self) -> list[TakenPlane]:
        """Return the planes that have a frame; none where the clocks disagree, because then none is certain."""
        return [] if self._clock_fault() else self._assembler.planes()

    def _advice(self) -> str:
        if self._track.sampled == self._sampled:
            return (
                "nothing arrived on 'lens/state', or only that the lens is not reachable: let the node that drives the "
                "lens publish its position, or remap lens/state"
            )
        return self._clock_fault() or (
            "check 'lens/state' and that the lens passes through sweep.near to sweep.far within sweep.max_span"
        )

    def _clock_fault(self) -> str:
        """Return that camera and lens have not one clock, so that frames would get a wrong focus; empty if they have.

        Messages that arrive so late cannot be told from a clock that is behind.
        """
        camera_ns, lens_ns = self._camera_late_ns, self._lens_late_ns
        if camera_ns is None or lens_ns is None:
            return ""
        ahead = lens_ns < -self._timing.clock_margin_ns  # no message arrives before its stamp
        if not ahead and abs(camera_ns - lens_ns) <= max(LATE_NS, self._timing.frame_timeout_ns):
            return ""
        what, late_ns, parameter = "the images", camera_ns, "sweep.clock_offset"
        if ahead or abs(lens_ns) > abs(camera_ns):
            what, late_ns, parameter = "'lens/state'", lens_ns, "sweep.state_offset"
        side = "behind" if late_ns > 0 else "ahead of"
        otherwise = "" if ahead else ", or raise sweep.frame_timeout if messages are so late"
        return (
            f"the stamps of {what} are about {_amount(late_ns)} {side} this node's clock: let camera, lens and this "
            f"node have one clock, correct up to 10 s by {parameter}{otherwise}"
        )


def _least(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def _amount(time_ns: int) -> str:
    return f"{abs(time_ns) / 1e9:.1f} s" if abs(time_ns) >= 1e9 else f"{abs(time_ns) / 1e6:.0f} ms"
