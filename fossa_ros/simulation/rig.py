"""A simulated camera and lens in real time: images while the lens moves, the lens behind a serial port."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fossa_ros.core.errors import InputError
from fossa_ros.core.optics import dioptre_space
from fossa_ros.core.parameter import parameter, within
from fossa_ros.simulation.builder import DETAIL
from fossa_ros.simulation.camera import SimulatedCamera
from fossa_ros.simulation.focal_volume import FocalVolume
from fossa_ros.simulation.ld4_device import SimulatedLd4
from fossa_ros.simulation.lens_dynamics import LensDynamics, LensModel
from fossa_ros.simulation.live_sensor import LiveSensor
from fossa_ros.simulation.motion_path import BUMP_DECAYS, Path, Pose, bump, compose, still
from fossa_ros.simulation.pseudo_terminal import PseudoTerminal
from fossa_ros.simulation.rig_faults import RigFault, inject_lens_fault

TRIGGER_PAUSE = 2  # periods between the sweeps that the rig triggers itself
ANSWERED_S = 0.2  # for the program that parked the lens to read the answer and close the port


@dataclass(frozen=True)
class RigConfig:
    """What the rig simulates.

    Attributes:
        camera: geometry, thin lens and sensor; with focus breathing its ``K`` is that of the lens at rest.
        lens: physics of the tunable lens.
        bump_rotation: amplitude of a bump, radians about x, y, z. The default shakes the view by 30 px for a second,
            so that every sweep of the default camera sees it.
        bump_frequency: of its oscillation, Hz.
        bump_decay: time constant of its decay, seconds.
    """

    scene: int = parameter(0, "Seed of the scene", minimum=0, maximum=1_000_000)
    power_offset: float = parameter(
        2.0,
        "Dioptres of the fixed optics: 1 / focus distance = lens power + offset",
        unit="D",
        name="lens.power_offset",
    )
    lens: LensModel = field(default_factory=LensModel, metadata=within("lens."))
    camera: SimulatedCamera = field(default_factory=SimulatedCamera, metadata=within("camera."))
    rate: float = parameter(30.0, "Frames per second", unit="Hz", minimum=1.0, maximum=200.0, name="camera.rate")
    exposure: float = parameter(0.010, "Exposure time", unit="s", minimum=0.0001, maximum=0.1, name="camera.exposure")
    triggered_planes: int = parameter(
        0,
        "Planes of a rig that triggers lens and camera itself, one each frame, near to far; 0 for a lens that another "
        "program drives",
        minimum=0,
        maximum=64,
        name="trigger.planes",
    )
    triggered_near: float = parameter(0.35, "Nearest plane of such a rig", unit="m", minimum=0.2, name="trigger.near")
    triggered_far: float = parameter(6.0, "Farthest plane of such a rig", unit="m", minimum=0.2, name="trigger.far")
    bump_rotation: tuple[float, float, float] = (0.05, 0.03, 0.0)
    bump_frequency: float = 3.7
    bump_decay: float = 0.5
    seed: int = parameter(0, "Seed of the sensor noise", minimum=0, maximum=1_000_000)


@dataclass(frozen=True, eq=False)
class RigFrame:
    """One exposure.

    Attributes:
        stamp_ns: start of exposure.
        image: (H, W, 3) uint8 RGB.
        pose: of the camera at the start of exposure.
        powers: least and greatest focus of the whole optics during the exposure, dioptres.
    """

    stamp_ns: int
    image: np.ndarray
    pose: Pose
    powers: tuple[float, float]


class SimulatedRig:
    """A camera that exposes at a fixed rate and a lens driver on a pseudo-terminal, on one clock.

    Motion of lens and camera within an exposure blurs it (see FocalVolume). If the machine is too slow for the rate,
    exposures are skipped, never delayed.

    Args:
        config: what to simulate.
        on_frame: receives every frame once its exposure is over, in the rig's thread.
        clock: nanoseconds; stamps and lens dynamics are on it.
        link: path of a symbolic link to the lens's port, None for none.
        on_trigger: receives the stamp of each sweep that the rig triggers itself, when it begins.
        progress: called with 0..1 while the scene is rendered, which takes some seconds the first time and is cached.
    """

    def __init__(
        self,
        config: RigConfig,
        on_frame: Callable[[RigFrame], None],
        *,
        clock: Callable[[], int] = time.time_ns,
        link: str | None = None,
        on_trigger: Callable[[int], None] = lambda stamp_ns: None,
        progress: Callable[[float], None] | None = None,
    ):
        self._config = config
        self._on_frame = on_frame
        self._on_trigger = on_trigger
        self._clock = clock
        self._path = still
        self._knocks: list[tuple[float, Path]] = []  # when each is over, seconds
        self._sensor = LiveSensor(config.camera, config.seed)
        self._fault = RigFault.NONE
        self._stuck_at = 0.0  # dioptres, with RigFault.LENS_STUCK
        self._image: np.ndarray | None = None  # the last
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        nearest = config.lens.max_power + config.power_offset
        farthest = max(config.lens.min_power + config.power_offset, 0.0)
        self._volume = FocalVolume(
            config.scene,
            config.camera,
            (farthest, nearest),
            progress=progress,
            reference_power=max(config.lens.neutral_power + config.power_offset, 0.0),
            detail=DETAIL,
            cache=True,
        )
        self._dynamics = LensDynamics(config.lens)
        self._device = SimulatedLd4(self._dynamics, clock)
        self._link = link
        self._terminal: PseudoTerminal | None = PseudoTerminal(self._device, self._link)
        self.port = self._terminal.port

    def start(self) -> None:
        """Begin to expose."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="simulated-camera", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End exposing; the lens stays connected."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def await_rest(self, seconds: float) -> bool:
        """Wait until the lens has been parked, for at most ``seconds``; return whether it has."""
        deadline = time.monotonic() + seconds
        while not self._device.at_rest and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._device.at_rest:
            time.sleep(ANSWERED_S)
        return self._device.at_rest

    def close(self) -> None:
        """Stop, and remove the lens."""
        self.stop()
        if self._terminal is not None:
            self._terminal.close()

    def plug_lens(self) -> None:
        """Plug the lens in, at the link if there is one; does nothing if it is plugged in."""
        if self._terminal is None:
            self._terminal = PseudoTerminal(self._device, self._link)

    def unplug_lens(self) -> None:
        """Pull the cable of the lens, and with it its supply.

        Raises:
            InputError: there is no link, without which it would return at another port.
        """
        if self._link is None:
            raise InputError("Without a link the lens would return at another port; set lens.link.")
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None
            self._device.power_cycle()

    def set_fault(self, fault: RigFault) -> None:
        """Inject a fault into the lens, or clear it; camera faults are applied where the images are sent."""
        inject_lens_fault(self._device, fault)
        self._stuck_at = self._power_at(self._clock() / 1e9)
        self._fault = fault

    def bump(self) -> None:
        """Knock the camera now: a damped oscillation."""
        config, now = self._config, self._clock() / 1e9
        knock = bump(now, config.bump_rotation, frequency=config.bump_frequency, decay=config.bump_decay)
        # Each path costs time in every frame, also when it is over.
        self._knocks = [(end, path) for end, path in self._knocks if end > now]
        self._knocks.append((now + BUMP_DECAYS * config.bump_decay, knock))
        self._path = compose(*(path for _, path in self._knocks))

    def depth(self, pose: Pose) -> np.ndarray:
        """Return the true (H, W) float32 z-depth (m) seen from a pose."""
        return self._volume.depth(pose)

    def _run(self) -> None:
        if self._config.triggered_planes:
            self._run_triggered()
            return
        period = round(1e9 / self._config.rate)
        exposure = round(self._config.exposure * 1e9)
        start = self._clock()
        while not self._stopping.wait(max((start + exposure - self._clock()) / 1e9, 0.0)):
            if start >= self._dynamics.since_ns:  # false if the clock was set back since
                self._on_frame(self._expose(start, exposure))
            start += period
            late = self._clock() - start
            if late > exposure or late < -2 * period:  # too slow, or the clock was set back
                start += period * (late // period + 1)

    def _run_triggered(self) -> None:
        """Expose once in every plane, pause, and begin again; the lens moves on when an exposure is over."""
        config, count = self._config, self._config.triggered_planes
        period, exposure = round(1e9 / config.rate), round(config.exposure * 1e9)
        distances = dioptre_space(config.triggered_near, config.triggered_far, count)
        begin = self._clock() + period
        while not self._stopping.is_set():
            for index, distance in enumerate(distances):
                moves_ns = begin + (index - 1) * period + exposure
                self._dynamics.command(1 / float(distance) - config.power_offset, moves_ns)
            if self._stopping.wait(max((begin - self._clock()) / 1e9, 0.0)):
                return
            self._on_trigger(begin)
            for index in range(count):
                start = begin + index * period
                if self._stopping.wait(max((start + exposure - self._clock()) / 1e9, 0.0)):
                    return
                if self._clock() - start < 2 * period:  # a machine that is too slow loses frames
                    self._on_frame(self._expose(start, exposure))
            begin = max(begin + (count + TRIGGER_PAUSE) * period, self._clock() + period)

    def _expose(self, start_ns: int, exposure_ns: int) -> RigFrame:
        image = self._volume.exposed(self._power_at, self._path, start_ns / 1e9, exposure_ns / 1e9)
        powers = [self._power_at((start_ns + exposure_ns * share) / 1e9) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
        if self._image is None or self._fault is not RigFault.FRAMES_REPEAT:
            self._image = self._sensor.expose(image)
        return RigFrame(start_ns, self._image, self._path(start_ns / 1e9), (min(powers), max(powers)))

    def _power_at(self, seconds: float) -> float:
        """Return the focus of the whole optics in dioptres."""
        if self._fault is RigFault.LENS_STUCK:
            return self._stuck_at
        return self._dynamics.power_at(round(seconds * 1e9)) + self._config.power_offset
