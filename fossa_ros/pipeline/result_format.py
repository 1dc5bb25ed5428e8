"""How the results of sweeps are written into messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fossa_ros.core.parameter import check_ranges, parameter, within
from fossa_ros.pipeline.cloud import CloudConfig


@dataclass(frozen=True)
class ResultFormat:
    """Encodings of depth and colour, and the form of the cloud."""

    depth_encoding: Literal["32FC1", "16UC1"] = parameter(
        "32FC1",
        "Encoding of depth/image: 32FC1 in metres with NaN, or 16UC1 in millimetres with 0, where depth is unknown",
        name="depth.encoding",
    )
    depth_compression: Literal["png", "rvl"] = parameter(
        "png",
        "Format of depth/image/compressedDepth: png, or rvl, in half the processor time and with a third more bytes",
        live=True,
        name="depth.compression",
    )
    jpeg_quality: int = parameter(
        95,
        "Quality of the JPEG on all_in_focus/image/compressed",
        minimum=1,
        maximum=100,
        live=True,
        name="all_in_focus.jpeg_quality",
    )
    points: CloudConfig = field(default_factory=CloudConfig, metadata=within("points."))

    def __post_init__(self) -> None:
        check_ranges(self)
