"""Configuration of each node: what all nodes have, what its parts have, and the thresholds of its diagnostics."""

from __future__ import annotations

from dataclasses import dataclass, field

from fossa_ros.core.parameter import parameter, within
from fossa_ros.parameters.capture_config import CaptureConfig
from fossa_ros.parameters.depth_config import DepthConfig
from fossa_ros.parameters.thresholds import Thresholds


@dataclass(frozen=True)
class NodeConfig:
    """What every node has."""

    autostart: bool = parameter(
        False,
        "Configure and activate without a lifecycle manager, and try again until that succeeds",
    )


@dataclass(frozen=True)
class WatchedNodeConfig(NodeConfig):
    """What every node has that reports its health on ``/diagnostics``."""

    diagnostics: Thresholds = field(default_factory=Thresholds, metadata=within("diagnostics."))


@dataclass(frozen=True)
class FossaNodeConfig(CaptureConfig, DepthConfig, WatchedNodeConfig):
    """Parameters of ``fossa_node``."""


@dataclass(frozen=True)
class SweepNodeConfig(CaptureConfig, WatchedNodeConfig):
    """Parameters of ``sweep_node``."""


@dataclass(frozen=True)
class DepthNodeConfig(DepthConfig, WatchedNodeConfig):
    """Parameters of ``depth_node``."""
