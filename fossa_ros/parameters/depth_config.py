"""Configuration of what makes depth of sweeps: motion check, estimator and output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fossa_ros.core.parameter import parameter, seconds, within
from fossa_ros.estimators.estimator import Estimator
from fossa_ros.estimators.factory import DEFAULT_ESTIMATOR, ESTIMATORS, create_estimator, estimator_options
from fossa_ros.motion import MotionConfig
from fossa_ros.pipeline.depth_limits import DepthLimits
from fossa_ros.pipeline.region import Region
from fossa_ros.pipeline.result_format import ResultFormat
from fossa_ros.pipeline.temporal_filter import TemporalConfig


@dataclass(frozen=True)
class EstimatorConfig:
    """Which estimator to use, and the network of the FOSSA estimator."""

    name: str = parameter(
        DEFAULT_ESTIMATOR,
        "What turns a focus stack into depth: auto is classical on a CPU; on a GPU it is fossa if there is a "
        "checkpoint, else lens_aware; lens_aware is the most accurate on scenes with bare surfaces, "
        "and six times as slow as classical on a CPU; other packages can add theirs",
        choices=ESTIMATORS,
        name="estimator",
    )
    model: Literal["vits", "vitb", "vitl"] = parameter("vits", "FOSSA network, for estimator fossa and auto")
    checkpoint: str | None = parameter(
        None,
        "Weights of the network: a file, or for FOSSA a name on the Hugging Face hub that fossa weights fetch has "
        "fetched; empty for those included, of lens_aware",
    )
    device: str | None = parameter("auto", "Where the network runs: auto, cpu, cuda or cuda:N")
    precision: Literal["fp32", "bf16", "fp16"] = parameter("fp32", "Arithmetic of the network")
    compile: bool = parameter(False, "Compile the network with torch.compile, at the first stack of each size")

    def create(self) -> Estimator:
        """Make the estimator, its model loaded; raises InputError."""
        return create_estimator(self.name, **{option: getattr(self, option) for option in estimator_options(self.name)})


@dataclass(frozen=True)
class OutputConfig:
    """Group ``depth``: what becomes of a depth map before it is published."""

    focus_check: bool = parameter(
        True,
        "Whether a sweep is refused if the blur of its planes contradicts their focus distances: a lens that does not "
        "move, a frame that repeats, another order",
        live=True,
    )
    still_sweeps: int = parameter(
        1,
        "Sweeps whose images are averaged before depth is estimated, where nothing moves; it helps where images are "
        "noisy; 1 takes each sweep on its own",
        minimum=1,
        maximum=50,
        live=True,
    )
    temporal_memory: float = parameter(
        0.0,
        "Share of the past averaged into each depth map where both show the same surface; 0 leaves each map unchanged",
        minimum=0.0,
        maximum=0.95,
        live=True,
    )
    max_age_ns: int = seconds(
        0,
        "Depth older than this, from its stamp until it is ready, is reported as stale and not published; 0: no limit",
        minimum=0.0,
        maximum=3600.0,
        live=True,
    )

    @property
    def temporal(self) -> TemporalConfig | None:
        """How successive depth maps are filtered; None if each is left unchanged."""
        return TemporalConfig(memory=self.temporal_memory) if self.temporal_memory else None


@dataclass(frozen=True)
class DepthConfig:
    """Everything that decides how depth is made of sweeps."""

    estimator: EstimatorConfig = field(default_factory=EstimatorConfig, metadata=within(""))
    motion: MotionConfig = field(default_factory=MotionConfig, metadata=within("motion."))
    depth: OutputConfig = field(default_factory=OutputConfig, metadata=within("depth."))
    roi: Region = field(default_factory=Region, metadata=within("roi."))
    limits: DepthLimits = field(default_factory=DepthLimits, metadata=within("depth."))
    format: ResultFormat = field(default_factory=ResultFormat, metadata=within(""))
