"""The V4L2 focus: numbers against the kernel's headers, the driver against a stand-in for the kernel's ioctl."""

from __future__ import annotations

import errno
import math
import os
import shutil
import struct
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens import CommandRange, open_lens
from fossa_ros.lens import v4l2_protocol as v4l2
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.v4l2_driver import SimulatedV4l2Focus

pytestmark = pytest.mark.real_time

MODEL = LensModel(min_power=0.0, max_power=10.0, time_constant=0.02, slew_limit=60.0, ringing=0.0)

HEADER_PROGRAM = r"""
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
#define AT(type, field) (int)offsetof(struct type, field)
int main(void) {
    printf("%u %u %u %u\n", (unsigned)VIDIOC_QUERYCAP, (unsigned)VIDIOC_G_CTRL, (unsigned)VIDIOC_S_CTRL,
           (unsigned)VIDIOC_QUERYCTRL);
    printf("%zu %zu %zu\n", sizeof(struct v4l2_capability), sizeof(struct v4l2_control), sizeof(struct v4l2_queryctrl));
    printf("%u %u\n", V4L2_CID_FOCUS_ABSOLUTE, V4L2_CID_FOCUS_AUTO);
    printf("%d %d %d\n", V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_READ_ONLY, V4L2_CTRL_FLAG_INACTIVE);
    printf("%d %d %d %d %d %d\n", AT(v4l2_queryctrl, name), AT(v4l2_queryctrl, minimum), AT(v4l2_queryctrl, maximum),
           AT(v4l2_queryctrl, step), AT(v4l2_queryctrl, default_value), AT(v4l2_queryctrl, flags));
    printf("%d %d %d\n", AT(v4l2_capability, card), AT(v4l2_capability, bus_info), AT(v4l2_control, value));
    return 0;
}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "video0"
    file.touch()
    return str(file)


@pytest.fixture
def camera(path):
    return SimulatedV4l2Focus(LensDynamics(MODEL), path)


def opened(camera, path, **options):
    return open_lens("v4l2", path, ioctl=camera.ioctl, **options)


def test_numbers_and_layouts_are_the_kernels(tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "numbers.c").write_text(HEADER_PROGRAM)
    built = subprocess.run([compiler, "numbers.c", "-o", "numbers"], cwd=tmp_path, capture_output=True, text=True)
    if "No such file" in built.stderr:
        pytest.skip("needs linux/videodev2.h")
    assert built.returncode == 0, built.stderr
    lines = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout.splitlines()
    requests, sizes, controls, flags, offsets, more = ([int(number) for number in line.split()] for line in lines)
    assert requests == [v4l2.QUERYCAP, v4l2.G_CTRL, v4l2.S_CTRL, v4l2.QUERYCTRL]
    assert sizes == [v4l2.CAPABILITY.size, v4l2.CONTROL.size, v4l2.QUERY.size]
    assert controls == [v4l2.FOCUS_ABSOLUTE, v4l2.FOCUS_AUTO]
    assert flags == [v4l2.DISABLED, v4l2.READ_ONLY, v4l2.INACTIVE]
    packed = v4l2.QUERY.pack(0, 0, b"name", 11, 12, 13, 14, 15)
    assert [packed.index(b"name")] + [packed.index(struct.pack("=i", value)) for value in range(11, 16)] == offsets
    packed = v4l2.CAPABILITY.pack(b"driver", b"card", b"bus", 0, 0, 0)
    assert [packed.index(b"card"), packed.index(b"bus"), 4] == more


def test_request_numbers_as_the_specification_prints_them():
    assert (v4l2.S_CTRL, v4l2.G_CTRL, v4l2.QUERYCTRL) == (0xC008561C, 0xC008561B, 0xC0445624)


def test_automatic_focus_goes_off_before_the_first_move_and_comes_back(camera, path):
    with opened(camera, path) as lens:
        assert camera.automatic is False
        assert lens.capabilities.identity == f"Simulated Camera (uvcvideo, usb-0000:00:14.0-1) at {path}"
        lens.move_to_command(100)
        lens.verify()
    assert camera.automatic is True
    assert camera.dynamics.set_point == 0.0  # parked at the far end


@pytest.mark.parametrize("automatic", [False, None])
def test_automatic_focus_that_was_not_on_stays_off(path, automatic):
    camera = SimulatedV4l2Focus(LensDynamics(MODEL), path, automatic=automatic)
    with opened(camera, path) as lens:
        lens.move_to_command(100)
    assert camera.automatic is automatic


def test_steps_without_a_unit_need_a_calibration(camera, path):
    with opened(camera, path) as lens:
        assert lens.capabilities.command == CommandRange("focus_absolute", "steps", 0, 250, 5)
        assert not lens.capabilities.is_metric
        with pytest.raises(InputError, match=r"focus_absolute \(0 to 250 steps\) .* 'fossa calibrate'"):
            lens.move_to(1.0)
        for steps in (-3, 253, math.nan):
            with pytest.raises(InputError, match="outside the lens's range of 0 to 250 steps"):
                lens.move_to_command(steps)
        for steps, reached in ((0, 0), (250, 250), (101, 100), (104, 105)):
            assert lens.move_to_command(steps).command == reached
            assert camera.dynamics.set_point == pytest.approx(reached / 25)
            assert lens.state().command == reached and math.isnan(lens.state().focus_distance)


@given(least=st.integers(-1000, 1000), span=st.integers(1, 2000), step=st.integers(1, 40), share=st.floats(0, 1))
@settings(deadline=None)
def test_every_value_of_any_range_is_one_the_driver_holds(tmp_path_factory, least, span, step, share):
    path = str(tmp_path_factory.getbasetemp() / "video_any")
    with open(path, "a"):
        pass
    greatest = least + span // step * step if span >= step else least + step
    camera = SimulatedV4l2Focus(LensDynamics(MODEL), path, steps=(least, greatest, step))
    with opened(camera, path) as lens:
        value = least + share * (greatest - least)
        assert lens.move_to_command(value).command == pytest.approx(value, abs=step / 2 + 1e-6)


def test_settling_grows_with_the_way(camera, path):
    with opened(camera, path, settling=0.1, settling_per_step=0.001) as lens:
        assert lens.move_to_command(100).settling_ns == 350_000_000  # from anywhere: as far as it can be
        assert lens.move_to_command(110).settling_ns == 110_000_000
        assert lens.move_to_command(10).settling_ns == 200_000_000
        moved = lens.move_to_command(20)
        settled = moved.acknowledged_ns + moved.settling_ns
        assert camera.dynamics.power_at(settled) == pytest.approx(0.8, abs=0.01)


def test_another_program_switches_automatic_focus_on(camera, path):
    with opened(camera, path) as lens:
        lens.move_to_command(100)
        camera.automatic = True
        assert lens.state().faults[0] == "automatic focus is on"
        with pytest.raises(LensError, match="holds nan steps"):
            lens.verify()
        with pytest.raises(LensError, match="automatic focus is on; switch it off"):
            lens.move_to_command(50)
        assert math.isnan(lens.state().command)


def test_a_driver_that_refuses(camera, path):
    def ioctl(descriptor, request, data):
        if request == v4l2.S_CTRL and v4l2.CONTROL.unpack(data)[0] == v4l2.FOCUS_ABSOLUTE:
            raise OSError(errno.EACCES, "Permission denied")
        return camera.ioctl(descriptor, request, data)

    with open_lens("v4l2", path, ioctl=ioctl) as lens, pytest.raises(LensError, match="switch automatic focus off"):
        lens.move_to_command(50)


def test_a_camera_that_refuses_for_a_while_after_automatic_focus_is_tried_again(path):
    camera = SimulatedV4l2Focus(LensDynamics(MODEL), path, release=0.15)
    with opened(camera, path) as lens:
        move = lens.move_to_command(100)
        assert 0.1e9 < move.acknowledged_ns - move.sent_ns < 0.5e9
        again = lens.move_to_command(50)
        assert again.acknowledged_ns - again.sent_ns < 0.1e9
    assert camera.automatic is True and camera.switched == 2


def test_automatic_focus_stays_off_from_refusal_to_refusal_and_returns_after_a_lens_that_moved(path):
    camera = SimulatedV4l2Focus(LensDynamics(MODEL), path, release=2.0)
    for _ in range(2):  # as a node does that opens a lens that failed again and again
        with opened(camera, path) as lens, pytest.raises(LensError, match="refuses to move its focus"):
            lens.move_to_command(50)
        assert camera.automatic is False
    assert camera.switched == 1
    deadline = time.monotonic() + 10
    while True:
        with opened(camera, path) as lens:
            try:
                lens.move_to_command(50)
                break
            except LensError:
                assert time.monotonic() < deadline
    assert camera.automatic is True and camera.switched == 2


def test_another_program_moves_the_focus(camera, path):
    with opened(camera, path) as lens:
        lens.move_to_command(100)
        camera._set(v4l2.FOCUS_ABSOLUTE, 200)
        assert lens.state().faults == ("commanded to a focus_absolute of 100 steps but holds 200 steps",)
        with pytest.raises(LensError, match="commanded to a focus_absolute of 100 steps but holds 200"):
            lens.verify()


def test_unplugged(camera, path, caplog):
    lens = opened(camera, path)
    camera.gone = True
    with pytest.raises(LensError, match="check its cable and open the lens again"):
        lens.move_to_command(100)
    lens.close()
    assert "closed without being parked" in caplog.text
    camera.gone = False
    with opened(camera, path) as lens:
        assert lens.move_to_command(100).command == 100


def test_a_driver_that_hangs_is_given_up_and_the_caller_goes_on(camera, path):
    hangs, goes_on = threading.Event(), threading.Event()

    def ioctl(*request):
        assert not hangs.is_set() or goes_on.wait(60)
        return camera.ioctl(*request)

    lens = open_lens("v4l2", path, ioctl=ioctl, timeout=0.05)
    hangs.set()
    with pytest.raises(LensError, match=r"did not answer within 0\.05 s"):
        lens.move_to_command(100)
    with pytest.raises(LensError, match="still has not answered"):
        lens.move_to_command(100)
    hangs.clear()
    goes_on.set()
    for thread in threading.enumerate():
        if thread.name == f"ioctl on {path}":
            thread.join()
    assert lens.move_to_command(100).command == 100
    lens.close()


def test_what_cannot_be_a_focus(path):
    without = SimulatedV4l2Focus(LensDynamics(MODEL), path, has_focus=False)
    with pytest.raises(LensError, match="no control focus_absolute"):
        opened(without, path)
    point = SimulatedV4l2Focus(LensDynamics(MODEL), path, steps=(3, 3, 1))
    with pytest.raises(LensError, match=r"no range of focus \(3 to 3\)"):
        opened(point, path)
    with pytest.raises(LensError, match="'/dev/null' is not a video device"):  # the kernel's own answer
        open_lens("v4l2", "/dev/null")
    with pytest.raises(LensError, match="does not exist; plug the camera in or set port to one of"):
        open_lens("v4l2", "/dev/video_none")
    with pytest.raises(InputError, match="timeout"):
        open_lens("v4l2", path, timeout=0.0)


def test_one_driver_at_a_time_in_any_process(camera, path):
    with opened(camera, path) as lens:
        with pytest.raises(LensError, match="driven by another program"):
            opened(camera, path)
        program = f"from fossa_ros.lens import open_lens; open_lens('v4l2', {path!r})"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
        assert f"is driven by another program (process {os.getpid()}, " in result.stderr
        assert lens.move_to_command(100).command == 100
    before = len(os.listdir("/proc/self/fd"))
    with opened(camera, path) as lens:
        lens.move_to_command(100)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_stand_in_is_strict(camera, path):
    with open(path) as file, open(os.devnull) as other:
        for descriptor, request, data, code in (
            (file.fileno(), v4l2.S_CTRL + 1, bytes(8), errno.ENOTTY),
            (file.fileno(), v4l2.S_CTRL, bytes(7), errno.EFAULT),
            (file.fileno(), v4l2.QUERYCTRL, bytes(60), errno.EFAULT),
            (file.fileno(), v4l2.G_CTRL, v4l2.CONTROL.pack(v4l2.FOCUS_ABSOLUTE + 1, 0), errno.EINVAL),
            (file.fileno(), v4l2.S_CTRL, v4l2.CONTROL.pack(v4l2.FOCUS_ABSOLUTE, 5), errno.EACCES),
            (other.fileno(), v4l2.G_CTRL, v4l2.CONTROL.pack(v4l2.FOCUS_AUTO, 0), errno.EBADF),
        ):
            with pytest.raises(OSError) as failure:
                camera.ioctl(descriptor, request, data)
            assert failure.value.errno == code
