"""Messages of megabytes whose data is written where it is sent from.

rclpy copies a message's data into a C message before DDS copies that again, with the interpreter locked. A message that
is serialised with room for its data spares the first copy: ``rcl`` takes it as it is, and other threads work on
meanwhile.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from rclpy.lifecycle import LifecyclePublisher
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, PointCloud2

AFTER_DATA = {Image: 0, PointCloud2: 1}  # bytes that follow the data in a serialised message: is_dense
LIBRARY = "librcl.so"
ALIGNMENT = 64  # bytes: of the data in memory


class InPlacePublisher:
    """Send messages of one kind through ``publisher``, their data written in place.

    ``write`` a message, or ``lay_out`` and fill the array it returns; then ``send``, which leaves the interpreter to
    other threads. One message after another; ``serialised`` holds the last, (N,) uint8.
    """

    def __init__(self, publisher: LifecyclePublisher):
        self._publisher = publisher
        self.topic = publisher.topic_name
        self._buffer = np.empty(0, np.uint8)
        self.serialised = self._buffer

    def wanted(self) -> bool:
        """Return whether somebody subscribes."""
        return self._publisher.get_subscription_count() > 0

    def lay_out(self, message: Image | PointCloud2, size: int) -> np.ndarray:
        """Return where the ``size`` bytes of data of ``message``, which has none yet, are to be written: (size,) uint8.

        What was laid out before is overwritten.
        """
        empty = np.frombuffer(serialize_message(message), np.uint8)
        after = AFTER_DATA[type(message)]
        before = len(empty) - after
        needed = len(empty) + size
        if len(self._buffer) < needed + ALIGNMENT:
            self._buffer = np.empty(needed + ALIGNMENT, np.uint8)
        start = -(self._buffer.ctypes.data + before) % ALIGNMENT
        self.serialised = self._buffer[start : start + needed]
        self.serialised[:before] = empty[:before]
        self.serialised[before - 4 : before].view(np.uint32)[0] = size
        self.serialised[before + size :] = empty[before:]
        return self.serialised[before : before + size]

    def write(self, message: Image | PointCloud2, data: np.ndarray) -> None:
        """Lay out ``message``, which has no data yet, with the bytes ``data``: (N,) uint8."""
        self.lay_out(message, data.size)[:] = data

    def send(self) -> None:
        """Publish what was laid out, unless the node is inactive."""
        if not self._publisher.is_activated:
            return
        publish = _publish()
        if publish is None:
            self._publisher.publish(self.serialised.tobytes())  # one copy more, and the interpreter locked
            return
        message = _Serialised(self.serialised.ctypes.data, len(self.serialised), len(self.serialised))
        handle = self._publisher.handle
        with handle:  # so that nobody destroys it meanwhile
            failed = publish(handle.pointer, ctypes.byref(message), None)
        if failed:
            raise RuntimeError(f"rcl_publish_serialized_message returned {failed} on {self.topic}")


class _Allocator(ctypes.Structure):
    """rcutils_allocator_t; unused, because nothing is allocated."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")]


class _Serialised(ctypes.Structure):
    """rcl_serialized_message_t."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("buffer_length", ctypes.c_size_t),
        ("buffer_capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    ]


@cache
def _publish():
    """Return ``rcl_publish_serialized_message``, None where the library that rclpy has loaded is not to be found."""
    try:
        function = ctypes.CDLL(LIBRARY).rcl_publish_serialized_message
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Serialised), ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function
