"""Triggered rigs: the n-th exposure after a trigger is the n-th plane, or the sweep is refused with a sentence."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config
from fossa_ros.simulation.virtual_sweeps import Fault, Scenario, VirtualRun
from fossa_ros.sweep import (
    Frame,
    Sequencer,
    StampReference,
    SweepConfig,
    SweepMode,
    SweepPlan,
    SweepTiming,
    TriggerOrder,
)
from fossa_ros.sweep.machines import Ended, Wait

MS = 1_000_000
PERIOD, EXPOSURE, ARRIVAL = 20 * MS, 8 * MS, 5 * MS
PLAN = SweepPlan((0.4, 0.6, 1.2, 3.0))
COUNT = len(PLAN.focus_distances)
TIMING = SweepTiming(exposure_ns=EXPOSURE)
CONFIG = SweepConfig(mode=SweepMode.COUNTED, trigger_period_ns=PERIOD, trigger_delay_ns=2 * MS)
BEGIN = 10**9


class Rig:
    """A sequencer, and a rig whose frames and triggers are added one by one."""

    def __init__(self, config=CONFIG, timing=TIMING):
        self.now = BEGIN - 1000 * MS
        self.sequencer = Sequencer(PLAN, timing, config)
        self.sequencer.begin(self.now)

    def trigger(self, stamp=BEGIN, source="", late=MS):
        self.now = max(self.now, stamp + late)
        self.sequencer.on_trigger(stamp, self.now, source)

    def frame(self, index, trigger=BEGIN, *, off=0, late=ARRIVAL, counter=None, stamp_error=0, format="rgb8"):
        start = trigger + CONFIG.trigger_delay_ns + index * PERIOD + off
        self.now = max(self.now, start + EXPOSURE + late)
        self.sequencer.add_frame(Frame(start + stamp_error, self.now, format, (1.0,), index, counter=counter))

    def frames(self, indices=range(COUNT), **more):
        for index in indices:
            self.frame(index, **more)

    def end(self):
        """Return the outcome of the sweep, after all waiting."""
        while isinstance(action := self.sequencer.next(self.now), Wait):
            self.now = action.until_ns
        assert isinstance(action, Ended)
        (outcome,) = self.sequencer.outcomes()
        return outcome

    def reason(self):
        outcome = self.end()
        assert outcome.reason
        return outcome.reason


def test_the_nth_frame_after_the_trigger_is_the_nth_plane():
    rig = Rig()
    rig.trigger()
    rig.frames()
    outcome = rig.end()
    assert outcome.reason == "" and outcome.drops == {}
    assert [(plane.slot, plane.frame.image) for plane in outcome.planes] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert [plane.focus_distance for plane in outcome.planes] == list(PLAN.focus_distances)
    assert outcome.planes[1].start_ns == BEGIN + 22 * MS and outcome.planes[1].uncertainty == 0
    assert rig.sequencer.period_ns == PERIOD and rig.sequencer.latency_ns == ARRIVAL


def test_frames_may_arrive_in_any_order_twice_and_before_the_message_of_their_trigger():
    rig = Rig()
    rig.frames([0, 2])
    rig.frame(1, late=40 * MS)
    rig.trigger(late=70 * MS)
    rig.frames([2, 3])
    outcome = rig.end()
    assert outcome.reason == "" and [plane.frame.image for plane in outcome.planes] == [0, 1, 2, 3]
    assert outcome.drops == {"its stamp was seen before": 1}


@pytest.mark.parametrize(
    ("order", "source", "slots"),
    [
        (TriggerOrder.FAR_TO_NEAR, "", [3, 2, 1, 0]),
        (TriggerOrder.SOURCE, "far_to_near", [3, 2, 1, 0]),
        (TriggerOrder.SOURCE, "near_to_far", [0, 1, 2, 3]),
    ],
)
def test_the_order_is_that_of_the_parameter_or_of_the_trigger(order, source, slots):
    rig = Rig(replace(CONFIG, trigger_order=order))
    rig.trigger(source=source)
    rig.frames()
    assert [plane.slot for plane in rig.end().planes] == slots


def lost(rig):
    rig.trigger()
    rig.frames([0, 1, 3])


def late_of_the_sweep_before(rig):
    rig.trigger()
    rig.frame(COUNT - 1, BEGIN - 6 * PERIOD, late=6 * PERIOD)
    rig.frames([0, 1, 2])


def extra(rig):
    rig.trigger()
    rig.frames([0, 1])
    rig.frame(1, off=9 * MS)


def twice(rig):
    rig.trigger()
    rig.frames([0, 1])
    rig.frame(1, off=MS)


def before_the_first_plane(rig):
    rig.trigger()
    rig.frames(range(-1, COUNT))


def clock_jumps_by_a_period(rig):
    rig.trigger()
    rig.frames(stamp_error=-PERIOD)


def clock_jumps_within(rig):
    rig.trigger()
    rig.frames([0, 1])
    rig.frames([2, 3], stamp_error=MS - PERIOD)


def ahead(rig):
    rig.trigger()
    rig.frames(stamp_error=PERIOD)


def faster_than_ever(rig):
    for sweep in range(4, 0, -1):
        begin = BEGIN - sweep * 10 * PERIOD
        rig.trigger(begin)
        rig.frames(trigger=begin, late=30 * MS)
        assert rig.end().reason == ""
        rig.sequencer.begin(rig.now)
    rig.trigger()
    rig.frames([0, 1, 2], late=30 * MS, stamp_error=PERIOD)


def counter_jumps(rig):
    rig.trigger()
    for index, counter in enumerate([7, 8, 10, 11]):
        rig.frame(index, counter=counter)


def counter_missing(rig):
    rig.trigger()
    rig.frames([0, 1, 2], counter=None)
    rig.frame(3, counter=12)


def other_size(rig):
    rig.trigger()
    rig.frames([0, 1])
    rig.frame(2, format="mono8")


def two_triggers(rig):
    rig.trigger()
    rig.frames([0, 1])
    rig.trigger(BEGIN + 40 * MS)


def old_trigger(rig):
    rig.trigger(late=600 * MS)


def future_trigger(rig):
    rig.sequencer.on_trigger(rig.now + 100 * MS, rig.now, "")


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lambda rig: None, r"No trigger arrived on 'lens/trigger' within 2.5 s; start the rig, remap lens/trigger"),
        (lost, r"The count does not add up: no frame came for the planes at 1.20 m .*check the camera"),
        (late_of_the_sweep_before, r"no frame came for the planes at 3.00 m"),
        (extra, r"a frame was exposed 29.0 ms after the first plane was due, where planes are due every 20.0 ms"),
        (twice, r"Two frames were exposed when the plane at 0.60 m was due"),
        (before_the_first_plane, r"a frame was exposed -20.0 ms after the first plane was due"),
        (clock_jumps_by_a_period, r"a frame was exposed -20.0 ms after the first plane was due"),
        (clock_jumps_within, r"Two frames were exposed when the plane at 0.60 m was due"),
        (ahead, r"A frame of this sweep cannot be used: its stamp is ahead of the clock"),
        (faster_than_ever, r"A frame of this sweep cannot be used: the camera's clock jumped"),
        (counter_jumps, r"the camera numbered the frames of 4 planes 7 to 11, not one after another"),
        (counter_missing, r"Frames without a counter are among others with one"),
        (other_size, r"A frame cannot be used: its size or encoding differs"),
        (two_triggers, r"Two triggers are 40.0 ms apart, but a sweep of 4 planes and the pause .* take 100.0 ms"),
        (old_trigger, r"A trigger arrived on 'lens/trigger' 600 ms after its stamp; let the rig"),
        (future_trigger, r"A trigger arrived on 'lens/trigger' 100 ms before its stamp"),
    ],
)
def test_a_count_that_does_not_add_up_ends_the_sweep_with_a_sentence(happens, words):
    rig = Rig()
    happens(rig)
    reason = rig.reason()
    assert re.search(words, reason), reason


def test_a_source_that_names_no_order_is_refused():
    rig = Rig(replace(CONFIG, trigger_order=TriggerOrder.SOURCE))
    rig.trigger(source="gpio17")
    assert "The source of a trigger is 'gpio17', not near_to_far or far_to_near" in rig.reason()


def test_after_a_refused_sweep_the_next_one_counts():
    rig = Rig()
    rig.trigger()
    rig.frames([0, 1, 3])
    following = BEGIN + 6 * PERIOD
    rig.trigger(following)
    rig.frames(trigger=following)
    assert "1.20 m" in rig.reason()
    rig.sequencer.begin(rig.now)
    assert rig.end().reason == ""


def test_frames_of_the_sweep_before_are_not_counted_again():
    """A clock that is behind by a whole sweep moves every frame onto the planes of another sweep."""
    rig = Rig()
    rig.trigger()
    rig.frames(counter=None)
    assert rig.end().reason == ""
    rig.sequencer.begin(rig.now)
    following = BEGIN + 6 * PERIOD
    rig.trigger(following)
    rig.frames(trigger=following, stamp_error=-6 * PERIOD)
    assert "no frame came for the planes at 0.40, 0.60, 1.20, 3.00 m" in rig.reason()


def test_after_a_rest_a_sweep_is_one_that_was_triggered_since():
    rig = Rig()
    rig.trigger()
    rig.frames()
    assert rig.end().reason == ""
    resting = BEGIN + 20 * PERIOD
    rig.trigger(resting)
    rig.frames(trigger=resting)
    rig.now = resting + 8 * PERIOD
    rig.sequencer.begin(rig.now)
    asked = resting + 9 * PERIOD
    rig.trigger(asked)
    rig.frames(trigger=asked)
    assert rig.end().planes[0].start_ns == asked + 2 * MS


def test_stamps_of_arrival_need_a_period_longer_than_their_doubt():
    late = SweepTiming(exposure_ns=8 * MS, stamp_reference=StampReference.ARRIVAL, delay_ns=10 * MS)
    rig = Rig(timing=late)
    rig.trigger()
    for index, delay in enumerate((0, 9, 4, 9)):  # stamps are that much, in ms, and the exposure after its start
        rig.frame(index, stamp_error=EXPOSURE + delay * MS, late=9 * MS)
    assert rig.end().reason == ""

    def config(**values):
        pairs = [f"sweep.{name}={value}" for name, value in {"mode": "counted", **values}.items()]
        return read_config(FossaNodeConfig, "fossa_node", None, pairs)

    config(trigger_period=0.02, stamp_reference="arrival", delay=0.015)
    with pytest.raises(InputError, match=r"cannot be told apart; it must be longer than 0.0235 s"):
        config(trigger_period=0.02, stamp_reference="arrival", delay=0.0195)
    with pytest.raises(InputError, match=r"must be longer than 0.025 s"):
        config(trigger_period=0.02, exposure=0.025)
    with pytest.raises(InputError, match=r"sweep.mode counted needs sweep.output sweep"):
        config(output="rolling")
    with pytest.raises(InputError, match=r"sweep.counter_key needs sweep.exposure_topic, on which the counter comes"):
        config(counter_key="FrameNumber")
    with pytest.raises(InputError, match=r"sweep.bookend needs sweep.mode step"):
        config(bookend="true")


def test_the_referee_sees_a_lens_that_is_a_plane_behind():
    """The harness can fail: where lens and trigger disagree, no count shows it."""
    run = VirtualRun(Scenario(Fault.NONE, SweepMode.COUNTED, seed=1))
    power = run._power
    run._power = lambda t_ns: power(t_ns - run.period)
    assert run.sweeps(5).wrong > 0
