"""The figures on ``/diagnostics`` that have thresholds, and the thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from fossa_ros.core.parameter import parameter

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"  # diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True)
class Figure:
    """A figure that has thresholds.

    Attributes:
        name: of its parameters, ``diagnostics.NAME_warn`` and ``diagnostics.NAME_error``; 0 stands for never.
        meaning: in a sentence, after "less than" or "more than".
        unit: of figure and thresholds.
        beyond: whether a figure that is "less" or "more" than its threshold is bad.
        maximum: of the thresholds; None for no limit.
    """

    name: str
    meaning: str
    unit: str = ""
    beyond: str = "more"
    maximum: float | None = None

    def warn(self, default: float) -> float:
        """Declare the field ``NAME_warn`` of Thresholds."""
        return self._threshold("WARN", default)

    def error(self, default: float) -> float:
        """Declare the field ``NAME_error`` of Thresholds."""
        return self._threshold("ERROR", default)

    def _threshold(self, level: str, default: float) -> float:
        return parameter(
            default,
            f"/diagnostics turns to {level} when the {self.meaning} is {self.beyond} than this; 0: never",
            unit=self.unit,
            minimum=0.0,
            maximum=self.maximum,
            live=True,
        )

    def level(self, value: float, thresholds: Thresholds) -> tuple[bytes, str]:
        """Return the level of a value, and a sentence that names the parameter unless that is OK."""
        for level, suffix in ((ERROR, "error"), (WARN, "warn")):
            bound = getattr(thresholds, f"{self.name}_{suffix}")
            if bound and (value < bound if self.beyond == "less" else value > bound):
                unit = f" {self.unit}" if self.unit else ""
                name = f"diagnostics.{self.name}_{suffix}"
                return level, f"{self.meaning} {value:.3g}{unit}, {self.beyond} than {name} ({bound:g}{unit})"
        return OK, ""


DEPTH_RATE = Figure("depth_rate", "depth rate", "Hz", "less")
ACCEPTANCE = Figure("acceptance", "share of sweeps accepted", "", "less", 1.0)
SILENCE = Figure("silence", "time since the last depth", "s")
INFERENCE = Figure("inference", "inference time", "ms")
TEMPERATURE = Figure("temperature", "lens temperature", "degC")
CLOCK_OFFSET = Figure("clock_offset", "clock offset of the camera", "s")
GPU_MEMORY = Figure("gpu_memory", "share of GPU memory in use", "", "more", 1.0)


@dataclass(frozen=True)
class Thresholds:
    """Group ``diagnostics``: the values from which ``/diagnostics`` warns, or reports an error."""

    depth_rate_warn: float = DEPTH_RATE.warn(0.0)
    depth_rate_error: float = DEPTH_RATE.error(0.0)
    acceptance_warn: float = ACCEPTANCE.warn(0.5)
    acceptance_error: float = ACCEPTANCE.error(0.0)
    silence_warn: float = SILENCE.warn(3.0)
    silence_error: float = SILENCE.error(10.0)
    inference_warn: float = INFERENCE.warn(0.0)
    inference_error: float = INFERENCE.error(0.0)
    temperature_warn: float = TEMPERATURE.warn(60.0)
    temperature_error: float = TEMPERATURE.error(70.0)
    clock_offset_warn: float = CLOCK_OFFSET.warn(0.005)
    clock_offset_error: float = CLOCK_OFFSET.error(0.05)
    gpu_memory_warn: float = GPU_MEMORY.warn(0.9)
    gpu_memory_error: float = GPU_MEMORY.error(0.98)
