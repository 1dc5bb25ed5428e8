"""A stack is held against its own claim: what is refused, what is only warned of, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from diagnostic_msgs.msg import DiagnosticStatus

from fossa_ros.commands.cli import main
from fossa_ros.core.optics import dioptre_space
from fossa_ros.core.stack import FocusPlane
from fossa_ros.estimators.classical import ClassicalEstimator
from fossa_ros.io.stack_files import save_npz
from fossa_ros.motion import MotionCheck
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.pipeline.result import Verdict
from fossa_ros.pipeline.stack_check import check_stack, repeated_frames
from fossa_ros.pipeline.steps import check_focus, check_motion
from fossa_ros.ros.diagnostics import Health, Part
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.stack_renderer import render_stack
from fossa_ros.sweep import CapturedSweep

CAMERA = SimulatedCamera(width=320, height=240, fx=300.0)
EVEN = tuple(dioptre_space(0.35, 6.0, 5))
UNEVEN = (0.3, 0.45, 0.8, 1.5, 4.0)


@cache
def rendered(distances=EVEN, scene=3, noise=0, camera=CAMERA):
    return render_stack(scene, camera, distances, rng=noise, views=24)[0]


def claimed(stack, distances, **lens):
    """Return the images of a stack with the focus distances, and the lens, that are claimed of them."""
    planes = tuple(
        FocusPlane(plane.image, float(distance)) for plane, distance in zip(stack.planes, distances, strict=True)
    )
    return replace(stack, planes=planes, **lens)


def stuck(distances=EVEN, at=0.8, **lens):
    """Return a stack whose lens stays at one distance; noise differs from plane to plane."""
    return claimed(rendered((at,) * len(distances)), distances, **lens)


def unknown_lens(stack):
    return replace(stack, K=None, f_number=None, focal_length=None)


def sweep_of(stack, number=0):
    return CapturedSweep(number, stack, "", (), (), (), {}, 0, 330_000_000)


def darkened(factor):
    stack = rendered()
    return stack.with_images((stack.images() * factor).astype(np.uint8))


@pytest.mark.parametrize(
    ("factor", "refused", "warned"), [(0.0, True, False), (0.05, True, False), (0.15, False, True)]
)
def test_images_that_are_too_dark_are_refused_and_dark_ones_warned_of(factor, refused, warned):
    """Rounded to whole levels, a dark texture seems equally sharp in all planes: a flat wall, and confident of it."""
    found = check_stack(darkened(factor))
    assert ("too dark" in found.refusal, "so dark" in found.warning) == (refused, warned)
    assert "255 grey levels; expose longer" in found.refusal + found.warning
    assert "dark" not in check_stack(darkened(0.5)).warning


@pytest.mark.parametrize(
    ("factor", "refused", "warned"), [(20.0, True, False), (2.5, False, True), (1.0, False, False)]
)
def test_images_that_are_too_bright_are_refused_and_bright_ones_warned_of(factor, refused, warned):
    """Clipped, a texture is lost, or has sharp edges in all planes: depth would be wrong and confident."""
    stack = rendered()
    found = check_stack(stack.with_images((stack.images() * factor).clip(0, 255).astype(np.uint8)))
    assert ("too bright" in found.refusal, "so bright" in found.warning) == (refused, warned)
    assert ("of their pixels are white; expose" in found.refusal + found.warning) == (refused or warned)


# ------------------------------------------------------------------------------------------------------- good stacks


@pytest.mark.parametrize("distances", [EVEN, UNEVEN, tuple(dioptre_space(0.35, 6.0, 9)), (0.4, 1.0, np.inf)])
@pytest.mark.parametrize("scene", [3, 40])
def test_a_stack_that_is_what_it_claims_has_a_blur_factor_of_one(distances, scene):
    found = check_stack(rendered(distances, scene))
    assert not found.refusal and not found.warning
    assert found.blur.factor == pytest.approx(1.0, abs=0.2) and 0.05 < found.blur.uncertainty < 0.15
    assert found.stated == pytest.approx(2.6, abs=0.1)  # 12 mm x 300 px / 1.4, px per dioptre
    assert check_stack(unknown_lens(rendered(distances, scene))).refusal == ""


def test_jpeg_flicker_and_two_planes_are_no_contradiction():
    jpeg = [cv2.imdecode(cv2.imencode(".jpg", p.image, [1, 60])[1], cv2.IMREAD_COLOR) for p in rendered().planes]
    flicker = [
        cv2.convertScaleAbs(p.image, alpha=a) for p, a in zip(rendered().planes, (1, 0.9, 1.1, 0.95, 1.05), strict=True)
    ]
    for stack in (rendered().with_images(jpeg), rendered().with_images(flicker), rendered((0.4, 2.0))):
        assert check_stack(stack).refusal == ""


def test_the_middle_is_looked_at_where_blur_is_small_and_all_of_it_where_it_is_large():
    webcam = SimulatedCamera(width=640, height=480, fx=600.0, focal_length=0.0037, f_number=2.0)
    found = check_stack(rendered(tuple(dioptre_space(0.2, 6.0, 5)), 3, 0, webcam))
    assert not found.refusal and not found.warning and found.stated == pytest.approx(1.12, abs=0.02)
    assert found.blur.factor == pytest.approx(1.0, abs=0.2)


# ------------------------------------------------------------------------------------------------ what is impossible


@pytest.mark.parametrize("at", [0.35, 0.8, 6.0])
def test_a_lens_that_does_not_move_is_refused(at):
    sentence = "The lens does not move: planes at 0.35 and 6 m are equally sharp everywhere; check the lens, its cable"
    assert check_stack(stuck(at=at)).refusal.startswith(sentence)
    assert check_stack(unknown_lens(stuck(at=at))).refusal.startswith(sentence)


def test_a_lens_that_does_not_move_is_refused_through_jpeg():
    images = [cv2.imdecode(cv2.imencode(".jpg", p.image, [1, 70])[1], cv2.IMREAD_COLOR) for p in stuck().planes]
    assert check_stack(stuck().with_images(images)).refusal.startswith("The lens does not move")


def test_equal_frames_are_refused_unless_they_show_nothing_or_have_one_focus():
    images = [plane.image for plane in rendered().planes]
    images[2] = images[1].copy()
    assert repeated_frames(rendered().with_images(images)) == (
        "Planes 2 and 3, focused at 0.458 and 0.661 m, are the same frame; check that the camera delivers new images."
    )
    assert repeated_frames(rendered()) == ""
    dark = np.zeros_like(images[0])
    assert repeated_frames(rendered().with_images([dark] * 5)) == ""
    assert repeated_frames(claimed(rendered().with_images(images), (0.3, 0.5, 0.5, 1.0, 2.0))) == ""


def test_a_command_that_the_lens_misses_is_refused():
    found = check_stack(claimed(rendered((EVEN[0], EVEN[1], EVEN[1], EVEN[3], EVEN[4])), EVEN))
    assert found.refusal == (
        "The lens did not move between planes 2 and 3: at 0.458 and 0.661 m they are equally sharp everywhere; check "
        "the lens, or let it settle for longer (in a node sweep.settling)."
    )


def test_planes_in_another_order_are_refused_where_their_steps_tell():
    for order in (UNEVEN[::-1], (*UNEVEN[1:], UNEVEN[0]), (UNEVEN[4], *UNEVEN[:4])):
        assert check_stack(claimed(rendered(UNEVEN), order)).refusal.startswith(
            "Blur changes against the stated focus distances (is their order reversed, or shifted by a plane?)"
        )


# --------------------------------------------------------------------------------------------------- another lens


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_f_number_is_a_warning_with_the_factor(factor):
    stack = rendered()
    found = check_stack(replace(stack, f_number=stack.f_number * factor))
    assert found.refusal == "" and found.blur.factor == pytest.approx(factor, rel=0.2)
    assert f"Blur grows {found.blur.factor:.2g} times as fast as focal length, f-number and K say" in found.warning
    assert "camera.f_number" in found.warning


def test_a_focal_length_in_another_unit_is_refused():
    stack = rendered()
    short = check_stack(replace(stack, focal_length=stack.focal_length / 1000)).refusal
    assert short.startswith(
        "Blur differs by at most 0.0069 px between planes at 0.35 and 6 m, too little to tell depth"
    )
    far = claimed(stack, [d * 1000 for d in EVEN], focal_length=stack.focal_length * 1000)
    assert check_stack(far).refusal.startswith("A focal length of 12 m at F/1.4 needs a lens 8.6 m wide")


def test_blur_that_grows_seven_times_too_slowly_is_refused():
    stack = rendered()
    found = check_stack(replace(stack, f_number=stack.f_number / 7.0))
    assert found.refusal.startswith("Blur grows 0.1") and found.refusal.endswith("no depth is right.")


# ------------------------------------------------------------------------------------- where blur tells no depth


@pytest.mark.parametrize("lens", ["known", "unknown"])
@pytest.mark.parametrize("distances", [[d * 1000 for d in EVEN], np.linspace(120.0, 1000.0, 5)])
def test_millimetres_and_planes_far_away_are_refused_and_have_no_classical_depth(distances, lens):
    stack = claimed(rendered(), distances)
    if lens == "unknown":
        stack = unknown_lens(stack)
    refusal = check_stack(stack).refusal
    assert refusal.startswith("Blur differs by at most 0.0" if lens == "known" else "No lens blurs by ")
    assert "in metres" in refusal or "in their units" in refusal
    assert np.isnan(ClassicalEstimator().estimate(stack).depth).all()


def test_images_too_small_for_the_blur_are_refused_and_have_no_classical_depth():
    stack = rendered(EVEN, 3, 0, SimulatedCamera(width=64, height=48, fx=60.0))
    assert check_stack(stack).refusal.startswith("Blur differs by at most 1.4 px")
    assert np.isnan(ClassicalEstimator().estimate(stack).depth).all()


def test_nothing_is_said_without_texture():
    rng = np.random.default_rng(1)
    wall = [np.clip(rng.normal(120, 2, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in EVEN]
    found = check_stack(rendered().with_images(wall))
    assert (found.refusal, found.warning, found.blur) == ("", "", None)


def test_nothing_is_said_of_planes_that_are_not_aligned():
    images = [np.roll(plane.image, 6 * i, axis=1) for i, plane in enumerate(rendered().planes)]
    found = check_stack(rendered().with_images(images))
    assert (found.refusal, found.warning, found.blur) == ("", "", None)


# ------------------------------------------------------------------------------------ nodes, replay and predict


def test_a_sweep_that_contradicts_itself_is_inconsistent_and_three_are_an_error():
    health = Health("a lens", "classical")
    for number in range(3):
        assert all(each.level != DiagnosticStatus.ERROR for each in health.statuses("/node", (Part.SWEEP, Part.DEPTH)))
        result = check_focus(check_motion(sweep_of(stuck(), number), MotionCheck()))
        assert result.verdict == Verdict.INCONSISTENT == "inconsistent" and result.stack is None
        assert result.reason.startswith("The lens does not move")
        health.on_result(result)
    for status in health.statuses("/node", (Part.SWEEP, Part.DEPTH)):
        assert status.level == DiagnosticStatus.ERROR
        assert status.message.startswith("3 sweeps in a row: inconsistent: The lens does not move: planes at 0.35 and")
    (lens,) = health.statuses("/node", (Part.LENS,))
    assert lens.level == DiagnosticStatus.OK


def test_frames_are_compared_as_they_were_captured_whatever_the_motion_check_makes_of_them():
    frame = rendered().planes[2].image
    images = [frame] * 5
    result = check_focus(check_motion(sweep_of(rendered().with_images(images)), MotionCheck()))
    assert result.verdict == Verdict.INCONSISTENT and result.reason == (
        "All 5 planes are the same frame: the camera repeats one image, or the lens does not move; check both."
    )


def test_a_repair_does_not_hide_that_a_lens_does_not_move():
    """Planes that are warped by parts of a pixel differ in sharpness; a small, blurred view is told no better."""
    camera = replace(CAMERA, width=160, height=120, fx=150.0)
    still = claimed(rendered((6.0,) * 5, 3, 0, camera), EVEN)
    warped = [
        cv2.warpAffine(plane.image, np.float32([[1, 0, x], [0, 1, y]]), (160, 120), flags=cv2.INTER_LANCZOS4)
        for plane, (x, y) in zip(
            still.planes, ((0, 0), (0.5, 0.5), (0.5, -0.5), (-0.5, 0.5), (-0.5, -0.5)), strict=True
        )
    ]
    repaired = still.with_images(warped)
    assert check_stack(repaired).refusal == "" and check_stack(repaired, still).unmoved
    result = replace(check_motion(sweep_of(still), MotionCheck()), stack=repaired)
    assert check_focus(result).reason.startswith("The lens does not move")


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ((0.7, 0.76, 0.83, 0.91, 1.0), "Images become brighter by a factor of 1.4 during the sweep"),
        ((1.0, 0.9, 0.8, 0.72, 0.64), "Images become darker by a factor of 1.6 during the sweep"),
        ((1.0, 0.8, 1.0, 0.75, 0.9), ""),  # flicker of a lamp
        ((1.0, 0.97, 0.95, 0.93, 0.9), ""),
    ],
)
def test_exposure_that_changes_steadily_is_a_warning(factors, words):
    stack = rendered()
    images = [(plane.image * factor).astype(np.uint8) for plane, factor in zip(stack.planes, factors, strict=True)]
    found = check_stack(stack.with_images(images))
    assert not found.refusal and found.warning.startswith(words) and bool(found.warning) == bool(words)


@pytest.mark.parametrize(("factor", "words"), [(0.25, "darker than the others by a factor of 4"), (0.6, "")])
def test_a_plane_of_another_exposure_is_refused_and_flicker_is_not(factor, words):
    images = [plane.image for plane in rendered().planes]
    images[2] = cv2.convertScaleAbs(images[2], alpha=factor)
    refusal = check_stack(rendered().with_images(images)).refusal
    assert (words in refusal and "The plane focused at 0.661 m is" in refusal) if words else refusal == ""


def test_diagnostics_hold_the_stated_and_the_found_blur_and_warn_of_a_wrong_lens():
    health = Health("a lens", "classical")
    stack = rendered()
    health.on_result(check_focus(check_motion(sweep_of(replace(stack, f_number=2.8)), MotionCheck())))
    (status,) = health.statuses("/node", (Part.DEPTH,))
    figures = {value.key: value.value for value in status.values}
    assert figures["blur stated [px/dioptre]"] == "1.31"
    found, _, uncertainty = figures["blur found [px/dioptre]"].partition(" +- ")
    assert float(found) == pytest.approx(2.62, abs=0.4) and 0.1 < float(uncertainty) < 0.4
    assert "times as fast as focal length, f-number and K say" in status.message


def test_the_check_is_a_live_parameter_that_is_on():
    assert FossaNodeConfig().depth.focus_check is True


def test_predict_refuses_warns_and_can_be_told_not_to(tmp_path):
    def run(stack, *options):
        save_npz(tmp_path / "stack.npz", stack)
        out = ["--out", str(tmp_path / "out"), "--estimator", "classical"]
        return CliRunner().invoke(main, ["predict", str(tmp_path / "stack.npz"), *out, *options])

    refused = run(stuck())
    assert refused.exit_code == 1 and refused.stderr.startswith("fossa: The lens does not move: planes at 0.35 and 6 m")
    assert refused.stderr.endswith("If the stack is right all the same, give --no-focus-check.\n")
    assert not (tmp_path / "out").exists()
    assert run(stuck(), "--no-focus-check").exit_code == 0
    warned = run(replace(rendered(), f_number=2.8))
    assert warned.exit_code == 0 and "times as fast as focal length" in " ".join(warned.stdout.split())
