"""From which figures on ``/diagnostics`` warns or reports an error: the parameters, and who judges by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fossa_ros.parameters.parameter import Parameter

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"  # diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True)
class Judged:
    """A figure that has thresholds.

    Attributes:
        name: of its parameters, ``diagnostics.NAME_warn`` and ``diagnostics.NAME_error``; 0 stands for never.
        meaning: in a sentence, after "less than" or "more than".
        unit: of figure and thresholds.
        warn, error: defaults.
        least: whether it is a least, not a most.
        maximum: of the thresholds; None for open.
    """

    name: str
    meaning: str
    unit: str
    warn: float
    error: float
    least: bool = False
    maximum: float | None = None

    def parameters(self) -> tuple[Parameter, Parameter]:
        """Return the two parameters of its thresholds."""
        beyond = "less" if self.least else "more"
        return tuple(
            Parameter(
                f"diagnostics.{self.name}_{level}",
                default,
                f"/diagnostics turns to {level.upper()} when the {self.meaning} is {beyond} than this; 0: never",
                self.unit,
                minimum=0.0,
                maximum=self.maximum,
                live=True,
            )
            for level, default in (("warn", self.warn), ("error", self.error))
        )

    def judge(self, value: float, values: Mapping[str, float]) -> tuple[bytes, str]:
        """Return the level of a figure, and a sentence that names the parameter where that is not OK."""
        for level, suffix in ((ERROR, "error"), (WARN, "warn")):
            name = f"diagnostics.{self.name}_{suffix}"
            bound = values[name]
            if bound and (value < bound if self.least else value > bound):
                unit, beyond = f" {self.unit}" if self.unit else "", "less" if self.least else "more"
                return level, f"{self.meaning} {value:.3g}{unit}, {beyond} than {name} ({bound:g}{unit})"
        return OK, ""


DEPTH_RATE = Judged("depth_rate", "depth rate", "Hz", 0.0, 0.0, least=True)
ACCEPTANCE = Judged("acceptance", "share of sweeps accepted", "", 0.5, 0.0, least=True, maximum=1.0)
SILENCE = Judged("silence", "time since the last depth", "s", 3.0, 10.0)
INFERENCE = Judged("inference", "inference", "ms", 0.0, 0.0)
TEMPERATURE = Judged("temperature", "lens temperature", "degC", 60.0, 70.0)
CLOCK_OFFSET = Judged("clock_offset", "clock offset of the camera", "s", 0.005, 0.05)
GPU_MEMORY = Judged("gpu_memory", "share of GPU memory in use", "", 0.9, 0.98, maximum=1.0)
DIAGNOSTICS = tuple(
    parameter
    for figure in (DEPTH_RATE, ACCEPTANCE, SILENCE, INFERENCE, TEMPERATURE, CLOCK_OFFSET, GPU_MEMORY)
    for parameter in figure.parameters()
)
DEFAULTS = {parameter.name: parameter.default for parameter in DIAGNOSTICS}
