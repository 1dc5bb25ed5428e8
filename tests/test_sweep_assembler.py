"""Which frame belongs to which plane: the timing rule against adversarial timings."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.errors import InputError
from fossa_ros.lens import LensMove
from fossa_ros.sweep import Drop, Frame, StampReference, StepAssembler, SweepPlan, SweepTiming

MS = 1_000_000
TIMING = SweepTiming(settling_ns=18 * MS, exposure_ns=10 * MS, readout_ns=5 * MS, clock_margin_ns=2 * MS)


def frame(start_ms: float, arrival_ms: float | None = None, **kwargs) -> Frame:
    arrival = start_ms + 25 if arrival_ms is None else arrival_ms
    fields = {"format": (640, 480, "rgb8"), "intrinsics": (600.0,), "image": start_ms}
    return Frame(stamp_ns=round(start_ms * MS), arrival_ns=round(arrival * MS), **{**fields, **kwargs})


def move(distance: float, sent_ms: float, acknowledged_ms: float, settling_ms: float = 0) -> LensMove:
    return LensMove(
        distance, round(sent_ms * MS), round(acknowledged_ms * MS), settling_ns=round(settling_ms * MS), command=0.0
    )


def one_plane() -> StepAssembler:
    assembler = StepAssembler(TIMING)
    assembler.on_commanded(move(0.5, 100, 103))  # settled for certain from 103 + 18 + 2 = 123 ms on
    return assembler


def test_without_a_settling_time_the_lens_says_how_long_each_move_takes():
    assembler = StepAssembler(replace(TIMING, settling_ns=0))
    assembler.on_commanded(move(0.5, 100, 103, settling_ms=40))
    assert assembler.ready_ns() == 145 * MS
    assert assembler.add_frame(frame(144.9)) == Drop.SETTLING
    assert assembler.add_frame(frame(145)) is None
    assembler.on_commanded(move(0.5, 200, 203, settling_ms=7))
    assert assembler.ready_ns() == 212 * MS


@pytest.mark.parametrize(
    ("start_ms", "drop"),
    [(99.9, Drop.BEFORE_COMMAND), (100, Drop.SETTLING), (122.9, Drop.SETTLING), (123, None), (400, None)],
)
def test_a_frame_counts_from_the_instant_the_lens_has_settled(start_ms, drop):
    assembler = one_plane()
    assert assembler.add_frame(frame(start_ms)) == drop
    assert assembler.current_taken() == (drop is None)
    assert sum(assembler.drops.values()) == (drop is not None)


def test_a_frame_whose_exposure_meets_the_next_command_is_dropped():
    assembler = one_plane()
    assembler.on_commanding(150 * MS)
    # exposure 10 ms + readout 5 ms + margin 2 ms must end by 150 ms
    assert assembler.add_frame(frame(133.1)) == Drop.COMMAND_DURING
    assert assembler.add_frame(frame(133.0)) is None


def test_a_late_frame_still_finds_the_plane_it_was_exposed_in():
    assembler = one_plane()
    assembler.on_commanded(move(0.8, 200, 203))
    assert assembler.add_frame(frame(230, 255)) is None
    assert assembler.add_frame(frame(130, 260)) is None
    assert [m.focus_distance for m, _ in assembler.frames()] == [0.5, 0.8]
    assert [f.image for _, f in assembler.frames()] == [130, 230]


def test_duplicates_further_frames_and_stamps_of_the_future_are_dropped_by_name():
    assembler = one_plane()
    assert assembler.add_frame(frame(130)) is None
    assert assembler.add_frame(frame(130)) == Drop.DUPLICATE
    assert assembler.add_frame(frame(163)) == Drop.PLANE_TAKEN
    # 15 ms of exposure and readout cannot have passed by 180 ms
    assert assembler.add_frame(frame(170, 180)) == Drop.FUTURE


def test_a_change_of_format_or_intrinsics_within_a_sweep_is_dropped():
    assembler = one_plane()
    assembler.add_frame(frame(130))
    assembler.on_commanded(move(0.8, 200, 203))
    assert assembler.add_frame(frame(230, format=(320, 240, "rgb8"))) == Drop.FORMAT
    assert assembler.add_frame(frame(231, intrinsics=(610.0,))) == Drop.CAMERA_INFO


@pytest.mark.parametrize(
    ("reference", "stamp_ms"),
    [
        (StampReference.EXPOSURE_START, 123),
        (StampReference.FIRST_ROW_END, 133),
        (StampReference.EXPOSURE_END, 138),
    ],
)
def test_stamp_reference_gives_the_same_start_of_exposure(reference, stamp_ms):
    timing = SweepTiming(
        settling_ns=18 * MS,
        exposure_ns=10 * MS,
        readout_ns=5 * MS,
        clock_margin_ns=2 * MS,
        stamp_reference=reference,
    )
    assert timing.exposed(frame(stamp_ms)) == (123 * MS, 138 * MS)
    for stamp, drop in ((stamp_ms - 0.1, Drop.SETTLING), (stamp_ms, None)):
        assembler = StepAssembler(timing)
        assembler.on_commanded(move(0.5, 100, 103))
        assert assembler.add_frame(frame(stamp, 200)) == drop


def test_a_stamp_of_arrival_widens_the_exposure_by_the_delay_it_may_hide():
    timing = replace(TIMING, delay_ns=8 * MS, stamp_reference=StampReference.ARRIVAL)
    assert timing.exposed(frame(150)) == (127 * MS, 150 * MS)
    assert timing.exposed(frame(150, exposure_ns=4 * MS)) == (133 * MS, 150 * MS)
    assert replace(timing, clock_offset_ns=-3 * MS).exposed(frame(150)) == (124 * MS, 147 * MS)
    for stamp, drop in ((145.9, Drop.SETTLING), (146, None)):
        assembler = StepAssembler(timing)
        assembler.on_commanded(move(0.5, 100, 103))
        assert assembler.add_frame(frame(stamp, 200)) == drop


@st.composite
def runs(draw):
    """A stepped sweep in truth: commands, when the lens really stood, and the frames of a jittery camera."""
    planes = draw(st.integers(2, 6))
    period = draw(st.floats(5, 70))
    now, moves = 100.0, []
    for plane in range(planes):
        acknowledged = now + draw(st.floats(0.1, 30))
        moves.append(move(0.3 + plane, now, acknowledged))
        now = acknowledged + draw(st.floats(0, 6)) * period
    start, frames = draw(st.floats(0, 100)), []
    while start < now + 50:
        start += period + draw(st.floats(0, 10))
        if draw(st.integers(0, 9)):  # one in ten is lost
            frames.append(frame(start, start + 15 + draw(st.floats(0, 80))))
            if not draw(st.integers(0, 9)):
                frames.append(frames[-1])
    frames.sort(key=lambda f: f.arrival_ns)
    return moves, frames


@settings(max_examples=300, deadline=None)
@given(runs())
def test_no_frame_ever_lands_in_a_plane_the_lens_was_not_holding(run):
    moves, frames = run
    assembler = StepAssembler(TIMING)
    pending, taken = list(frames), 0
    for number, one_move in enumerate(moves):
        while pending and pending[0].arrival_ns < one_move.sent_ns:
            assembler.add_frame(pending.pop(0))
        assembler.on_commanded(one_move)
        next_sent = moves[number + 1].sent_ns if number + 1 < len(moves) else math.inf
        while pending and pending[0].arrival_ns < next_sent:
            assembler.add_frame(pending.pop(0))
    for left in pending:
        assembler.add_frame(left)
    for number, (one_move, one_frame) in enumerate(assembler.frames()):
        start = one_frame.stamp_ns
        index = moves.index(one_move)
        following = moves[index + 1].sent_ns if index + 1 < len(moves) else math.inf
        assert one_move.acknowledged_ns + TIMING.settling_ns <= start
        assert start + TIMING.exposure_ns + TIMING.readout_ns <= following
        taken = number + 1
    assert taken + sum(assembler.drops.values()) == len(frames)
    # Nothing good is thrown away: a plane without a frame had none that was certain, whenever it arrived.
    held = {id(one_move) for one_move, _ in assembler.frames()}
    for index, one_move in enumerate(moves):
        following = moves[index + 1].sent_ns if index + 1 < len(moves) else math.inf
        ready = one_move.acknowledged_ns + TIMING.settling_ns + TIMING.clock_margin_ns
        latest = following - TIMING.exposure_ns - TIMING.readout_ns - TIMING.clock_margin_ns
        # The margin allows for clocks that disagree; a frame that had arrived before the next command needs none.
        good = [f for f in frames if f.stamp_ns >= ready and (f.stamp_ns <= latest or f.arrival_ns < following)]
        assert (id(one_move) in held) == bool(good)


def test_a_plan_is_even_in_dioptres_and_alternates():
    plan = SweepPlan.evenly(0.4, math.inf, 6)
    assert [1 / d for d in plan.focus_distances] == pytest.approx([2.5, 2.0, 1.5, 1.0, 0.5, 0.0])
    assert plan.order(0) == plan.focus_distances
    assert plan.order(1) == plan.focus_distances[::-1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SweepPlan.evenly(2.0, 0.5, 5), "swap"),
        (lambda: SweepPlan((0.5,)), "at least 2"),
        (lambda: SweepPlan((0.5, -1.0)), "positive"),
        (lambda: SweepPlan((0.5, math.nan)), "positive"),
        (lambda: SweepTiming(settling_ns=-1), "settling"),
        (lambda: SweepTiming(frame_timeout_ns=0), "frame_timeout"),
    ],
)
def test_plans_and_timings_that_cannot_be_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
