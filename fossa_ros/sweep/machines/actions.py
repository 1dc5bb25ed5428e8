"""What a sweep asks its driver to do next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MoveLens:
    """Command the lens to ``focus_distance`` (m): call ``on_commanding``, send it, then call ``on_commanded``."""

    focus_distance: float


@dataclass(frozen=True)
class ReadLens:
    """Read the state of the lens, then call ``on_measured``."""


@dataclass(frozen=True)
class VerifyLens:
    """Verify that the lens still holds its last command, then call ``on_verified``."""


@dataclass(frozen=True)
class Wait:
    """Do nothing until a frame or a lens state arrives, or until ``until_ns``."""

    until_ns: int


@dataclass(frozen=True)
class Ended:
    """The sweep has ended; ``reason`` says why it is incomplete and is empty if it is complete."""

    reason: str


Action = MoveLens | ReadLens | VerifyLens | Wait | Ended
