"""A straightforward implementation of FOSSA, the reference of benchmarks/fossa.py and of the tests.

Every step is written as in the paper: the MLP of the focus embedding runs at every token, each stack attention permutes
tokens to (positions, planes, channels) and back, and the head is plain NCHW. It loads the same checkpoints and gives
the same numbers. It shares no code with fossa_ros.estimators.fossa, so that their agreement is a test of both.

The attention of the encoder is written out, softmax(q k') v, as in the DINOv2 of Depth Anything V2 without xformers;
``fused=True`` uses PyTorch's fused attention, which is faster on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {
    # name: dim, blocks, heads, taps, head features, head channels
    "vits": (384, 12, 6, (2, 5, 8, 11), 64, (48, 96, 192, 384)),
    "vitb": (768, 12, 12, (2, 5, 8, 11), 128, (96, 192, 384, 768)),
    "vitl": (1024, 24, 16, (4, 11, 17, 23), 256, (256, 512, 1024, 1024)),
}
STACK_BLOCKS = 4
FUSE_BLOCK = 4


class PatchEmbed(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 14, 14)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, fused)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class FocusEncoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.mlp = nn.Sequential(nn.Linear(1, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens, focus):
        """Embed the focus distance at every token: (positions, planes, dim) and (positions, planes)."""
        return tokens + self.scale * self.mlp(focus[..., None])


class CrossPlaneAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.fd_encoder = FocusEncoder(dim)

    def forward(self, tokens, focus):
        t = self.fd_encoder(tokens, focus)
        p, n, c = t.shape
        q, k, v = (f(t).reshape(p, n, 8, c // 8).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(p, n, c))


class Geglu(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, 8 * dim)

    def forward(self, x):
        a, g = self.proj(x).chunk(2, dim=-1)
        return a * F.gelu(g)


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.ModuleList([Geglu(dim), nn.Identity(), nn.Linear(4 * dim, dim)])

    def forward(self, x):
        for layer in self.net:
            x = layer(x)
        return x


class PlaneTransformer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.attention_blocks = nn.ModuleList(CrossPlaneAttention(dim) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff = FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, h, focus):
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            h = h + attention(norm(h), focus)
        return h + self.ff(self.ff_norm(h))


class TemporalTransformer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.GroupNorm(32, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([PlaneTransformer(dim)])
        self.proj_out = nn.Linear(dim, dim)

    def forward(self, x, focus):
        """Mix (B, N, C, h, w) maps across the N planes at each position; focus is (B, N)."""
        b, n, c, height, width = x.shape
        h = self.norm(x.reshape(b * n, c, height, width)).reshape(b, n, c, height * width)
        h = self.proj_in(h.permute(0, 3, 1, 2).reshape(b * height * width, n, c))
        h = self.transformer_blocks[0](h, focus.repeat_interleave(height * width, dim=0))
        h = self.proj_out(h).reshape(b, height, width, n, c).permute(0, 3, 4, 1, 2)
        return x + h


class StackAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(dim)


class Encoder(nn.Module):
    def __init__(self, dim, depth, heads, taps, fused):
        super().__init__()
        self.taps = taps
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + 37 * 37, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.patch_embed = PatchEmbed(dim)
        self.blocks = nn.ModuleList(Block(dim, heads, fused) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.motion_modules = nn.ModuleList(StackAttention(dim) for _ in range(STACK_BLOCKS))

    def positions(self, ph, pw):
        if (ph, pw) == (37, 37):
            return self.pos_embed
        c = self.pos_embed.shape[-1]
        grid = self.pos_embed[:, 1:].float().reshape(1, 37, 37, c).permute(0, 3, 1, 2)
        scale = ((ph + 0.1) / 37, (pw + 0.1) / 37)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic").permute(0, 2, 3, 1).reshape(1, -1, c)
        return torch.cat([self.pos_embed[:, :1], grid.to(self.pos_embed.dtype)], dim=1)

    def forward(self, frames, focus):
        b, n, _, height, width = frames.shape
        ph, pw = height // 14, width // 14
        x = self.patch_embed(frames.flatten(0, 1))
        x = torch.cat([self.cls_token.expand(b * n, -1, -1), x], dim=1) + self.positions(ph, pw)
        taps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < STACK_BLOCKS:
                maps = x[:, 1:].transpose(1, 2).reshape(b, n, -1, ph, pw)
                maps = self.motion_modules[i].temporal_transformer(maps, focus)
                x = torch.cat([x[:, :1], maps.flatten(0, 1).flatten(2).transpose(1, 2)], dim=1)
            if i == FUSE_BLOCK:
                x = x.reshape(b, n, *x.shape[1:]).mean(dim=1)
            if i in self.taps:
                taps.append(x.reshape(b, n, *x.shape[1:]).mean(dim=1) if i < FUSE_BLOCK else x)
        return [self.norm(t)[:, 1:].transpose(1, 2).reshape(b, -1, ph, pw) for t in taps]


class ResidualConvUnit(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fusion(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)

    def forward(self, x, skip=None, size=None):
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        x = self.resConfUnit2(x)
        size = size or (2 * x.shape[2], 2 * x.shape[3])
        return self.out_conv(F.interpolate(x, size=size, mode="bilinear", align_corners=True))


class DepthHead(nn.Module):
    def __init__(self, dim, features, channels):
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(dim, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, 1),
            ]
        )
        self.scratch = nn.Module()
        for i, c in enumerate(channels, 1):
            setattr(self.scratch, f"layer{i}_rn", nn.Conv2d(c, features, 3, padding=1, bias=False))
            setattr(self.scratch, f"refinenet{i}", Fusion(features))
        self.scratch.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.scratch.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.Softplus()
        )

    def forward(self, taps, size):
        s = self.scratch
        layers = zip(taps, self.projects, self.resize_layers, strict=True)
        maps = [resize(project(tap)) for tap, project, resize in layers]
        maps = [getattr(s, f"layer{i}_rn")(m) for i, m in enumerate(maps, 1)]
        x = s.refinenet4(maps[3], size=maps[2].shape[2:])
        x = s.refinenet3(x, maps[2], size=maps[1].shape[2:])
        x = s.refinenet2(x, maps[1], size=maps[0].shape[2:])
        x = s.refinenet1(x, maps[0])
        x = F.interpolate(s.output_conv1(x), size=size, mode="bilinear", align_corners=True)
        return s.output_conv2(x)


class StraightforwardFossa(nn.Module):
    """Map a normalised (B, N, 3, H, W) stack and its (B, N) canonical focus distances to (B, 1, H, W) depth.

    ``size`` is a name in ``SIZES`` or a tuple like its values.
    """

    def __init__(self, size, fused=False):
        super().__init__()
        dim, depth, heads, taps, features, channels = SIZES.get(size, size)
        self.pretrained = Encoder(dim, depth, heads, taps, fused)
        self.depth_head = DepthHead(dim, features, channels)

    def forward(self, stack, focus):
        b, n, _, height, width = stack.shape
        short = min(height, width)
        size = [-(-(side * 518 // short) // 14) * 14 for side in (height, width)]
        frames = F.interpolate(stack.flatten(0, 1), size=size, mode="bilinear", align_corners=True)
        depth = self.depth_head(self.pretrained(frames.reshape(b, n, 3, *size), focus), size)
        return F.interpolate(depth, size=(height, width), mode="bilinear", align_corners=True)
