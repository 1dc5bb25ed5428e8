"""Any focus lens that a ROS node drives by one of its parameters."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rcl_interfaces.msg import ParameterDescriptor

from fossa_ros.core.errors import InputError, LensError
from fossa_ros.lens.command_lens import CommandLens, LensReading
from fossa_ros.lens.fixed_optics import FixedOptics
from fossa_ros.lens.lens import CommandRange, SettlingModel
from fossa_ros.ros.remote_parameters import RemoteParameters, Value

LOG = logging.getLogger(__name__)
STEP = 0.01  # of a floating-point parameter whose step is not known


@dataclass(frozen=True)
class Preset:
    """What a driver's parameters are called.

    Attributes:
        parameter: that sets the focus.
        first: what must be set before, so that the driver uses it: NAME:VALUE, separated by commas.
        least, greatest: its range, where the driver does not declare it.
    """

    parameter: str
    first: str
    least: float | None = None
    greatest: float | None = None


PRESETS = {
    # depthai_ros_driver 2.10, sensor_param_handler.cpp: r_focus counts while r_set_man_focus is true.
    "depthai": Preset("rgb.r_focus", "rgb.r_set_man_focus:true"),
    # v4l2_camera, v4l2_camera.cpp: a parameter for each control, named as newer kernels name it.
    "v4l2_camera": Preset("focus_absolute", "focus_automatic_continuous:false"),
    # usb_cam 0.8, usb_cam_node.cpp: no range, -1 leaves the focus alone; success is reported whatever the camera does.
    "usb_cam": Preset("focus", "autofocus:false", 0, 255),
}


class RosParameterLens(CommandLens):
    """Drive an integer or floating-point parameter of another node.

    A move sets the parameter and is acknowledged when the node has accepted it and gives it back; when the lens stands
    still after that, the node does not say: ``settling`` must cover it, the way to the camera included. What must be
    set first, manual focus for one, is set when the lens is opened, verified with every move, and restored when the
    lens is closed.
    """

    backend = "ros_parameter"

    def __init__(
        self,
        port: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        preset: str = "",
        parameter: str = "",
        first: str = "",
        least: float | None = None,
        greatest: float | None = None,
        step: float | None = None,
        unit: str = "steps",
        power_offset: float = 0.0,
        settling: float = 0.3,
        settling_per_step: float = 0.0,
        timeout: float = 2.0,
    ):
        """Find the node and read the range of its parameter; the lens does not move until the first command.

        Args:
            port: name of the node, for example ``/oak``.
            clock: returns nanoseconds of the clock that stamps images.
            preset: a name of ``PRESETS``, whose entries the other options override.
            parameter: name of the parameter that sets the focus.
            first: what to set before: NAME:VALUE, separated by commas.
            least: of the parameter; by default as the node declares it.
            greatest: likewise.
            step: likewise; 0.01 for a floating-point parameter without one.
            unit: D if the parameter is a power in dioptres, which makes the lens metric without a calibration.
            power_offset: dioptres of the fixed optics, with unit D.
            settling: seconds from the accepted command until the lens stands still in the images.
            settling_per_step: additional seconds for each unit of a move.
            timeout: seconds after which a call counts as not answered.

        Raises:
            InputError: an option cannot be used.
            LensError: there is no such node, or its parameter cannot be used.
        """
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {timeout}.")
        known = _preset(preset)
        self._parameter = parameter or known.parameter
        if not self._parameter:
            raise InputError(f"Name the parameter that sets the focus, or set preset to one of: {', '.join(PRESETS)}.")
        wanted = _pairs(first or known.first)
        super().__init__(clock, checked_optics(unit, power_offset))
        settles = SettlingModel(settling, settling_per_step)
        self._camera = RemoteParameters(port, timeout, "the driver of the camera")
        self._answers = True
        self._before: dict[str, Value] = {}
        self._first: dict[str, Value] = {}
        try:
            value = self._values([self._parameter])[self._parameter]
            self._whole = isinstance(value, int)
            if isinstance(value, bool | str):
                raise LensError(f"{self._where(self._parameter)} is no number; name the one that sets the focus.")
            descriptor = self._camera.descriptor(self._parameter)
            limits = (
                known.least if least is None else least,
                known.greatest if greatest is None else greatest,
            )
            span = self._span(descriptor, *limits, step, unit)
            if wanted:
                self._before = self._values(wanted)
                self._first = {name: _typed(wanted[name], held, name) for name, held in self._before.items()}
                self._camera.set(**self._first)
            self._set_capabilities(f"{self._parameter} of the ROS node {self._camera.camera}", span, settles)
        except BaseException:
            self._camera.close()
            raise

    def _command(self, value: float) -> float:
        span = self.capabilities.command
        target = span.least + round((value - span.least) / span.step) * span.step
        target = min(target, span.greatest)  # the greatest need not be a whole number of steps
        if faults := self._reading().faults:
            raise LensError(f"{faults[0]}; check that nothing else sets it.")
        self._call(lambda: self._camera.set(**{self._parameter: round(target) if self._whole else float(target)}))
        reading = self._reading()
        if reading.faults or not abs(reading.command - target) <= span.step / 2:
            held = reading.faults[0] if reading.faults else f"it holds {reading.command:g}"
            raise LensError(
                f"{self._where(self._parameter)} was set to {target:g}, but {held}; check that nothing else sets it, "
                "and that least and greatest are its range."
            )
        return float(target)

    def _read(self) -> LensReading:
        return self._reading()

    def _rest(self) -> None:
        """Go to the least value: the far end of most motors, where a voice coil draws the least current."""
        least = self.capabilities.command.least
        self._call(lambda: self._camera.set(**{self._parameter: round(least) if self._whole else float(least)}))

    def _free(self) -> None:
        try:
            if self._before and self._answers:
                self._camera.set(**self._before)
        except LensError as error:
            LOG.warning("The parameters of the camera were not restored: %s", error)
        finally:
            self._camera.close()

    @property
    def _is_open(self) -> bool:
        return self._camera.is_open

    def _reading(self) -> LensReading:
        """Ask the node for the value, and for what must have been set first."""
        values = self._call(lambda: self._values([self._parameter, *self._first]))
        faults = tuple(
            f"{self._where(name)} is {values[name]}, not {wanted}"
            for name, wanted in self._first.items()
            if values[name] != wanted
        )
        return LensReading(math.nan if faults else float(values[self._parameter]), faults=faults)

    def _values(self, names: list[str] | dict[str, str]) -> dict[str, Value]:
        values = self._camera.get(names)
        for name, value in values.items():
            if value is None:
                raise LensError(
                    f"{self._where(name)} does not exist; 'ros2 param list {self._camera.camera}' shows all."
                )
        return {name: value for name, value in values.items() if value is not None}

    def _call(self, call: Callable[[], object]) -> object:
        self._answers = False
        result = call()
        self._answers = True
        return result

    def _where(self, name: str) -> str:
        return f"The parameter {name!r} of the node {self._camera.camera!r}"

    def _span(
        self,
        descriptor: ParameterDescriptor | None,
        least: float | None,
        greatest: float | None,
        step: float | None,
        unit: str,
    ) -> CommandRange:
        declared = descriptor or ParameterDescriptor()
        for span in (*declared.integer_range, *declared.floating_point_range):
            least = span.from_value if least is None else least
            greatest = span.to_value if greatest is None else greatest
            step = span.step if step is None and span.step > 0 else step
        if least is None or greatest is None:
            raise LensError(f"{self._where(self._parameter)} declares no range; give the options least and greatest.")
        step = (1.0 if self._whole else STEP) if step is None else step
        return checked_range(self._parameter, unit, least, greatest, step)


def checked_optics(unit: str, power_offset: float) -> FixedOptics | None:
    """Return the optics of a lens whose command is in ``unit``, None if only a calibration can give metres."""
    if unit == "D":
        return FixedOptics(power_offset)
    if power_offset:
        raise InputError("power_offset needs unit=D: only a command in dioptres adds to that of the fixed optics.")
    return None


def checked_range(quantity: str, unit: str, least: float, greatest: float, step: float) -> CommandRange:
    """Return a range of commands; raises InputError for one that is empty or not finite."""
    if not (-math.inf < least < greatest < math.inf and 0 < step <= greatest - least):
        raise InputError(f"least, greatest and step cannot be {least:g}, {greatest:g} and {step:g}; correct them.")
    return CommandRange(quantity, unit, float(least), float(greatest), float(step))


def _preset(name: str) -> Preset:
    if not name:
        return Preset("", "")
    if name not in PRESETS:
        raise InputError(f"There is no preset {name!r}; choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for pair in filter(None, text.split(",")):
        name, colon, value = pair.rpartition(":")
        if not (name and colon and value):
            raise InputError(f"{pair!r} cannot be set first; write NAME:VALUE, for example autofocus:false.")
        pairs[name] = value
    return pairs


def _typed(text: str, held: Value, name: str) -> Value:
    """Return a text as a value of the type that the parameter holds now."""
    try:
        if isinstance(held, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(held)(text)
    except (KeyError, ValueError) as error:
        raise InputError(f"{name} holds {held}; set it first to a value of that kind, not {text!r}.") from error
