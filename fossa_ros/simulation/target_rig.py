"""A simulated camera in front of a flat target, its lens behind a serial port, on a simulated clock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import cv2
import numpy as np

from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.flat_target import FlatTarget
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.live_sensor import LiveSensor
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal


@dataclass(frozen=True)
class TargetRigConfig:
    """What the rig simulates; its defaults are a lens that needs a calibration.

    Driven by current, the lens deviates from a straight line by a tenth of its range, has a hysteresis of 0.06 D,
    drifts by 0.04 D a degC while its current warms it, and breathes by 2 % over its range.

    Attributes:
        camera: geometry, thin lens, breathing and sensor.
        lens: physics of the tunable lens.
        power_offset: dioptres of the fixed optics: 1 / focus distance = lens power + offset.
        reference_power: focus in dioptres at which ``camera.K`` holds.
        rate: frames a second.
        exposure: seconds.
        seed: of the print and the sensor noise.
    """

    camera: SimulatedCamera = field(
        default_factory=lambda: SimulatedCamera(breathing_length=0.004, breathing_shift=(0.4, -0.2))
    )
    lens: LensModel = field(default_factory=lambda: LensModel(nonlinearity=0.2, hysteresis=0.06, drift=0.04))
    power_offset: float = 2.0
    reference_power: float = 2.0
    rate: float = 30.0
    exposure: float = 0.010
    seed: int = 0


class SimulatedClock:
    """A clock that is advanced explicitly: minutes of warming up take no time."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000):
        self._now = start_ns
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        with self._lock:
            return self._now

    def advance_to(self, t_ns: int) -> None:
        """Advance to ``t_ns``; never go back."""
        with self._lock:
            self._now = max(self._now, t_ns)


class TargetRig:
    """Camera, target and lens on one simulated clock; the lens's bytes go through a real pseudo-terminal.

    Attributes:
        clock: returns nanoseconds; give it to the lens driver.
        port: serial port of the lens.
        distance: of the target, metres; set it to move the target.
    """

    def __init__(self, config: TargetRigConfig | None = None, distance: float = 0.5):
        self.config = config or TargetRigConfig()
        self.clock = SimulatedClock()
        self.distance = distance
        self.dynamics = LensDynamics(self.config.lens)
        self._target = FlatTarget(self.config.camera, self.config.seed, self.config.reference_power)
        self._sensor = LiveSensor(self.config.camera, self.config.seed)
        self._epoch = self.clock()
        self._terminal = PseudoTerminal(SimulatedLd4(self.dynamics, self.clock))
        self.port = self._terminal.port

    def frame_after(self, t_ns: int) -> np.ndarray:
        """Return the first frame exposed from ``t_ns`` on, (H, W) uint8 grey; the clock advances to its end."""
        period, exposure = round(1e9 / self.config.rate), round(self.config.exposure * 1e9)
        earliest = max(t_ns, self.clock()) - self._epoch
        start = self._epoch + -(-earliest // period) * period
        image = self._sensor.expose(self._target.image(self.focus_at(start + exposure // 2), self.distance))
        self.clock.advance_to(start + exposure)
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    def wait(self, seconds: float) -> None:
        """Advance the clock."""
        self.clock.advance_to(self.clock() + round(seconds * 1e9))

    def focus_at(self, t_ns: int) -> float:
        """Return the true focus of the whole optics in dioptres."""
        return self.dynamics.power_at(t_ns) + self.config.power_offset

    def close(self) -> None:
        """Remove the lens."""
        self._terminal.close()

    def __enter__(self) -> TargetRig:
        return self

    def __exit__(self, *_) -> None:
        self.close()
