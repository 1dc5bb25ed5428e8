"""Message definitions for bags that are read or written without ROS."""

from __future__ import annotations

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fossa_ros.io.installed import PACKAGE, share


def typestore() -> Typestore:
    """Return the message definitions of ROS 2 Jazzy and of this package, for rosbags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted((share() / "msg").glob("*.msg")):
        store.register(get_types_from_msg(file.read_text(), f"{PACKAGE}/msg/{file.stem}"))
    return store
