"""pip build: the messages, and the files that ROS tools look for beside the Python package.

Names, versions and dependencies are in pyproject.toml; the build with a ROS distribution is CMakeLists.txt.
"""

import sys
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent))  # an isolated build does not import from the source folder

from build_messages import PACKAGE, BuildMessages, message_extension

# `ros2 run` and launch_ros look in lib/fossa_ros; pip puts its scripts, which know their Python, in bin.
LAUNCHER = """\
#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/../../bin/{name}" "$@"
"""


def write_launchers() -> list[str]:
    """Write one launcher for each console script and return their paths."""
    entry_points = ConfigParser()
    entry_points.read("entry_points.txt")
    folder = Path("build/launchers")
    folder.mkdir(parents=True, exist_ok=True)
    launchers = [folder / name for name in entry_points["console_scripts"]]
    for launcher in launchers:
        launcher.write_text(LAUNCHER.format(name=launcher.name))
        launcher.chmod(0o755)
    return [str(launcher) for launcher in launchers]


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Return what goes below share: every folder below ``folder`` with its files."""
    folders = [Path(folder), *sorted(path for path in Path(folder).rglob("*") if path.is_dir() and path.name[0] != "_")]
    return [
        (f"share/{PACKAGE}/{place}", sorted(str(file) for file in place.iterdir() if file.is_file()))
        for place in folders
    ]


setup(
    ext_modules=[message_extension()],
    cmdclass={"build_ext": BuildMessages},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *shared("foxglove"),
        *shared("launch"),
        *shared("config"),
        *shared("urdf"),
        (f"lib/{PACKAGE}", write_launchers()),
    ],
)
