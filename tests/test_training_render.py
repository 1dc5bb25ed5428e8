"""The renderer of training stacks: point spreads, the thin lens, occlusion, and what a sensor makes of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fossa_ros.core import optics
from fossa_ros.training import scenes
from fossa_ros.training.defocus import MARGIN, render_planes
from fossa_ros.training.lenses import MAX_BLUR, MIN_BLUR, TrainingLens, draw_focus, draw_lens
from fossa_ros.training.psf import RADII, deviation, transfer
from fossa_ros.training.random_source import RandomSource
from fossa_ros.training.rgbd import RgbdFrame, depth_layers, inpaint
from fossa_ros.training.sensor import expose, jpeg, linear, move
from fossa_ros.training.stacks import Imperfections, make_block, path_traced, photograph, rgbd_stack
from fossa_ros.training.surfaces import Surfaces
from fossa_ros.training.textures import texture_bank

SIDE = 64 + 2 * MARGIN
FLAWLESS = Imperfections(
    curvature=0.0,
    chromatic=(0.0, 0.0),
    cats_eye=0.0,
    vignetting=0.0,
    breathing=0.0,
    shift=torch.zeros(1, 2),
    focus_error=np.zeros(1),
    paths=0.0,
    unevenness=0.0,
)


def flat(colour, power, side=SIDE):
    """Return one surface of a grey picture at one power."""
    return Surfaces(colour.expand(1, 3, side, side), torch.ones(1, side, side), torch.full((1, side, side), power))


def point(radius, power, side=101, **shape):
    """Return the (side, side) image of a point, blurred and centred."""
    spectrum = transfer(torch.tensor([radius]), power, (side, side), **shape)[0]
    return torch.fft.fftshift(torch.fft.irfft2(spectrum, s=(side, side)))


def spread(image):
    """Return the standard deviation along x of the (S, S) image of a point."""
    axis = torch.arange(image.shape[-1]) - image.shape[-1] // 2
    return float((image.sum(0) * axis.square()).sum().sqrt())


def radii_like(scene, value, planes=1):
    side = scene.cover.shape[1] - 2 * MARGIN
    return torch.full((len(scene.cover), planes, 3, side, side), float(value))


@pytest.mark.parametrize("radius", [0.5, 1.0, 3.0, 7.4, 14.5])
def test_gaussian_and_disc_have_their_spread(radius):
    """p = 2 is a Gaussian of deviation c / 2, a large p the disc, of deviation c / 2 along each axis too."""
    gauss, disc = (point(radius, p) for p in (2.0, 500.0))
    assert spread(gauss) == pytest.approx(radius / 2, rel=0.01)
    assert spread(disc) == pytest.approx(radius / 2, rel=0.01)
    assert spread(point(radius, 5.0)) == pytest.approx(radius * deviation(5.0), rel=0.01)


def test_a_disc_is_flat_inside_and_nothing_outside():
    disc = point(12.0, 500.0)
    inside = disc[50, 50 - 8 : 50 + 8]
    torch.testing.assert_close(inside, torch.full_like(inside, 1 / (math.pi * 12**2)), rtol=0.1, atol=0)
    assert disc[50, 65:].abs().max() < 0.1 / (math.pi * 12**2)


@pytest.mark.parametrize("power", [2.0, 5.0, 32.0])
@pytest.mark.parametrize("cats_eye", [0.0, 0.5])
def test_energy_is_conserved(power, cats_eye):
    spectra = transfer(torch.tensor(RADII), power, (SIDE, SIDE), cats_eye=cats_eye, direction=0.7)
    torch.testing.assert_close(spectra[:, 0, 0], torch.ones(len(RADII)))
    torch.testing.assert_close(spectra[0], torch.ones_like(spectra[0]))
    colour = torch.zeros(SIDE, SIDE)
    colour[SIDE // 2, SIDE // 2] = 100.0
    for radius in (0.0, 1.2, 6.0, 10.0):
        image = render_planes(
            flat(colour, 1.0), radii_like(flat(colour, 1.0), radius), psf_power=power, cats_eye=cats_eye
        )
        assert float(image[0, 0].sum()) == pytest.approx(100.0, rel=1e-3)


def test_cats_eye_is_narrower_along_the_radius_of_the_image():
    psf = point(8.0, 32.0, 41, cats_eye=0.6, direction=0.0)
    assert spread(psf) < 0.8 * spread(psf.T)
    assert abs(float((psf.sum(0) * (torch.arange(41) - 20)).sum())) < 0.05


@pytest.mark.parametrize("f_number", [1.4, 4.0])
def test_blur_is_that_of_the_thin_lens(f_number):
    """The variance of a point's image is that of the circle of confusion's, c^2 / 4 along an axis for a Gaussian."""
    lens = TrainingLens(640, 600.0, 0.016, f_number)
    focus, depth = np.array([0.5, 0.8, 2.0]), 0.8
    colour = torch.zeros(SIDE, SIDE)
    colour[SIDE // 2, SIDE // 2] = 1.0
    scene = flat(colour, 1 / depth)
    radius = torch.tensor(lens.blur_per_dioptre(focus) * np.abs(optics.dioptres(focus) - 1 / depth)).float()
    images = render_planes(scene, radius[:, None, None, None].expand(1, 3, 3, 64, 64), psf_power=2.0)
    expected = optics.blur_radius(depth, focus, 0.016, f_number, 0.016 / 600.0)
    for image, c in zip(images[:, 0], expected, strict=True):
        axis = torch.arange(64) - 32.0
        variance = float((image.sum(0) * axis.square()).sum() / image.sum())
        assert math.sqrt(max(variance, 0)) == pytest.approx(c / 2, abs=0.03)


def test_foreground_blurs_over_background_and_not_the_other_way():
    """White in front of black, both out of focus in turn."""
    x = torch.arange(SIDE)
    cover = torch.stack([torch.ones(SIDE, SIDE), (x < SIDE // 2).float().expand(SIDE, SIDE)])
    colour = torch.stack([torch.zeros(3, SIDE, SIDE), torch.ones(3, SIDE, SIDE)])
    scene = Surfaces(colour, cover, torch.stack([torch.full((SIDE, SIDE), 0.5), torch.full((SIDE, SIDE), 2.0)]))
    near_blurred = radii_like(scene, 0.0)
    near_blurred[1] = 8.0
    far_blurred = radii_like(scene, 0.0)
    far_blurred[0] = 8.0
    soft = render_planes(scene, near_blurred, psf_power=4.0)[0, 0, 32]
    hard = render_planes(scene, far_blurred, psf_power=4.0)[0, 0, 32]
    assert 0.4 < soft[31:33].mean() < 0.6 and 0.05 < soft[36] < 0.4  # half covered at the edge, and beyond it
    torch.testing.assert_close(hard, (torch.arange(64) < 32).float(), rtol=0, atol=1e-4)


def test_background_shows_past_a_blurred_edge_as_it_is_behind():
    """What a blurred foreground lets through is the hidden surface, not the foreground's neighbours."""
    bar = torch.zeros(SIDE, SIDE)
    bar[:, SIDE // 2 - 2 : SIDE // 2 + 2] = 1
    hidden = torch.full((3, SIDE, SIDE), 0.8)  # bright all through, behind a narrow black bar
    scene = Surfaces(
        torch.stack([hidden, torch.zeros(3, SIDE, SIDE)]),
        torch.stack([torch.ones(SIDE, SIDE), bar]),
        torch.stack([torch.full((SIDE, SIDE), 0.5), torch.full((SIDE, SIDE), 3.0)]),
    )
    radius = radii_like(scene, 0.0)
    radius[1] = 9.0
    image = render_planes(scene, radius, psf_power=8.0)[0, 0]
    assert image[32, 32] > 0.4  # a bar 4 wide blurred over 18 hides less than a third
    assert scene.visible_power()[SIDE // 2, SIDE // 2] == 3.0


def test_slanted_surface_is_sharp_only_where_it_is_in_focus():
    grating = (0.5 + 0.5 * torch.cos(math.pi * torch.arange(SIDE) / 2)).expand(SIDE, SIDE)
    power = torch.linspace(0.5, 2.5, SIDE)[:, None].expand(SIDE, SIDE)
    scene = Surfaces(grating.expand(1, 3, SIDE, SIDE), torch.ones(1, SIDE, SIDE), power[None])
    inner = power[MARGIN:-MARGIN, MARGIN:-MARGIN]
    image = render_planes(scene, (6 * (inner - 1.5).abs()).expand(1, 1, 3, 64, 64), psf_power=2.0)[0, 0]
    contrast = image.amax(1) - image.amin(1)
    assert contrast[30:34].min() > 0.9 and contrast[:4].max() < 0.2 and contrast[-4:].max() < 0.2
    assert (contrast[:30].diff() > -0.02).all()


def test_lens_stays_within_the_blur_that_can_be_learnt():
    for seed in range(60):
        rng = RandomSource(3, seed)
        gap = rng.log_uniform(0.05, 6)
        lens = draw_lens(rng, gap)
        widest = float(lens.blur_per_dioptre(math.inf)) * gap
        assert MIN_BLUR - 0.01 < widest < MAX_BLUR + 0.1
        K = np.diag([lens.focal_length_px, lens.focal_length_px, 1])
        assert lens.canonical_scale == pytest.approx(optics.canonical_scale(K, 640))


def test_focus_distances_are_ordered_positive_and_cover_the_scene():
    covered = []
    for seed in range(60):
        power = torch.linspace(0.3, 3.0, 400).view(20, 20)
        focus = draw_focus(RandomSource(4, seed), power, 8)
        assert (np.diff(focus) > 0).all() and (focus > 0).all()
        covered.append(optics.dioptres(focus)[0] > 2.4 and optics.dioptres(focus)[-1] < 0.9)
    assert 0.5 < np.mean(covered) <= 1


def test_breathing_and_shift_move_a_point_where_they_should():
    image = torch.zeros(1, 3, 65, 65)
    image[..., 32 + 16, 32] = 1.0
    moved = move(image, torch.tensor([1.25]), torch.tensor([[2.0, 0.0]]), (0.0, 0.0))[0, 0]
    y, x = divmod(int(moved.argmax()), 65)
    assert (y, x) == (32 + 20, 34)
    still = move(image, torch.ones(1), torch.zeros(1, 2), (100.0, -40.0))
    torch.testing.assert_close(still, image, atol=1e-4, rtol=0)


def test_jpeg_is_near_at_high_quality_and_coarser_at_low():
    values = 255 * texture_bank(RandomSource(5), 4, 96).clamp(0, 1)[:, :, :90, :70]
    errors = [float((jpeg(values, quality) - values).abs().mean()) for quality in (97, 80, 55)]
    assert errors[0] < 2 and errors[0] < errors[1] < errors[2] < 12


def test_linear_inverts_the_sensor():
    scene = torch.linspace(0.0, 0.9, 64).expand(2, 3, 64, 64)
    rng = RandomSource(6)
    rng.chance = lambda probability: False  # neither noise nor JPEG
    back = linear(expose(scene, rng).float() / 255)
    ratio = back[0, 0, 0, 5:55] / scene[0, 0, 0, 5:55]
    assert ratio.std() / ratio.mean() < 0.03  # in proportion to the light, up to rounding


def test_blocks_are_a_function_of_seed_and_number():
    one, again, other = (make_block(7, number, 2, 56, 4, bank=(4, 96)) for number in (3, 3, 4))
    assert torch.equal(one.images, again.images) and torch.equal(one.truth, again.truth)
    assert not torch.equal(one.truth, other.truth)
    assert one.images.shape == (2, 4, 3, 56, 56) and one.images.dtype == torch.uint8
    assert one.disparity.shape == (2, 4) and one.truth.shape == (2, 56, 56)
    assert (one.truth > 0).all() and (one.disparity > 0).all()


def test_a_plane_in_focus_is_the_sharpest_of_its_stack():
    """Over many surfaces, most detail is where the focus is nearest to the truth: the rendered stacks make sense."""
    stacks = make_block(8, 0, 6, 96, 6, bank=(10, 200))
    grey = stacks.images.float().mean(2)
    detail = torch.nn.functional.avg_pool2d((grey[..., 1:, 1:] - grey[..., :-1, :-1]).square(), 8)
    truth = torch.nn.functional.avg_pool2d(stacks.truth[:, None, 1:, 1:], 8)
    nearest = (stacks.disparity[:, :, None, None] - truth).abs().argmin(1)
    low, high = (end[:, None, None] for end in (stacks.disparity.amin(1), stacks.disparity.amax(1)))
    inside = (truth[:, 0] > low) & (truth[:, 0] < high)
    textured = detail.amax(1) > 3 * detail.amin(1)
    best = detail.argmax(1)
    close = ((best - nearest).abs() <= 1)[textured & inside]
    assert len(close) > 50 and close.float().mean() > 0.8


def test_faults_of_the_lens_show():
    """Vignetting darkens away from the axis, and chromatic shift blurs red where green is sharp."""
    lens = TrainingLens(640, 600.0, 0.02, 1.4)
    texture = texture_bank(RandomSource(9), 2, SIDE).mean(1)[1]
    scene = flat(texture, 1.0)
    sharp, red, dark = (
        photograph(RandomSource(10), scene, lens, np.array([1.0]), replace(FLAWLESS, **change))[0]
        for change in ({}, {"chromatic": (0.5, 0.0)}, {"vignetting": 0.5})
    )
    torch.testing.assert_close(red[1], sharp[1])
    assert red[0].diff(dim=1).abs().mean() < 0.7 * sharp[0].diff(dim=1).abs().mean()
    assert 0.5 < float(dark.mean() / sharp.mean()) < 0.999


def test_noise_of_light_paths_is_that_of_their_mean():
    """Paths that find one radiance agree; of two radiances, half and half, the mean of n deviates by 1 / sqrt(n)."""
    faults = replace(FLAWLESS, paths=64.0)
    mean = torch.full((1, 3, 200, 200), 1.5)
    alike, mixed = mean.square(), torch.full_like(mean, (0.5**2 + 2.5**2) / 2)
    torch.testing.assert_close(path_traced(mean, alike, faults, RandomSource(20)), mean)
    noisy = path_traced(mean, mixed, faults, RandomSource(20))
    assert float(noisy.mean()) == pytest.approx(1.5, abs=0.002)
    assert float(noisy.std()) == pytest.approx(1.0 / 8, rel=0.02)


def test_a_path_traced_stack_is_noisiest_where_defocus_mixes():
    """A sharp edge has no such noise, the same edge out of focus has, and a flat surface never."""
    lens = TrainingLens(640, 600.0, 0.02, 1.4)
    halves = (torch.arange(SIDE) >= SIDE // 2).float()[None].expand(SIDE, SIDE)
    faults = replace(FLAWLESS, paths=64.0)
    scene = flat(0.1 + halves, 1.0)
    focus = np.array([1.0, 2.0])
    clean, noisy = (
        photograph(RandomSource(21), scene, lens, focus, replace(faults, paths=paths)) for paths in (0.0, faults.paths)
    )
    sharp, blurred = (noisy - clean).abs().mean((1, 2))  # (64,) columns; the edge is in the middle
    assert float(sharp.max()) < 1e-3
    assert float(blurred[31:33].mean()) == pytest.approx(0.5 / 8 * math.sqrt(2 / math.pi), rel=0.2)
    assert float(blurred[:4].max()) < 1e-3


def test_layers_of_a_picture_continue_behind_each_other():
    colour = torch.zeros(3, 32, 32)
    colour[0, :, :16], colour[1, :, 16:] = 1.0, 1.0  # red far on the left, green near on the right
    power = torch.where(torch.arange(32) < 16, 0.5, 2.0).expand(32, 32)
    scene = depth_layers(colour, power, layers=4)
    assert len(scene.cover) == 2
    torch.testing.assert_close(scene.sharp(), colour)
    torch.testing.assert_close(scene.visible_power(), power)
    assert scene.colour[0, 0].min() > 0.99  # red goes on behind the green
    assert scene.cover[0].min() == 1 and scene.cover[1, :, :16].max() == 0


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_what_stands_is_as_near_as_the_nearest_ground_it_hides(seed, monkeypatch):
    """Flat objects that face the camera, all of them standing: none is nearer than what it touches."""
    monkeypatch.setattr(scenes, "STANDING", 1.0)
    monkeypatch.setattr(scenes, "SHAPES", (scenes.polygon,))
    monkeypatch.setattr(scenes, "slant", lambda rng, grid, most: torch.zeros(grid.side, grid.side))
    scene = scenes.make_scene(RandomSource(seed), texture_bank(RandomSource(0), 4, 64, "cpu"), 64)
    behind, nearest = scene.power[0], float(scene.power[0].max())
    for cover, power in zip(scene.cover[1:] >= 0.5, scene.power[1:], strict=True):
        if cover.any():
            ground = float(behind[cover].max())
            nearest = max(nearest, ground)
            assert 0 <= float(power[cover].max()) - ground < 0.01 * nearest
            assert (power[cover] > behind[cover]).all()
            behind = torch.where(cover, power, behind)
    assert len(scene.cover) > 1


def test_plain_surfaces_have_hardly_any_texture(monkeypatch):
    """A tenth of the contrast of the others at most, whatever light falls on them."""
    bank = texture_bank(RandomSource(0), 8, 128, "cpu")

    def detail(share):
        monkeypatch.setattr(scenes, "PLAIN", share)
        painted = [scenes.paint(RandomSource(i), bank, scenes.Grid(96, "cpu")) for i in range(40)]
        smooth = [torch.nn.functional.avg_pool2d(p, 5, stride=1, padding=2, count_include_pad=False) for p in painted]
        return np.median([((p - s).std() / p.mean()).item() for p, s in zip(painted, smooth, strict=True)])

    assert detail(1.0) < 0.1 * detail(0.0)


def test_continuing_takes_the_nearest_colour():
    own = torch.zeros(16, 16, dtype=torch.bool)
    own[:, :4] = own[:, 12:] = True
    colour = torch.where(torch.arange(16) < 8, 0.2, 0.9).expand(3, 16, 16)
    filled = inpaint(colour, own)
    assert filled[0, 8, 4] < 0.5 < filled[0, 8, 11] and (filled >= 0.199).all() and (filled <= 0.901).all()


def test_stack_of_an_rgbd_image():
    rng = np.random.default_rng(0)
    depth = np.full((60, 80), 2.0, np.float32)
    depth[20:40, 30:60] = 1.0
    depth[:4, :4] = np.nan
    frame = RgbdFrame(rng.integers(0, 255, (60, 80, 3), np.uint8), depth, 0.5)
    stack = rgbd_stack(RandomSource(11), frame, 72, 5, "cpu")
    assert stack.images.shape == (1, 5, 3, 72, 72)
    known = stack.truth[stack.truth.isfinite()]
    # Canonical disparity = dioptres * fx / width, and the picture decides fx / width.
    assert set(np.round(known.unique().tolist(), 4)) <= {0.25, 0.5}
