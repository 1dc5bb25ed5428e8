"""Say in one sentence which Python package to install, where one is missing."""

from __future__ import annotations

from fossa_ros.core.errors import InputError

# Where the name on PyPI is another one. Those of package.xml that rosdep does not know are missing most often.
PYPI = {
    "PIL": "pillow",
    "backports": "backports.zstd",
    "cv2": "opencv-python-headless",
    "rclpy": "ros-rclpy",
    "serial": "pyserial",
    "yaml": "pyyaml",
}


def missing_package(error: ModuleNotFoundError) -> InputError | None:
    """Return the error to show in place of ``error``; None if a module of this package is missing, which is a bug."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "fossa_ros"):
        return None
    return InputError(
        f"The Python package {package!r} is not installed; run: pip install {PYPI.get(package, package)} (on a robot, "
        "in the virtual environment that README describes)."
    )
