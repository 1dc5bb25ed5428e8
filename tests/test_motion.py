import functools
import weakref

import cv2
import numpy as np
import pytest

import motion_renders as renders
from fossa_ros.core.errors import InputError
from fossa_ros.core.stack import FocusPlane, FocusStack
from fossa_ros.motion import MotionCheck, MotionConfig, debug_picture
from fossa_ros.motion.frame import Frame
from fossa_ros.motion.registration import register
from fossa_ros.motion.tiling import Tiling, in_pixels, transform
from fossa_ros.simulation.motion_path import Pose, drift, rotation_matrix
from fossa_ros.simulation.scenes import Scene, make_scene
from fossa_ros.simulation.stack_renderer import render_stack, true_depth
from moving_cards import card_mover

TABLE, CARDS = 1, 2  # seeds of two scenes
STILL = np.eye(3)


def disagreement(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return by how many network px two homographies differ over the view of the camera."""
    x, y = np.meshgrid(np.linspace(8, 311, 7), np.linspace(8, 231, 7))
    points = np.stack([x, y], axis=-1)
    return np.linalg.norm(transform(found, points) - transform(true, points), axis=-1) * renders.NETWORK_SCALE


@pytest.mark.parametrize("scene", [TABLE, CARDS])
@pytest.mark.parametrize(
    ("step", "mean", "largest"), [(0, 0.15, 0.6), (1, 0.4, 1.5)], ids=["same focus", "neighbours in focus"]
)
def test_registration_recovers_a_turn_whatever_the_blur(scene, step, mean, largest):
    rng = np.random.default_rng(scene)
    tiling = Tiling.for_stack(renders.sweep(scene, rng))
    for index, pixels in enumerate((0.0, 2.0, 8.0, 25.0)):
        base = min(index, len(renders.FOCUS) - 1 - step)
        true = renders.turn(pixels, direction=index, roll=0.002 * index)
        first, second = renders.light(scene)[base], renders.seen(renders.light(scene)[base + step], true)
        frames = [
            Frame(renders.CAMERA.expose(view, rng, gain), tiling) for view, gain in ((first, 1.0), (second, 0.97))
        ]
        found = in_pixels(register(*frames).H, tiling.size)
        error = disagreement(found, true)
        assert error.mean() < mean and error.max() < largest, f"turn by {pixels} px"


@pytest.mark.parametrize("exposures", [(0.25, 1.0), (1.0, 0.25), (0.1, 0.8)], ids=["4 times", "a quarter", "8 times"])
def test_registration_recovers_a_turn_whatever_the_exposures(exposures):
    rng = np.random.default_rng(0)
    tiling = Tiling.for_stack(renders.sweep(TABLE, rng))
    for index, pixels in enumerate((0.0, 2.0, 8.0)):
        true = renders.turn(pixels, direction=index)
        views = renders.light(TABLE)[1], renders.seen(renders.light(TABLE)[1], true)
        frames = [Frame(renders.CAMERA.expose(*each), tiling) for each in zip(views, [rng] * 2, exposures, strict=True)]
        error = disagreement(in_pixels(register(*frames).H, tiling.size), true)
        assert error.mean() < 0.3 and error.max() < 1.2, f"turn by {pixels} px: {error.mean():.2f}, {error.max():.2f}"


def test_still_sweeps_are_still_despite_noise_flicker_and_focus_error():
    for seed in range(8):
        scene = (TABLE, CARDS)[seed % 2]
        rng = np.random.default_rng(seed)
        check = MotionCheck()
        for number in range(5):
            stack = renders.sweep(
                scene,
                rng,
                errors=rng.choice([-0.05, 0.0, 0.05], 4) if scene == TABLE else None,
                gains=1 + rng.uniform(-0.03, 0.03, 4),
                backwards=number % 2 == 1,
            )
            result = check.check(stack)
            assert result.verdict == "still", f"scene {scene} seed {seed} sweep {number}: {result}"
            assert result.stack is stack and result.reason == "" and result.valid is None
            assert result.motion_px < 1.0 and result.moving_share < 0.02


@pytest.mark.parametrize("focal_length", [300.0 * renders.NETWORK_SCALE, np.inf], ids=["known", "unknown"])
def test_the_motion_of_a_homography_is_the_inverse_of_the_homography_of_a_motion(focal_length):
    tiling = Tiling((240, 320), focal_length)
    rng = np.random.default_rng(0)
    for pixels in (0.3, 3.0, 20.0):
        for _ in range(10):
            amounts = rng.uniform(-pixels, pixels, 8) * [1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2]
            assert tiling.motion(tiling.homography(amounts)) == pytest.approx(amounts, abs=0.005)


@pytest.mark.parametrize("scene", [TABLE, CARDS])
@pytest.mark.parametrize("phase", range(3))
def test_sweeps_are_still_again_after_a_knock(scene, phase):
    """A damped swing by up to 67 px ends within five sweeps; the planes of those after it must not stay shifted."""
    rng = np.random.default_rng(phase)
    check, count = MotionCheck(), len(renders.FOCUS)
    for number in range(12):
        times = np.maximum(np.arange(count) + count * (number - 2) + phase, 0) / 30
        swing = 110 * np.exp(-times / 0.12) * np.sin(2 * np.pi * 3.7 * times)
        views = [renders.turn(pixels, direction=0.6) for pixels in swing]
        result = check.check(renders.sweep(scene, rng, views, backwards=number % 2 == 1))
        moved = np.ptp(swing)
        if moved > 3.0:
            assert result.verdict != "still"
        if moved < 0.3:
            assert (result.verdict, result.reason) == ("still", ""), f"sweep {number}: {result.motion_px:.1f} px"
            assert result.motion_px < 0.8


def test_an_exposure_step_and_a_turn_between_sweeps_are_still():
    rng = np.random.default_rng(0)
    check = MotionCheck()
    steps = [(0, 1.0), (0, 0.6), (10, 0.6), (4, 1.1), (-15, 1.0), (60, 1.0), (60, 0.25), (60, 1.0), (60, 0.2)]
    for number, (pixels, gain) in enumerate(steps):
        views = [renders.turn(pixels)] * 4
        result = check.check(renders.sweep(TABLE, rng, views, gains=[gain] * 4, backwards=number % 2 == 1))
        assert result.verdict == "still", f"sweep {number}: {result.reason}"


@pytest.mark.parametrize("experienced", [True, False], ids=["with a previous sweep", "first sweep"])
@pytest.mark.parametrize("pixels", [3.0, 6.0, 10.0])
def test_a_bump_within_reach_is_measured_and_truly_repaired(pixels, experienced):
    rng = np.random.default_rng(int(pixels))
    check = MotionCheck()
    if experienced:
        check.check(renders.sweep(TABLE, rng, backwards=True))
    bumped = renders.turn(pixels, direction=1.0, roll=0.003)
    stack = renders.sweep(TABLE, rng, [STILL, bumped, bumped, bumped], reference=2)
    true = disagreement(bumped, STILL).max()
    result = check.check(stack)
    assert result.verdict == "repaired" and result.reason == ""
    assert result.motion_px == pytest.approx(true, abs=0.8)
    # What the repaired planes show is where it would have been, had the camera been at the reference all along.
    tiling = Tiling.for_stack(stack)
    for repaired, light in zip(result.stack.planes, renders.light(TABLE), strict=True):
        at_reference = Frame(renders.CAMERA.expose(renders.seen(light, bumped)), tiling)
        left = register(at_reference, Frame(repaired.image, tiling)).H
        assert disagreement(in_pixels(left, tiling.size), STILL).max() < 1.0
    assert result.stack.planes[2].image is stack.planes[2].image
    assert 0.9 < result.valid.mean() < 1.0 and result.valid[100:140, 140:180].all()


def test_a_bump_beyond_reach_is_rejected_with_its_size_and_planes():
    rng = np.random.default_rng(0)
    check = MotionCheck()
    check.check(renders.sweep(CARDS, rng))
    bumped = renders.turn(25.0)
    result = check.check(renders.sweep(CARDS, rng, [bumped, STILL, STILL, STILL], backwards=True))
    assert result.verdict == "rejected" and result.stack is None
    assert result.motion_px == pytest.approx(disagreement(bumped, STILL).max(), abs=1.5)
    assert result.reason == f"plane 1 moved by {result.motion_px:.1f} px"


def test_repair_can_be_turned_off_and_small_motion_is_let_through():
    rng = np.random.default_rng(0)
    views = [STILL, STILL, STILL, renders.turn(5.0)]
    assert MotionCheck(MotionConfig(repair_px=0.0)).check(renders.sweep(TABLE, rng, views)).verdict == "rejected"
    views = [STILL, STILL, STILL, renders.turn(0.5)]
    assert MotionCheck().check(renders.sweep(TABLE, rng, views)).verdict == "still"


def test_a_bumped_sweep_does_not_make_the_next_one_look_bumped():
    rng = np.random.default_rng(3)
    check = MotionCheck()
    bumped = renders.turn(20.0, direction=2.0)
    verdicts = [
        check.check(renders.sweep(TABLE, rng, views, backwards=number % 2 == 1)).verdict
        for number, views in enumerate([None, [STILL, STILL, bumped, bumped], [bumped] * 4, [bumped] * 4])
    ]
    assert verdicts == ["still", "rejected", "still", "still"]


def test_breathing_is_not_motion():
    rng = np.random.default_rng(4)
    check = MotionCheck()
    scales = np.array([1.03, 1.02, 1.01, 1.0])
    for number in range(3):
        order = scales[::-1] if number % 2 else scales
        views = [renders.zoomed(scale) for scale in order]
        result = check.check(renders.sweep(TABLE, rng, views, backwards=number % 2 == 1))
        assert result.verdict == "still", result.reason


def test_the_uncertainty_covers_the_error():
    error, stated = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        check = MotionCheck()
        check.check(renders.sweep(CARDS, rng))
        bumped = renders.turn(rng.uniform(3, 10), rng.uniform(0, 6))
        result = check.check(renders.sweep(CARDS, rng, [STILL, STILL, bumped, bumped]))
        error.append(result.motion_px - disagreement(bumped, STILL).max())
        stated.append(result.uncertainty_px)
    assert np.sqrt(np.mean(np.square(error))) < 2 * np.mean(stated)
    assert np.mean(stated) < 1.0


@functools.cache
def crossed() -> tuple[FocusStack, np.ndarray]:
    """Return a sweep of the table that a card crosses, and (H, W) bool where the card is in some plane."""
    crossing = card_mover(3, centre=(-0.25, 0.0, 0.7), size=(0.2, 0.25), path=drift(velocity=(1.5, 0, 0)))
    times = [0.0, 0.05, 0.1, 0.15]
    scene = make_scene(TABLE)
    stack, _ = render_stack(scene.with_mover(crossing), renders.CAMERA, renders.FOCUS, times=times, rng=5, views=16)
    return stack, _card(crossing, times)


@functools.cache
def slowly_crossed() -> tuple[FocusStack, np.ndarray]:
    """Return the same with a card that comes 3 px from plane to plane, and a bookend plane."""
    times = [0.0, 0.1, 0.2, 0.3, 0.4]
    crossing = card_mover(3, centre=(-0.05, 0.0, 0.7), size=(0.2, 0.25), path=drift(velocity=(0.06, 0, 0)))
    stack, _ = render_stack(
        make_scene(TABLE).with_mover(crossing),
        renders.CAMERA,
        (*renders.FOCUS, renders.FOCUS[0]),
        times=times,
        rng=5,
        views=16,
        reference=2,
    )
    return stack, _card(crossing, times)


def _card(crossing, times) -> np.ndarray:
    """Return (H, W) bool where a mover is seen before the table at some time."""
    depth = true_depth(make_scene(TABLE), renders.CAMERA)
    return np.any([true_depth(Scene(crossing.at(time)), renders.CAMERA) < depth for time in times], axis=0)


@pytest.mark.parametrize("experienced", [True, False], ids=["with a previous sweep", "first sweep"])
def test_a_mover_is_masked_and_leaves_no_trace(experienced):
    check = MotionCheck()
    rng = np.random.default_rng(5)
    if experienced:
        check.check(renders.sweep(TABLE, rng))
    stack, true = crossed()
    result = check.check(stack)
    assert result.verdict == "masked" and "moved independently of the camera in planes" in result.reason
    assert 0.03 < result.moving_share < 0.4
    assert result.stack is stack and np.array_equal(result.valid, ~result.moving)
    # Half of the card is behind other things, and its rim is blurred over them: on the safe side.
    assert (result.moving & true).sum() / (result.moving | true).sum() > 0.6
    assert (result.moving & true).sum() / true.sum() > 0.9
    assert check.check(renders.sweep(TABLE, rng, backwards=True)).verdict == "still"


@pytest.mark.parametrize(("length", "verdict"), [(1, "still"), (7, "rejected")])
def test_motion_blur_within_a_plane_is_rejected_and_leaves_no_trace(length, verdict):
    rng = np.random.default_rng(10)
    check = MotionCheck()
    check.check(renders.sweep(TABLE, rng))
    streak = np.zeros((length, length), np.float32)
    streak[length // 2] = 1 / length
    stack = renders.sweep(TABLE, rng, gains=[0.7] * 4)
    images = [plane.image for plane in stack.planes]
    images[1] = renders.CAMERA.expose(cv2.filter2D(renders.light(TABLE)[1], -1, streak), rng, 0.7)
    result = check.check(stack.with_images(images))
    assert result.verdict == verdict
    assert result.reason == ("" if verdict == "still" else "plane 2 blurred by motion")
    assert check.check(renders.sweep(TABLE, rng)).verdict == "still"


@pytest.mark.parametrize("plane", range(4))
def test_a_plane_that_is_blurred_alike_in_every_sweep_is_rejected(plane):
    verdicts = []
    for limit in (MotionConfig.neighbour_direction_loss, 0.0):
        rng = np.random.default_rng(10)
        check = MotionCheck(MotionConfig(neighbour_direction_loss=limit))
        for _ in range(2):
            stack = renders.sweep(TABLE, rng)
            images = [each.image for each in stack.planes]
            light = cv2.blur(renders.light(TABLE)[plane], (7, 1))
            images[plane] = renders.CAMERA.expose(light, rng, 1.0)
            result = check.check(stack.with_images(images))
        verdicts.append(result.verdict)
        assert not result.reason or (str(plane + 1) in result.reason and result.reason.endswith("blurred by motion"))
    assert verdicts == ["rejected", "still"]  # nothing else sees it


def test_a_shift_that_parallax_makes_uneven_is_never_passed_off_as_repaired():
    """A camera that moves sideways shifts near things more than far ones: no warp of the view undoes that."""
    check = MotionCheck()
    check.check(renders.sweep(TABLE, np.random.default_rng(6)))
    aside = Pose(rotation_matrix((0.0, 0.002, 0.0)), np.array([0.012, 0.0, 0.0]))
    poses = [Pose(), Pose(), aside, aside]
    stack, _ = render_stack(TABLE, renders.CAMERA, renders.FOCUS, poses=poses, rng=6, views=16)
    result = check.check(stack)
    assert result.verdict in ("rejected", "masked"), result
    assert result.motion_px > 3.0


def test_two_planes_are_enough_after_a_sweep_before_them():
    rng = np.random.default_rng(7)

    def pair(view):
        whole = renders.sweep(TABLE, rng, [STILL, STILL, view, view])
        return FocusStack(whole.planes[1:3], K=whole.K)

    check = MotionCheck()
    first, *others = (check.check(pair(view)) for view in (STILL, renders.turn(5.0), STILL))
    assert first.verdict == "unknown" and "motion of two planes looks like blur" in first.reason
    assert [result.verdict for result in others] == ["repaired", "still"]


def test_a_plane_of_another_scene_is_rejected():
    rng = np.random.default_rng(8)
    planes = renders.sweep(TABLE, rng).planes[:3] + renders.sweep(CARDS, rng).planes[3:]
    result = MotionCheck().check(FocusStack(planes, K=renders.CAMERA.K))
    assert result.verdict == "rejected" and result.stack is None
    assert "planes 3 and 4 show nothing in common" in result.reason


def test_a_change_of_size_forgets_the_previous_sweep():
    rng = np.random.default_rng(9)
    check = MotionCheck()
    check.check(renders.sweep(TABLE, rng))
    whole = renders.sweep(TABLE, rng)
    cropped = whole.with_images([np.ascontiguousarray(plane.image[:200]) for plane in whole.planes])
    assert check.check(cropped).verdict == "still"
    check.reset()
    assert check.check(renders.sweep(CARDS, rng)).verdict == "still"


def test_a_textureless_scene_is_unknown_and_the_configuration_decides():
    rng = np.random.default_rng(0)
    images = [np.clip(120 + 2 * rng.standard_normal((240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(3)]
    planes = [FocusPlane(image, focus) for image, focus in zip(images, (0.5, 1.0, 2.0), strict=True)]
    stack = FocusStack(tuple(planes))
    refused = MotionCheck().check(stack)
    assert refused.verdict == "unknown" and refused.stack is None
    assert np.isnan(refused.motion_px) and "texture" in refused.reason and refused.severity == np.inf
    accepted = MotionCheck(MotionConfig(accept_unknown=True)).check(stack)
    assert accepted.verdict == "unknown" and accepted.stack is stack
    assert np.isnan(accepted.motion_px) and "texture" in accepted.reason


def test_frames_too_small_to_see_motion_in_say_so():
    planes = tuple(FocusPlane(np.zeros((12, 20, 3), np.uint8), focus) for focus in (0.5, 1.0))
    with pytest.raises(InputError, match="20x12 px"):
        MotionCheck().check(FocusStack(planes))


def test_too_large_a_mover_rejects_the_sweep():
    check = MotionCheck(MotionConfig(masked_share=0.03))
    check.check(renders.sweep(TABLE, np.random.default_rng(5)))
    result = check.check(crossed()[0])
    assert result.verdict == "rejected" and result.stack is None
    assert "moved independently of the camera" in result.reason


def test_a_bookend_plane_shows_a_slow_mover_in_the_first_sweep():
    """A plane repeated at the end has the blur of the first: what differs has moved."""
    stack, card = slowly_crossed()
    result = MotionCheck().check(stack)
    assert result.verdict == "masked", result.reason
    assert [plane.focus_distance for plane in result.stack.planes] == list(renders.FOCUS)
    assert (result.moving & card).sum() / (result.moving | card).sum() > 0.6


def test_what_is_done_while_planes_arrive_changes_nothing():
    rng = np.random.default_rng(11)
    sweeps = [renders.sweep(TABLE, rng, backwards=number % 2 == 1) for number in range(3)]
    sweeps.append(renders.sweep(TABLE, rng, [STILL, STILL, renders.turn(6.0), renders.turn(6.0)], backwards=True))
    plain, early = MotionCheck(), MotionCheck()
    for stack in sweeps:
        for plane in stack.planes:
            early.add_plane(plane, stack.K)
        a, b = plain.check(stack), early.finish(stack)
        assert a.verdict == b.verdict
        assert b.motion_px == pytest.approx(a.motion_px, rel=1e-9)
        assert b.uncertainty_px == pytest.approx(a.uncertainty_px, rel=1e-9)


def test_planes_of_a_sweep_that_is_never_complete_are_released():
    check = MotionCheck()
    planes = list(renders.sweep(TABLE, np.random.default_rng(12)).planes)
    known = [weakref.ref(plane) for plane in planes]
    while planes:
        check.add_plane(planes.pop(0))
    assert [plane() is None for plane in known] == [True, True, True, False]  # the newest is the next one's neighbour
    check.reset()
    assert known[-1]() is None


def test_the_debug_picture_shows_what_is_masked():
    check = MotionCheck()
    check.check(renders.sweep(TABLE, np.random.default_rng(5)))
    still = debug_picture(check.check(renders.sweep(TABLE, np.random.default_rng(6))))
    masked = debug_picture(check.check(crossed()[0]))
    reddish = [((p[..., 0].astype(int) - p[..., 1]) > 60).mean() for p in (still, masked)]
    assert still.shape == masked.shape and still.dtype == np.uint8
    assert reddish[0] < 0.001 and 0.02 < reddish[1] < 0.4


def test_flow_follows_a_textured_mover_where_it_can_be_trusted():
    stack, card = slowly_crossed()
    masked = MotionCheck().check(stack)
    followed = MotionCheck(MotionConfig(follow_share=0.2)).check(stack)
    assert followed.verdict == "masked" and "which optical flow aligned" in followed.reason
    assert np.array_equal(followed.moving, masked.moving)
    filled = followed.valid & followed.moving
    assert not filled.all() and filled[card].mean() > 0.3
    grey = [[cv2.cvtColor(plane.image, cv2.COLOR_RGB2GRAY) for plane in r.stack.planes] for r in (masked, followed)]
    for plane in (0, 1, 3):
        blurred = [cv2.GaussianBlur(each[plane], (0, 0), 2.0) for each in grey]
        reference = cv2.GaussianBlur(grey[0][2], (0, 0), 2.0)
        apart, left = (np.corrcoef(each[filled & card], reference[filled & card])[0, 1] for each in blurred)
        assert left > 0.9 and left > apart, f"plane {plane}: {apart:.3f}, then {left:.3f}"
        outside = ~followed.moving
        assert np.array_equal(followed.stack.planes[plane].image[outside], stack.planes[plane].image[outside])
    assert followed.stack.planes[2].image is stack.planes[2].image
