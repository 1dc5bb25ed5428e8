"""Message definitions for bags that are read or written without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fossa_ros.core.errors import InputError
from fossa_ros.io.installed import PACKAGE, share
from fossa_ros.messages.recorded import Definition

IDL_SECTION = "=" * 80 + "\nIDL: "  # before each of the definitions in one text, followed by its name


def typestore() -> Typestore:
    """Return the message definitions of ROS 2 Jazzy and of this package, for rosbags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted((share() / "msg").glob("*.msg")):
        store.register(get_types_from_msg(file.read_text(), f"{PACKAGE}/msg/{file.stem}"))
    return store


class Definitions:
    """The message definitions of a bag, and those of Jazzy and of this package for types that it does not define.

    Args:
        recorded: those in the bag, by type. Only those of types that are read are looked at.
    """

    def __init__(self, recorded: Mapping[str, Definition]):
        self._recorded = recorded
        self._known = typestore()
        self._stores: dict[str, Typestore] = {}

    def deserialize(self, raw: bytes | memoryview, msgtype: str) -> Any:
        """Return the message that some CDR holds; raises whatever rosbags raises on bytes that make no sense.

        Raises:
            InputError: there is no definition of the type.
        """
        store = self._stores.get(msgtype)
        if store is None:
            store = self._stores[msgtype] = self._store(msgtype)
        return store.deserialize_cdr(raw, msgtype)

    def _store(self, msgtype: str) -> Typestore:
        definition = self._recorded.get(msgtype, Definition())
        failure = None
        if definition.text.strip():
            try:
                types = _types(definition, msgtype)
                store = get_typestore(Stores.EMPTY)
                store.register(types)
                return store
            except Exception as error:  # the text may be anything
                failure = error
        if msgtype not in self._known.fielddefs:
            why = "is missing" if failure is None else f"cannot be read ({' '.join(str(failure).split())[:200]})"
            raise InputError(f"the definition of {msgtype} {why}, and it is not a type of ROS 2 Jazzy; record it again")
        if definition.type_hash and definition.type_hash != self._known.hash_rihs01(msgtype):
            raise InputError(
                f"the bag does not define {msgtype}, and that of ROS 2 Jazzy and fossa_ros is another version of it; "
                "record it again"
            )
        return self._known


def _types(definition: Definition, msgtype: str) -> dict[str, Any]:
    """Return what rosbags makes of a definition and the nested ones with it."""
    types: dict[str, Any] = {}
    if definition.encoding == "ros2msg":
        types.update(get_types_from_msg(definition.text, msgtype))
        return types
    if definition.encoding not in ("ros2idl", "omgidl"):
        raise ValueError(f"it is {definition.encoding}")
    first, *named = definition.text.split(IDL_SECTION)
    for text in [first, *(section.partition("\n")[2] for section in named)]:
        if text.strip():
            types.update(get_types_from_idl(text))
    return types
