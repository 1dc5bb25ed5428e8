"""What fossa replay says of bags that give no depth: what the node would say."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from rich.console import Console

from fossa_ros.commands.cli import main
from fossa_ros.commands.replay import _line, _table
from fossa_ros.core.optics import dioptre_space
from fossa_ros.evaluation.replay import read_replay
from fossa_ros.messages.bag_writer import BagWriter
from fossa_ros.messages.bags import BagReader
from fossa_ros.messages.definitions import typestore
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.virtual_recording import Recording, write_recording
from test_replay import PARAMETERS

HOUR = 3600
CAMERA = ("/image", "/camera_info")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A bag of 4 s whose sweeps are all accepted."""
    camera = SimulatedCamera(width=96, height=72, fx=90.0)
    path = tmp_path_factory.mktemp("recording") / "bag"
    write_recording(path, *render_stack(0, camera, dioptre_space(0.35, 6.0, 5), views=8), Recording(seconds=4.0))
    return path


def edited(source, target, edit, renamed=None):
    """Copy a bag; ``edit`` changes each message and returns whether it is kept."""
    store, renamed = typestore(), renamed or {}
    with BagReader(source) as bag, BagWriter(target) as writer:
        for topic, kind in bag.types.items():
            if renamed.get(topic, topic) is not None:
                writer.add_topic(renamed.get(topic, topic), kind)
        for recorded in bag.messages(bag.types):
            topic, message = renamed.get(recorded.topic, recorded.topic), bag.read(recorded)
            if topic is not None and edit(recorded.topic, message) is not False:
                writer.write_serialized(topic, recorded.recorded_ns, store.serialize_cdr(message, recorded.msgtype))
    return target


def shift(topics, seconds=0, nanoseconds=0, zero=False):
    def edit(topic, message):
        if topic in topics:
            stamp = message.header.stamp
            total = 0 if zero else stamp.sec * 10**9 + stamp.nanosec + seconds * 10**9 + nanoseconds
            stamp.sec, stamp.nanosec = divmod(total, 10**9)

    return edit


def drop(*topics):
    return lambda topic, message: topic not in topics


CASES = {
    "no camera_info": (
        drop("/camera_info"),
        "images arrive on /image but nothing on /camera_info: let the camera publish it, or remap camera_info",
    ),
    "no images": (drop("/image"), "/camera_info arrives but no images on /image: check the camera"),
    "camera_info 1 ms apart": (
        shift(["/camera_info"], nanoseconds=1_000_000),
        "no image on /image has the stamp of a message on /camera_info, the nearest are 1.000 ms apart",
    ),
    "images without stamps": (shift(["/image"], zero=True), "the stamps of /image are zero: let the camera's driver"),
    "a camera without stamps": (shift(CAMERA, zero=True), "its stamp is zero (let the camera's driver set it)"),
    "a camera with the time since boot": (
        shift(CAMERA, seconds=-1_699_999_000),
        "the stamps of the images are about 1699999000.0 s behind this node's clock: let camera, lens and",
    ),
    "the lens an hour behind": (
        shift(["/lens/state"], seconds=-HOUR),
        "the stamps of 'lens/state' are about 3600.0 s behind this node's clock",
    ),
    "the lens an hour ahead": (
        shift(["/lens/state"], seconds=HOUR),
        "the stamps of 'lens/state' are about 3600.0 s ahead of this node's clock",
    ),
    "the lens 3 s behind": (
        shift(["/lens/state"], seconds=-3),
        "about 3.0 s behind this node's clock: let camera, lens and this node have one clock, correct up to 10 s by",
    ),
    "the lens 0.1 s ahead": (
        shift(["/lens/state"], nanoseconds=100_000_000),
        "the stamps of 'lens/state' are about 77 ms",
    ),
    "the lens 0.7 s behind": (shift(["/lens/state"], nanoseconds=-700_000_000), "'lens/state' are about 723 ms behind"),
    "the lens 3 s ahead": (shift(["/lens/state"], seconds=3), "the stamps of 'lens/state' are about 3.0 s ahead of"),
    "the camera 3 s behind": (
        shift(CAMERA, seconds=-3),
        "the stamps of the images are about 3.0 s behind this node's clock",
    ),
    "the camera 3 s ahead": (shift(CAMERA, seconds=3), "its stamp is ahead of the clock (check"),
    "no lens states": (
        drop("/lens/state"),
        "nothing arrived on 'lens/state', or only that the lens is not reachable: let the node that drives",
    ),
    "a lens that does not answer": (
        lambda topic, message: setattr(message, "reachable", False) if topic == "/lens/state" else None,
        "nothing arrived on 'lens/state'",
    ),
    "nothing at all": (lambda topic, message: False, "nothing arrives on /image and /camera_info: check the camera"),
}


