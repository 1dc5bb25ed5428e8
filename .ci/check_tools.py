"""Say in one sentence what the system lacks to make the environment; runs on any Python 3."""

import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path


def missing():
    """Return a sentence on what is missing and how to get it, None where nothing is."""
    if sys.version_info < (3, 11):  # noqa: UP036  (that is the point of looking)
        return "This Python is too old; run make with PYTHON=python3.11 or newer."
    if not find_spec("venv") or not find_spec("ensurepip"):
        return "Python has no venv module; install it, e.g. apt install python3-venv."
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers are missing; install them, e.g. apt install python3-dev."
    if not shutil.which("gcc") or not shutil.which("g++"):
        return "The messages need a compiler; install gcc and g++, e.g. apt install build-essential."
    return None


sys.exit(missing())
