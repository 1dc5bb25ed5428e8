import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossa_ros.core.errors import InputError
from fossa_ros.core.geometry import POINT, coloured_cloud, point_cloud, scaled_intrinsics
from fossa_ros.core.stack import checked_intrinsics
from fossa_ros.io import ply
from fossa_ros.io.ply import write_ply

K = np.array([[50.0, 0.0, 31.5], [0.0, 40.0, 23.5], [0.0, 0.0, 1.0]])


def read_ply(path):
    """Read a PLY of scalar properties by its own header, independently of the writer."""
    data = path.read_bytes()
    end = data.index(b"end_header\n") + len(b"end_header\n")
    lines = data[:end].decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    kinds = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], kinds[line.split()[1]]) for line in lines if line.startswith("property")]
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[2])
    points = np.frombuffer(data[end:], fields)
    assert len(points) == count
    return points


@pytest.fixture
def scene():
    generator = np.random.default_rng(7)
    depth = generator.uniform(0.2, 9.0, (48, 64)).astype(np.float32)
    depth[3, 5], depth[0, 0], depth[1, 1], depth[2, 2] = np.nan, np.inf, 0.0, -1.0
    return depth, generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_points_project_back_to_their_pixels(scene):
    depth, _ = scene
    cloud = point_cloud(depth, K)
    assert cloud.dtype == np.float32 and cloud.shape == (48, 64, 3)
    unknown = {(3, 5), (0, 0), (1, 1), (2, 2)}
    assert {tuple(index) for index in np.argwhere(np.isnan(cloud).all(axis=2))} == unknown
    known = np.isfinite(cloud[..., 2])
    image = cloud[known] @ K.T.astype(np.float64)
    v, u = np.nonzero(known)
    np.testing.assert_allclose(image[:, 0] / image[:, 2], u, atol=2e-4)
    np.testing.assert_allclose(image[:, 1] / image[:, 2], v, atol=2e-4)
    np.testing.assert_array_equal(cloud[known, 2], depth[known])


def test_fronto_parallel_plane_spans_what_the_lens_sees():
    cloud = point_cloud(np.full((48, 64), 2.0, np.float32), K)
    np.testing.assert_allclose(cloud[23, 63], [2 * (63 - 31.5) / 50, 2 * (23 - 23.5) / 40, 2], rtol=1e-6)


def test_skew_moves_points_sideways():
    skewed = K.copy()
    skewed[0, 1] = 3.0
    point = point_cloud(np.full((48, 64), 2.0, np.float32), skewed)[40, 10].astype(np.float64)
    image = skewed @ point
    np.testing.assert_allclose(image[:2] / image[2], [10, 40], atol=1e-5)


def test_cloud_is_a_point_cloud2_as_it_stands(scene):
    depth, colour = scene
    cloud = coloured_cloud(depth, K, colour)
    assert cloud.shape == (48, 64) and cloud.dtype == POINT and cloud.flags.c_contiguous
    assert POINT.itemsize == 16 and [POINT.fields[n][1] for n in ("x", "y", "z", "rgb")] == [0, 4, 8, 12]
    raw = np.frombuffer(cloud.tobytes(), np.uint8).reshape(48, 64, 16)
    np.testing.assert_array_equal(raw[..., 12:15], colour[..., ::-1])
    assert not raw[..., 15].any()
    xyz = np.stack([cloud["x"], cloud["y"], cloud["z"]], axis=2)
    np.testing.assert_array_equal(xyz, point_cloud(depth, K))


def test_colour_of_another_size_is_refused(scene):
    depth, colour = scene
    with pytest.raises(ValueError, match="does not belong"):
        coloured_cloud(depth, K, colour[:-1])


def test_ply_holds_the_known_points_in_row_order(scene, tmp_path):
    depth, colour = scene
    count = write_ply(tmp_path / "cloud.ply", coloured_cloud(depth, K, colour))
    points = read_ply(tmp_path / "cloud.ply")
    expected = point_cloud(depth, K)
    known = np.isfinite(expected[..., 2])
    assert count == len(points) == known.sum() == 48 * 64 - 4
    np.testing.assert_array_equal(np.stack([points[a] for a in "xyz"], axis=1), expected[known])
    rgb = np.stack([points[c] for c in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(rgb, colour[known])
    assert [p.name for p in tmp_path.iterdir()] == ["cloud.ply"]
    own = ply.read_ply(tmp_path / "cloud.ply")
    for name in own.dtype.names:
        np.testing.assert_array_equal(own[name], points[name])
    whole = (tmp_path / "cloud.ply").read_bytes()
    for content in (whole[:-1], whole[:100], whole.replace(b"uchar", b"float"), b"", b"end_header\n"):
        (tmp_path / "cloud.ply").write_bytes(content)
        with pytest.raises(InputError, match="is not a cloud that this package wrote, or is cut off"):
            ply.read_ply(tmp_path / "cloud.ply")


def test_ply_that_cannot_be_written_leaves_nothing(scene, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="cannot be written"):
        write_ply(tmp_path / "file" / "cloud.ply", coloured_cloud(scene[0], K, scene[1]))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@settings(max_examples=50, deadline=None)
@given(st.integers(8, 400), st.integers(8, 400), st.integers(8, 400), st.integers(8, 400))
def test_scaled_intrinsics_see_the_same_rays(height, width, new_height, new_width):
    original = np.array([[1.1 * width, 0.2, 0.4 * width], [0.0, 1.2 * width, 0.6 * height], [0.0, 0.0, 1.0]])
    scaled = scaled_intrinsics(original, (height, width), (new_height, new_width))
    for x, y in ((0.0, 0.0), (width, 0.0), (width, height)):  # image corners, from the outer border
        ray = np.linalg.solve(original, [x - 0.5, y - 0.5, 1.0])
        moved = np.linalg.solve(scaled, [x * new_width / width - 0.5, y * new_height / height - 0.5, 1.0])
        np.testing.assert_allclose(moved, ray, atol=1e-9)
    checked_intrinsics(scaled, (new_height, new_width))