def run(bag, out, *more):
    arguments = ["replay", str(bag), "--out", str(out), *PARAMETERS, "--no-bag", "--pictures", "0", *more]
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("case", CASES)
def test_a_bag_without_depth_tells_why(recording, tmp_path, case):
    edit, words = CASES[case]
    done = run(edited(recording, tmp_path / "bag", edit), tmp_path / "out")
    assert done.exit_code == 0, done.output
    result = read_replay(tmp_path / "out" / "replay.json")
    assert not any(sweep.accepted for sweep in result.sweeps)
    console = Console(width=600, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(_table(result, tmp_path))
    for text in (console.export_text(), _line(result)):
        assert words.lower() in " ".join(text.split()).lower()
    assert words.split(" ")[0] in done.output
    if result.sweeps:
        assert "none arrived" not in result.sweeps[0].reason or result.fault


def test_a_bag_with_depth_has_no_fault_and_lists_what_was_refused(recording, tmp_path):
    assert run(recording, tmp_path / "out").exit_code == 0
    result = read_replay(tmp_path / "out" / "replay.json")
    assert result.fault == "" and result.reasons() == [] and len(result.sweeps) >= 8
    times = []

    def moved(topic, message):
        if topic == "/image":
            times.append(message)
            if len(times) >= 80:
                message.data = message.data[::-1].copy()

    done = run(edited(recording, tmp_path / "bag", moved), tmp_path / "moved")
    result = read_replay(tmp_path / "moved" / "replay.json")
    assert 0 < sum(sweep.accepted for sweep in result.sweeps) < len(result.sweeps)
    verdict, _, count = result.reasons()[0]
    assert verdict in done.output and f"({count} of {len(result.sweeps)} sweeps)" in " ".join(done.output.split())


@pytest.mark.parametrize("output", ["sweep", "rolling"])
def test_no_frame_gets_the_focus_of_another_time(recording, tmp_path, output):
    bag = edited(recording, tmp_path / "bag", shift(["/lens/state"], seconds=-3))

    def accepted(source, *more):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert run(source, out, "--set", f"sweep.output={output}", *more).exit_code == 0
        return [sweep.stamp_ns for sweep in read_replay(out / "replay.json").sweeps if sweep.accepted]

    assert accepted(bag) == []
    assert accepted(bag, "--set", "sweep.state_offset=3.0") == accepted(recording) != []


def test_a_bag_that_is_shorter_than_a_sweep_tells_what_is_missing(recording, tmp_path):
    images = []

    def few(topic, message):
        images.append(topic)
        return len(images) < 22

    done = run(edited(recording, tmp_path / "bag", few), tmp_path / "out")
    assert done.exit_code == 0, done.output
    (sweep,) = read_replay(tmp_path / "out" / "replay.json").sweeps
    assert sweep.reason.startswith("No certain frame for the planes at ") and "6.00 m" in sweep.reason


def test_a_bag_of_an_ordinary_camera_says_what_is_missing(recording, tmp_path):
    renamed = {"/image": "/camera/image_raw", "/camera_info": "/camera/camera_info", "/lens/state": None}
    bag = edited(recording, tmp_path / "bag", lambda topic, message: True, renamed)
    done = run(bag, tmp_path / "out")
    words = " ".join(done.output.split())
    assert done.exit_code == 1 and "Traceback" not in words
    assert "choose with --remap image:=TOPIC from /camera/image_raw" in words
    assert "nothing tells where the lens was: record lens/state, which fossa_node and sweep_node publish" in words
    done = run(bag, tmp_path / "out", "--remap", "image:=/camera/image_raw")
    assert "record lens/state" in " ".join(done.output.split()) and "--remap image" not in done.output
