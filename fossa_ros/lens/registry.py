"""Find lens backends by name: the built-in ones, and those other packages add as entry points.

A package adds a backend by declaring a name and a class that derives from FocusLens in the group ``fossa_ros.lenses``.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens.lens import FocusLens

GROUP = "fossa_ros.lenses"

# Listed here so that they are found in a source tree that is not installed. Their modules are imported when needed.
BUILT_IN = (
    EntryPoint("camera_ros", "fossa_ros.ros.camera_ros_lens:CameraRosLens", GROUP),
    EntryPoint("optotune_icc", "fossa_ros.lens.optotune_icc:OptotuneIcc", GROUP),
    EntryPoint("optotune_ld4", "fossa_ros.lens.optotune_ld4:OptotuneLd4", GROUP),
    EntryPoint("ros_parameter", "fossa_ros.ros.ros_parameter_lens:RosParameterLens", GROUP),
    EntryPoint("topic", "fossa_ros.ros.topic_lens:TopicLens", GROUP),
    EntryPoint("v4l2", "fossa_ros.lens.v4l2:V4l2Lens", GROUP),
    EntryPoint("varioptic_usbm", "fossa_ros.lens.varioptic_usbm:VariopticUsbM", GROUP),
)


def lens_backends() -> dict[str, EntryPoint]:
    """Return every known backend by name; another package cannot replace a built-in one."""
    return {point.name: point for point in (*entry_points(group=GROUP), *BUILT_IN)}


def open_lens(backend: str, port: str, *, clock: Callable[[], int] = time.time_ns, **options: Any) -> FocusLens:
    """Open the lens at ``port`` with the named backend.

    Args:
        backend: a name of ``lens_backends()``.
        port: where the device is, for example ``/dev/ttyACM0``.
        clock: returns nanoseconds on the clock that stamps the images.
        options: passed to the backend; see its class.

    Raises:
        InputError: an unknown backend, or an option or value the backend does not take.
        LensError: no such device, or one that does not answer as it should.
    """
    known = lens_backends()
    if backend not in known:
        raise InputError(f"There is no lens backend {backend!r}; choose one of: {', '.join(sorted(known))}.")
    try:
        make = known[backend].load()
    except (ImportError, AttributeError) as error:
        raise LensError(
            f"Lens backend {backend!r} ({known[backend].value}) cannot be loaded ({error}); "
            "repair or remove the package that provides it."
        ) from error
    signature = inspect.signature(make)
    try:
        signature.bind(port, clock=clock, **options)
    except TypeError as error:
        allowed = ", ".join(name for name in signature.parameters if name not in ("port", "clock"))
        raise InputError(
            f"Lens backend {backend!r} cannot take these options ({error}); it has: {allowed or 'none'}."
        ) from error
    lens: FocusLens = make(port, clock=clock, **options)
    return lens
