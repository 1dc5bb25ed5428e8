"""The gyroscope's buffer: samples in order, in the camera's axes and on its clock."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.sweep import GyroBuffer

MS = 1_000_000


def test_samples_come_back_in_order_within_the_bounds_asked_for():
    buffer = GyroBuffer()
    stamps = np.random.default_rng(1).permutation(200)
    assert all(buffer.add(int(stamp) * 5 * MS, (stamp * 0.1, -stamp, 0.5)) for stamp in stamps)
    found = buffer.between(50 * MS, 75 * MS)
    assert found.stamps_ns.tolist() == [50 * MS, 55 * MS, 60 * MS, 65 * MS, 70 * MS, 75 * MS]
    np.testing.assert_allclose(found.rates[1], [1.1, -11, 0.5])
    nothing = buffer.between(2_000 * MS, 3_000 * MS)
    assert nothing.stamps_ns.shape == (0,) and nothing.rates.shape == (0, 3)


def test_what_cannot_be_used_is_refused():
    buffer = GyroBuffer(span_ns=100 * MS)
    assert buffer.add(1000 * MS, (0, 0, 1))
    assert not buffer.add(1000 * MS, (0, 0, 2))
    assert not buffer.add(1005 * MS, (0, np.nan, 2))
    buffer.add(1150 * MS, (0, 0, 3))
    assert len(buffer) == 1  # the first is older than the buffer reaches
    buffer.add(10 * MS, (0, 0, 4))  # a bag that restarts
    assert buffer.between(0, 2000 * MS).stamps_ns.tolist() == [10 * MS]


def test_rates_are_turned_into_the_cameras_axes_and_stamps_to_its_clock():
    # A quarter turn about z: what the sensor calls x the camera calls y.
    buffer = GyroBuffer((0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)), clock_offset_ns=-3 * MS)
    buffer.add(10 * MS, (1.0, 2.0, 3.0))
    found = buffer.between(0, 20 * MS)
    assert found.stamps_ns.tolist() == [7 * MS]
    np.testing.assert_allclose(found.rates, [[-2.0, 1.0, 3.0]], atol=1e-12)
    with pytest.raises(InputError, match=r"imu\.rotation"):
        GyroBuffer((0.0, 0.0, 1.0, 1.0))


def test_one_thread_may_add_while_another_asks():
    buffer = GyroBuffer(span_ns=50 * MS)
    writer = threading.Thread(target=lambda: [buffer.add(i * MS, (i, i, i)) for i in range(5000)])
    writer.start()
    while writer.is_alive():
        found = buffer.between(0, 10**12)
        assert (np.diff(found.stamps_ns) == MS).all()
        np.testing.assert_array_equal(found.rates[:, 0], found.stamps_ns / MS)
    writer.join()
    assert len(buffer) == 51
