"""One program at a time drives a lens behind a ROS name."""

from __future__ import annotations

import socket

from fossa_ros.core.errors import LensError


def claim_lens(name: str, domain: int) -> socket.socket:
    """Reserve a lens for this program, until the returned socket is closed or the program ends.

    The lock is a Linux abstract socket, which needs no file and no permission. Other machines do not see it.

    Args:
        name: of the node or topic that drives it, namespace included.
        domain: of ROS.

    Raises:
        LensError: another program on this machine drives it already.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0fossa_ros/lens/{domain}{name}")
    except OSError as error:
        claim.close()
        raise LensError(
            f"The lens of {name!r} is driven by another program of this machine (ROS domain {domain}); "
            "close it or set another port."
        ) from error
    return claim
