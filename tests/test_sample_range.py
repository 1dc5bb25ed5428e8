"""Pixels of 16 bits that hold fewer: their range is found or given, one for a stack, never smaller, never silent."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptre_space
from fossa_ros.core.sample_range import SampleRange, payload_of, to_8_bits
from fossa_ros.evaluation.replay import read_replay
from fossa_ros.messages.camera_frames import FrameDecoder
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.simulation.virtual_recording import Recording, write_recording
from fossa_ros.sweep import Frame, SweepDecoder
from fossa_ros.sweep.outcome import Outcome, TakenPlane
from test_replay import PARAMETERS
from test_replay_reasons import edited


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self):
        self.infos, self.warnings = [], []
        self.info, self.warning = self.infos.append, self.warnings.append


def grey(*values):
    return np.array([values], np.uint16)


def image(pixels, encoding="mono16"):
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=0, step=pixels.strides[0], data=pixels.tobytes()
    )


@pytest.mark.parametrize(
    ("greatest", "bits"),
    [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16384, 16), (65535, 16)],
)
def test_the_range_is_the_least_that_cameras_have(greatest, bits):
    assert payload_of(grey(0, greatest)) == bits
    assert to_8_bits(grey(0, 2**bits - 1), bits).tolist() == [[0, 255]]


def test_a_range_grows_with_a_warning_and_never_shrinks():
    log = Lines()
    found = SampleRange(log=log)
    assert [found.bits] + [found.add(grey(value), "mono16") for value in (1000, 5, 4000, 900)] == [0, 10, 10, 12, 12]
    assert log.infos == ["mono16: values fit 10 bits, which become the range; set camera.bits if the camera has more."]
    assert log.warnings == [
        "mono16: values need 12 bits, not 10 as before, so images are darker from now on; set camera.bits to the bits "
        "of the camera."
    ]


def test_a_range_that_is_given_is_kept_and_refused_or_doubted_where_images_do_not_fit():
    log = Lines()
    given = SampleRange(12, log=log)
    assert given.add(grey(3000)) == 12 and not log.warnings
    with pytest.raises(
        InputError, match=r"^An image of mono16 has values up to 4096, .* of camera\.bits; correct it to 14, or set"
    ):
        given.add(grey(4096), "mono16")
    assert SampleRange(16, log=log).add(grey(1023), "mono16") == 16
    assert log.warnings == [
        "mono16: the first image needs 10 bits of the 16 of camera.bits, so images are dark; correct it if they stay "
        "so."
    ]


def taken(values) -> tuple[TakenPlane, ...]:
    """Return planes of one value each, stamped 1, 2, 3 ..."""
    frames = [
        Frame(stamp, stamp, (4, 3, "mono16"), tuple(np.diag([3.0, 3, 1]).ravel()), image(np.full((3, 4), v, np.uint16)))
        for stamp, v in enumerate(values, start=1)
    ]
    return tuple(TakenPlane(i, 0.5 + i, 0.0, f.stamp_ns, f) for i, f in enumerate(frames))


def decoded_sweep(decoder: SweepDecoder, planes: tuple[TakenPlane, ...]) -> list[int]:
    timing = SimpleNamespace(exposed=lambda frame: (0, 0))
    sweep = decoder.decode_sweep(0, Outcome(planes, "", {}, 0, 9), timing)
    return [plane.image[0, 0, 0] for plane in sweep.stack.planes]


def test_all_planes_of_a_sweep_have_one_range_although_the_last_is_the_brightest():
    values, decode = (500, 1000, 4000), FrameDecoder(log=Lines())
    decoder, planes = SweepDecoder(decode, scale=decode.scale), taken(values)
    early, _ = decoder.decode_plane(planes[1])
    assert early.image[0, 0, 0] == round(1000 / 1023 * 255)
    assert decoded_sweep(decoder, planes) == [round(v / 4095 * 255) for v in values]


def test_the_first_plane_of_the_next_sweep_does_not_darken_the_one_before():
    values, decode = (500, 800, 1000), FrameDecoder(log=Lines())
    decoder, (*planes, next_plane) = SweepDecoder(decode, scale=decode.scale), taken((*values, 4000))
    for plane in (*planes, next_plane):
        decoder.decode_plane(plane)
    assert decoded_sweep(decoder, tuple(planes)) == [round(v / 1023 * 255) for v in values]
    assert decoded_sweep(decoder, (*planes[:2], next_plane)) == [round(v / 4095 * 255) for v in (500, 800, 4000)]


def test_encodings_that_do_not_name_their_colours_are_assumed_with_one_warning():
    log = Lines()
    decode = FrameDecoder(log=log)
    blue = image(np.full((2, 2, 3), (200, 10, 20), np.uint8), "8UC3")
    for _ in range(3):
        frame = Frame(0, 0, (), (), blue)
        assert decode(frame)[0, 0].tolist() == [20, 10, 200]
    assert log.warnings == ["Images of encoding 8UC3 are taken for bgr8; let the camera publish what they are."]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A bag of 2 s, its images of 8 bits grey."""
    camera = SimulatedCamera(width=96, height=72, fx=90.0)
    path = tmp_path_factory.mktemp("recording") / "bag"
    write_recording(path, *render_stack(0, camera, dioptre_space(0.35, 6.0, 5), views=8), Recording(seconds=2.0))

    def to_grey(topic, message):
        if topic == "/image":
            rgb = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width, 3)
            message.data, message.encoding = rgb[..., 1].reshape(-1).copy(), "mono8"
            message.step = message.width

    return edited(path, path.parent / "grey", to_grey)


def deeper(bits, encoding="mono16"):
    """Return an edit that puts the 8 bits of an image into the lower ``bits`` of 16."""

    def edit(topic, message):
        if topic == "/image":
            pixels = np.asarray(message.data, np.uint8).astype(np.float64) * (2**bits - 1) / 255
            message.data = np.rint(pixels).astype("<u2").view(np.uint8)
            message.encoding, message.step = encoding, 2 * message.width

    return edit


def replayed(bag, out, *settings):
    result = CliRunner().invoke(main, ["replay", str(bag), "--out", str(out), *PARAMETERS, *settings])
    assert result.exit_code == 0, result.stderr
    return read_replay(out / "replay.json"), " ".join(result.output.split())


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_replay_of_fewer_bits_gives_the_depth_of_eight(recording, tmp_path, bits):
    expected, _ = replayed(recording, tmp_path / "eight")
    found, shown = replayed(edited(recording, tmp_path / "bag", deeper(bits)), tmp_path / "out")
    assert [one.verdict for one in found.sweeps] == [one.verdict for one in expected.sweeps]
    for one, other in zip(found.sweeps, expected.sweeps, strict=True):
        assert one.metrics["abs_rel"] == pytest.approx(other.metrics["abs_rel"], rel=1e-3)
    assert f"values fit {bits} bits" in found.image and f"mono16: values fit {bits} bits" in shown
    wrong, _ = replayed(tmp_path / "bag", tmp_path / "wrong", "--set", "camera.bits=9")
    assert not any(one.accepted for one in wrong.sweeps)
    assert f"more than the 9 bits of camera.bits; correct it to {bits}" in wrong.sweeps[0].reason
