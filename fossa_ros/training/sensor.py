"""From the light on the sensor to 8-bit images: exposure, noise, gamma, JPEG, and geometric imperfections."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fossa_ros.training.random_source import RandomSource

# ITU-T T.81 Annex K: the example quantisation tables of luminance and chrominance.
LUMINANCE = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
CHROMINANCE = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
# BT.601, full range, as JFIF has it.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def move(images: Tensor, scale: Tensor, shift: Tensor, centre: tuple[float, float]) -> Tensor:
    """Resample (N, 3, H, W) images, enlarged by (N,) ``scale`` about ``centre`` and shifted by (N, 2) ``shift`` (px).

    ``centre`` is the optical axis relative to the middle of the image (px, x and y); it may be outside the image.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2 - centre[0]
    y = torch.arange(height, device=images.device) - (height - 1) / 2 - centre[1]
    scale, shift = scale.to(images.device)[:, None], shift.to(images.device)
    u = (x[None] - shift[:, :1]) / scale + centre[0]
    v = (y[None] - shift[:, 1:]) / scale + centre[1]
    u, v = torch.broadcast_tensors(2 * u[:, None, :] / width, 2 * v[:, :, None] / height)
    grid = torch.stack([u, v], -1)
    # Bicubic, since a bilinear half-pixel shift blurs.
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def expose(images: Tensor, rng: RandomSource) -> Tensor:
    """Turn (N, 3, H, W) linear light into uint8 sRGB values: gain, flicker, noise, gamma, JPEG.

    The whole stack shares exposure and compression; flicker and noise differ between planes.
    """
    planes, device = len(images), images.device
    level = images[:, 1].flatten()[::13].float()
    bright = level.sort().values[int(0.97 * (len(level) - 1))].clamp_min(1e-3)
    gain = rng.uniform(0.5, 1.1) / bright
    flicker = 1 + rng.choice((0.0, 0.01, 0.04)) * (2 * rng.rand(planes, 1, 1, 1).to(device) - 1)
    light = images.clamp_min(0) * gain * flicker
    # The variance of shot noise is proportional to the light; read noise is constant.
    # The largest, about 7 of 255 in middle grey, is that of a small sensor at high gain.
    shot, read = rng.log_uniform(1e-5, 3e-3), rng.log_uniform(2e-4, 8e-3)
    if rng.chance(0.85):
        light = light + rng.noise(*light.shape, device=device) * (shot * light + read**2).sqrt()
    light = light.clamp(0, 1)
    srgb = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-6) ** (1 / 2.4) - 0.055)
    values = 255 * srgb
    if rng.chance(0.4):
        values = jpeg(values, rng.integer(55, 97))
    return values.round().clamp(0, 255).to(torch.uint8)


def linear(srgb: Tensor) -> Tensor:
    """Return the linear light of sRGB values in 0..1 (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def jpeg(values: Tensor, quality: int) -> Tensor:
    """Return (N, 3, H, W) values in 0..255 after JPEG compression without chroma subsampling."""
    height, width = values.shape[2:]
    to_ycc = torch.tensor(TO_YCC, device=values.device)
    ycc = torch.einsum("ij,njhw->nihw", to_ycc, values)
    ycc[:, 0] -= 128
    ycc = F.pad(ycc, (0, -width % 8, 0, -height % 8), mode="replicate")
    k = torch.arange(8, dtype=torch.float32)
    dct = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) * 0.5
    dct[0] /= math.sqrt(2)
    dct = dct.to(values.device)
    blocks = ycc.unfold(2, 8, 8).unfold(3, 8, 8)  # (N, 3, rows, columns, 8, 8)
    factor = 50 / quality if quality < 50 else 2 - quality / 50  # libjpeg's scale of the tables
    tables = torch.tensor([[int(v) for v in text.split()] for text in (LUMINANCE, CHROMINANCE, CHROMINANCE)])
    tables = (tables * factor).floor().clamp(1, 255).view(3, 1, 1, 8, 8).to(values.device)
    kept = (dct @ blocks @ dct.T / tables).round() * tables
    pixels = (dct.T @ kept @ dct).transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]
    pixels[:, 0] += 128
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), pixels).clamp(0, 255)
