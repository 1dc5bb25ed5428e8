"""Build what the tests of builds need: the colcon environment, a colcon workspace, a wheel.

The results are kept in ``.venv-colcon`` and ``.test-builds`` under a hash of their sources, so that a second run uses
them again. As a script this module builds all of them: conftest.py runs it in the background while other tests run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
INTERFACES = ("action", "msg", "srv")
COLCON_VENV = ROOT / ".venv-colcon"
KEPT = ROOT / ".test-builds"
NICENESS = 15
UNREACHABLE = re.compile(r"ERROR: (No matching distribution|Could not (find|install)).*")


class Unreachable(Exception):
    """The packages that a build requires cannot be fetched."""


def run(*command, env, cwd) -> str:
    """Run a command and return its output.

    Raises:
        Unreachable: pip could not fetch a package.
        AssertionError: the command failed.
    """
    done = subprocess.run(command, env=env, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode and (unreachable := UNREACHABLE.search(done.stdout)):
        raise Unreachable(unreachable[0])
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout[-8000:]}"
    return done.stdout


def colcon_env() -> dict[str, str]:
    """Return the environment variables of .venv-colcon, made by the Makefile where it is missing or old."""
    # Without the variables of the environment that runs the tests: its libraries do not fit another Python.
    ours = {"LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS"}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    with _locked():
        run("make", "colcon-venv", f"PYTHON={sys._base_executable}", env=env, cwd=ROOT)
    return env | {
        "PATH": f"{COLCON_VENV}/bin:{env['PATH']}",
        "AMENT_PREFIX_PATH": str(COLCON_VENV),
        "MAKEFLAGS": "-j2",
    }


def colcon_workspace() -> Path:
    """Return a workspace in which this working tree is built and newly installed.

    The folder ``build`` of an earlier run is used again: CMake compiles only what has changed.
    """
    env = colcon_env()
    sources = [ROOT / ".ci" / "colcon-requirements.txt", ROOT / "CMakeLists.txt", ROOT / "package.xml"]
    interfaces = [file for kind in INTERFACES for file in (ROOT / kind).iterdir()]
    workspace = KEPT / f"colcon-{_hash([*sources, *interfaces])}"
    with _locked():
        _remove_others("colcon-*", workspace)
        finished = workspace / "finished"
        if not finished.exists():  # a build that was interrupted may have left half an object file
            shutil.rmtree(workspace, ignore_errors=True)
        (workspace / "src").mkdir(parents=True, exist_ok=True)
        (workspace / "src" / "fossa_ros").unlink(missing_ok=True)
        (workspace / "src" / "fossa_ros").symlink_to(ROOT)
        shutil.rmtree(workspace / "install", ignore_errors=True)  # a file that is no longer installed must not remain
        finished.unlink(missing_ok=True)
        run("colcon", "build", "--cmake-args", "-DBUILD_TESTING=OFF", env=env, cwd=workspace)
        finished.touch()
    return workspace


def distributions() -> tuple[Path, Path]:
    """Return the source distribution, and the wheel built from it, as a user of either gets them."""
    folder = KEPT / f"wheel-{_hash(_sources())}"
    with _locked():
        _remove_others("wheel-*", folder)
        if not list(folder.glob("*.whl")):
            # An isolated build gets Python's path from pip; ours would leak through this mark of the ROS wheels.
            env = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
            partial = KEPT / "partial"
            run(sys.executable, "-m", "build", "--outdir", partial, ROOT, env=env, cwd=KEPT)
            partial.rename(folder)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


def _sources() -> Iterable[Path]:
    """Return the files that a wheel is made from."""
    for entry in sorted(ROOT.iterdir()):
        if entry.is_file():
            yield entry
        elif entry.name in ("config", "fossa_ros", "foxglove", "launch", "resource", "urdf", *INTERFACES):
            yield from sorted(file for file in entry.rglob("*") if file.is_file() and not _made_in_place(file))


def _made_in_place(file: Path) -> bool:
    if "__pycache__" in file.parts or file.suffix == ".so":
        return True
    return any(file.is_relative_to(ROOT / "fossa_ros" / kind) for kind in INTERFACES)


def _hash(files: Iterable[Path]) -> str:
    """Return a short hash of the contents and places of files, and of the Python that builds."""
    found = hashlib.sha256(f"{sys.version} {sys.prefix} {ROOT}".encode())
    for file in sorted(files):
        found.update(f"{file} {file.stat().st_mode} ".encode() + file.read_bytes())
    return found.hexdigest()[:12]


def _remove_others(pattern: str, wanted: Path) -> None:
    """Remove the builds of other hashes, and the rest of an interrupted one."""
    for folder in KEPT.glob(pattern):
        if folder != wanted:
            shutil.rmtree(folder)
    shutil.rmtree(KEPT / "partial", ignore_errors=True)


@contextmanager
def _locked():
    """Exclude other processes that build; wait until they have finished."""
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    os.nice(NICENESS)
    colcon_workspace()
    distributions()
