"""Tiny data sets in the layouts that the benchmarks are published in, whose every value is known."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image, PngImagePlugin

F_NUMBERS = (1.4, 2.8)
DISTANCES = (0.8, 1.2, 1.7, 2.3, 3.0, 3.8, 4.7, 6.0, 8.0)


def texture(height, width, seed=0):
    """Return (H, W, 3) uint8 of blocks of random colour."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 226, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return np.repeat(np.repeat(blocks, 4, 0), 4, 1)[:height, :width]


def even(value, height, width):
    return Image.fromarray(np.full((height, width, 3), value, np.uint8))


def make_zedd(root, split="val", scenes=("val_0002", "val_0001"), size=(60, 100)):
    """ZEDD, its planes as grey as 10 times the number of their run, focused at that many times 0.5 m."""
    height, width = size
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"run_{run}\t{0x6D3E - run:X}\t{0.5 * run}" for run in range(1, 11)]
    (root / "metadata.txt").write_text("# run\tmotor\tfocus\n" + "\n".join(lines) + "\n")
    for scene in scenes:
        (root / split / scene / "focus_stack").mkdir(parents=True)
        (root / split / scene / "gt").mkdir()
        for run in range(1, 11):
            for f_number in F_NUMBERS:
                name = f"img_run_{run}_motor_{0x6D3E - run:X}_aperture_F{f_number:.1f}.jpg"
                even(10 * run, height, width).save(root / split / scene / "focus_stack" / name, quality=95)
        K = [[80.0, 0, width / 2 + 1], [0, 81.0, height / 2 - 1], [0, 0, 1]]
        np.savetxt(root / split / scene / "gt" / "K.txt", K)
        if split == "val":
            depth = np.broadcast_to(1 + np.arange(width) / 100, size).astype(np.float64)  # m, by column
            depth = depth.copy()
            depth[0, 40:] = np.nan
            depth[1, 40:] = 1001.0
            depth[2, 40:] = 0.005
            np.save(root / split / scene / "gt" / "depth.npy", depth)
    return root


def patterned(value, height, width):
    """Return an image of an even grey with a pattern that leaves its mean."""
    pattern = 6 * (np.indices((height, width)).sum(0) // 2 % 2 * 2 - 1)
    return Image.fromarray(np.repeat((value + pattern)[..., None], 3, 2).astype(np.uint8))


def make_infinigen(root, scenes=("1036e2cc_1", "11a3789d_2")):
    """Infinigen Defocus; planes as grey as 10 times the number of their distance. One scene is not listed."""
    listed = []
    for number, scene in enumerate((*scenes, "not_listed")):
        (root / scene).mkdir(parents=True)
        entry = {"id": scene, "depth": f"/{scene}/depth.npy", "camera": f"/{scene}/cam_all_in_focus.npz"}
        depth = np.full((32, 48), 2.0 + number, np.float32)
        depth[:4] = np.inf
        np.save(root / scene / "depth.npy", depth)
        np.savez(root / scene / "cam_all_in_focus.npz", K=[[50.0, 0, 24], [0, 50, 16], [0, 0, 1]], T=np.eye(4))
        for f_number in F_NUMBERS:
            for index, distance in enumerate(DISTANCES):
                file = f"image_ap_{f_number:.2f}_fd_{distance:.2f}.png"
                patterned(10 * (index + 1), 32, 48).save(root / scene / file)
                entry[f"image_ap_{f_number:.1f}_fd_{distance:.1f}"] = f"/{scene}/{file}"
        if number < len(scenes):
            listed.append(entry)
    (root / "val.json").write_text(json.dumps({"files": listed}))
    return root


def uniformat(height=40, width=64, transposed=False, seed=0):
    """Return what an ``.npy`` of the layout holds: a slanted surface, with a hole in the measurement."""
    depth = np.broadcast_to(np.linspace(0.25, 1.5, width, dtype=np.float32), (height, width)).copy()
    valid = np.ones((height, width), bool)
    valid[5:10, 20:30] = False
    K = np.array([[60.0, 0, 31.0], [0, 62.0, 19.0], [0, 0, 1]])
    return {
        "gt": np.where(valid, depth, 0),
        "depth_filled": depth,
        "rgb": texture(height, width, seed),
        "valid_mask": valid,
        "K": K.T if transposed else K,
    }


def make_ibims(root, count=2):
    (root / "ibims").mkdir(parents=True)
    for number in range(count):
        np.save(root / "ibims" / f"{number:06}.npy", uniformat(transposed=True, seed=number), allow_pickle=True)
    return root


def make_diode(root):
    for part, count in (("diode_indoor_v2", 1), ("diode_outdoor_v2", 2)):
        (root / "diode" / part).mkdir(parents=True)
        for number in range(count):
            np.save(root / "diode" / part / f"{number:06}.npy", uniformat(seed=number), allow_pickle=True)
    return root


def make_hammer(root, near="0.25", far="4.0", unit=None):
    """HAMMER: depth from 0.25 to 4 m by column; the first column unknown, the second infinite."""
    root.mkdir(parents=True)
    frames = ("scene2_traj1_1/000000", "scene2_traj1_1/000010")
    (root / ".index.txt").write_text("\n".join(frames) + "\n")
    for frame in frames:
        (root / frame).mkdir(parents=True)
        Image.fromarray(texture(40, 64)).save(root / frame / "image.jpg", quality=98)
        values = np.broadcast_to(np.linspace(1, 65534, 64).round(), (40, 64)).astype(np.uint16).copy()
        values[:, 0], values[:, 1] = 0, 65535
        text = PngImagePlugin.PngInfo()
        for name, value in (("near", near), ("far", far), ("unit", unit)):
            if value is not None:
                text.add_text(name, value)
        Image.fromarray(values).save(root / frame / "depth.png", pnginfo=text)
        K = [[0.9, 0, 0.5], [0, 1.4, 0.5], [0, 0, 1]]
        (root / frame / "meta.json").write_text(json.dumps({"intrinsics": K}))
    return root


def make_ddff12(path, count=2, size=(60, 90)):
    """DDFF-12: planes as grey as 10 times their number, disparity 0.1 px, unknown in the first rows."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    stacks = np.zeros((count, 10, *size, 3), np.uint8)
    stacks[:] = (10 * (1 + np.arange(10, dtype=np.uint8)))[:, None, None, None]
    disparities = np.full((count, *size), 0.1, np.float32)
    disparities[:, :5] = 0
    with h5py.File(path, "w") as file:
        file["stack_val"], file["disp_val"] = stacks, disparities
    return path
