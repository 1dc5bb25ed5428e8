"""The base class of all nodes: lifecycle transitions that fail with a sentence, autostart, and an orderly end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import cv2
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.timer import Timer

from fossa_ros.core.errors import FossaError, InputError
from fossa_ros.core.freed_memory import keep_freed_memory
from fossa_ros.core.missing_package import missing_package
from fossa_ros.parameters.config import parameters_of
from fossa_ros.parameters.node_config import NodeConfig
from fossa_ros.parameters.parameter_sections import read_sections
from fossa_ros.ros import environment, parameters
from fossa_ros.ros.launcher import Launcher
from fossa_ros.ros.log_throttle import Reminder
from fossa_ros.ros.long_step import LongStep

_LABELS = {
    Transition.TRANSITION_CONFIGURE: "configure",
    Transition.TRANSITION_DEACTIVATE: "deactivate",
    Transition.TRANSITION_CLEANUP: "cleanup",
    Transition.TRANSITION_INACTIVE_SHUTDOWN: "shutdown",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "shutdown",
}
AUTOSTART_PERIOD_S = 1.0  # after an attempt that failed
SWITCH_S = 0.0005  # of the interpreter between threads: how long one may delay another that has a frame to handle
# More threads make neither motion check nor classical estimator faster, and cost a fifth more processor time.
OPENCV_THREADS = 1
SPIN_PERIOD_S = 0.1  # after which a signal is noticed
_REFUSED_ARGUMENTS = (
    rclpy_implementation.RCLError,
    rclpy_implementation.RCLInvalidROSArgsError,
    rclpy_implementation.UnknownROSArgsError,
)


class Interrupted(FossaError):
    """A transition was abandoned because the process was asked to end."""


class ManagedNode(LifecycleNode):
    """A lifecycle node whose transitions fail with a sentence.

    A subclass implements ``prepare(config)``, ``configure(config)``, ``activate()``, ``deactivate()`` and
    ``cleanup()``. The first three may raise FossaError: it is logged, the node is cleaned up, and the transition
    returns FAILURE. ``cleanup`` must accept a node that was prepared or configured only in part.

    What waits for a device runs on a thread before the transition begins, so that services, parameters and
    ``/diagnostics`` go on meanwhile: ``prepare``, and, where a subclass has them, ``halt`` and ``close_devices``. The
    other steps run on the executor's thread.

    Args:
        name: of the node.
        config: class of the node's parameters.
        parameter_files: that the node was started with, for remarks on what in them has no effect.
        kwargs: for ``rclpy.lifecycle.LifecycleNode``.

    Attributes:
        NODE_NAME: name of the node, and of its logger before the node exists.
        ended: set once the process was asked to end.
        failure: why the last attempt to configure or activate failed; None after a success, and after a cleanup.
    """

    NODE_NAME: ClassVar[str]

    def __init__(self, name: str, config: type[NodeConfig], parameter_files: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._config_class = config
        self._table = parameters_of(config)
        self._configured = False
        self._reminder = Reminder()
        self._ahead: LongStep | None = None  # of a transition, which begins after it
        self.failure: Exception | None = None
        self.ended = threading.Event()
        # In rclpy, a request for a transition that the present state does not have would end the process.
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        # One transition at a time. The group is their own: while one is prepared, everything else goes on.
        self._transitions = MutuallyExclusiveCallbackGroup()
        self._service_change_state.callback_group = self._transitions
        self._transitions.add_entity(self._service_change_state)
        # Registered first, so that it also validates values at start-up.
        self.add_on_set_parameters_callback(self._validate_parameters)
        parameters.declare(self, self._table)
        self.add_post_set_parameters_callback(self._on_parameters_set)
        for remark in parameters.start_remarks(self, parameter_files):
            self.get_logger().warning(remark)
        self._autostart_timer: Timer | None = None
        if self.get_parameter("autostart").value:
            steady = Clock(clock_type=ClockType.STEADY_TIME)  # runs also before the first message on /clock
            self._autostart_timer = self.create_timer(0.0, self._autostart, self._transitions, clock=steady)

    def prepare(self, config: Any) -> None:
        """Do what may take long: open devices, load models; raise FossaError if that fails. Runs on its own thread.

        ``config`` is of the class given to the constructor.
        """

    def configure(self, config: Any) -> None:
        """Build everything else from the ``config`` that was prepared; raise FossaError if that fails."""
        raise NotImplementedError

    def check_live(self, config: Any) -> None:
        """Raise FossaError if a configured node cannot change to ``config``; only live parameters differ."""

    def apply_live(self, config: Any) -> None:
        """Change a configured node to ``config``, from the next sweep on; must return at once."""

    def activate(self) -> None:
        """Start the work of the node; raise FossaError if that is impossible."""
        raise NotImplementedError

    def halt(self) -> None:
        """Stop the threads and bring the devices to rest, before ``deactivate``, which may do the same again."""

    def deactivate(self) -> None:
        """Stop the work of the node."""
        raise NotImplementedError

    def close_devices(self) -> None:
        """Close the devices, before ``cleanup``, which may do the same again."""

    def cleanup(self) -> None:
        """Free everything that ``prepare`` and ``configure`` created."""
        raise NotImplementedError

    def now_ns(self) -> int:
        """Return the node's time in nanoseconds; simulated time with ``use_sim_time``."""
        return self.get_clock().now().nanoseconds

    def check_ended(self) -> None:
        """Raise Interrupted if the process was asked to end; long transitions call it, from any thread."""
        if self.ended.is_set():
            raise Interrupted("The process was asked to end.")

    @property
    def transitions(self) -> MutuallyExclusiveCallbackGroup:
        """The callback group of lifecycle transitions, for services that must not overlap with one."""
        return self._transitions

    async def aside(self, name: str, step: Callable[[], Any]) -> None:
        """Do what waits for a device on a thread ``name``, from a callback of the group ``transitions``.

        Raises:
            Exception: what ``step`` raises.
        """
        await self._on_thread(name, step)
        done, self._ahead = self._ahead, None
        done.result()

    @property
    def state(self) -> tuple[int, str]:
        """The present state: its number in ``lifecycle_msgs/State``, and its name."""
        number, name = self._state_machine.current_state
        return number, name

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        def build() -> None:
            config = parameters.read(self, self._config_class)
            prepared, self._ahead = self._ahead, None
            if prepared is None:  # a program that holds the node triggered the transition
                self.prepare(config)
            else:
                prepared.result()
            self.configure(config)
            self._configured = True
            self._succeeded()

        return self._attempt(build, self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        def start() -> None:
            self.activate()
            self._succeeded()

        super().on_activate(state)
        return self._attempt(start, lambda: self.on_deactivate(state))

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # The work stops before the publishers are disabled, so that its last results are published.
        outcome = self._attempt(self.deactivate)
        super().on_deactivate(state)
        return outcome

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._configured = False
        self.failure = None
        return self._attempt(self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def release(self) -> None:
        """Stop and free everything, from any state; also called when the process ends."""
        if self._autostart_timer is not None:
            self._autostart_timer.cancel()
        if self._ahead is not None:
            self._ahead.join()
            self._ahead = None
        self._attempt(self.deactivate)
        self._configured = False
        self._attempt(self.cleanup)

    def _attempt(self, step: Callable[[], Any], undo: Callable[[], Any] | None = None) -> TransitionCallbackReturn:
        # rclpy discards exceptions of transitions, so they are logged here.
        try:
            step()
        except Interrupted:
            self.get_logger().info("The transition was abandoned: the process was asked to end")
        except Exception as error:
            known = missing_package(error) if isinstance(error, ModuleNotFoundError) else None
            self.failure = error if known is None else known
            # Autostart tries each second.
            if not self._reminder.due(repr(self.failure)):
                pass
            elif isinstance(self.failure, FossaError):
                again = " Trying again until it succeeds." if self._autostarting() else ""
                self.get_logger().error(f"{self.failure}{again}")
            else:
                self.get_logger().fatal(f"Unexpected failure, please report it:\n{traceback.format_exc()}")
        else:
            return TransitionCallbackReturn.SUCCESS
        if undo is not None:
            self._attempt(undo)
        return TransitionCallbackReturn.FAILURE

    def _succeeded(self) -> None:
        self.failure = None
        self._reminder.due("")

    async def _on_thread(self, name: str, step: Callable[[], Any]) -> None:
        """Run ``step`` on a thread of its own; the executor goes on meanwhile."""
        done = Future(executor=self.executor)
        self._ahead = LongStep(name, step, partial(done.set_result, None))
        await done

    async def _prepare(self) -> None:
        """Prepare the present configuration; once more for every change of parameters meanwhile."""
        prepared = None
        while True:
            try:
                config = parameters.read(self, self._config_class)
            except FossaError:
                return  # the transition finds the same and reports it
            if config == prepared:
                return
            if prepared is not None:
                await self._on_thread("ending", self.close_devices)
            await self._on_thread("preparation", partial(self.prepare, config))
            prepared = config

    async def _end(self, *steps: Callable[[], Any]) -> None:
        """Do ``steps`` of a transition that ends something."""
        for step in steps:
            await self._on_thread("ending", partial(self._attempt, step))
        self._ahead = None

    async def _before(self, transition: Transition) -> None:
        """Do what takes long of a transition, where the present state has it."""
        match self.state[0], transition.label or _LABELS.get(transition.id, ""):
            case State.PRIMARY_STATE_UNCONFIGURED, "configure":
                await self._prepare()
            case State.PRIMARY_STATE_ACTIVE, "deactivate":
                await self._end(self.halt)
            case State.PRIMARY_STATE_INACTIVE, "cleanup":
                await self._end(self.close_devices)
            case ((State.PRIMARY_STATE_ACTIVE | State.PRIMARY_STATE_INACTIVE), "shutdown"):
                await self._end(self.halt, self.close_devices)

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        await self._before(request.transition)
        try:
            return self._change_state(request, response)
        except rclpy_implementation.RCLError:
            requested = request.transition.label or request.transition.id
            state = self._state_machine.current_state[1]
            self.get_logger().warning(f"Transition {requested} is refused: a node that is {state} does not have it.")
            response.success = False
            return response

    def set_parameters_atomically(self, parameter_list: list[RosParameter]) -> SetParametersResult:
        """Set what differs from the present values; the rest is accepted in every state, read-only or not."""
        changes, problem = parameters.changes_of(self, parameter_list, self._table)
        if problem or not changes:
            return SetParametersResult(successful=not problem, reason=problem)
        return super().set_parameters_atomically(changes)

    def _validate_parameters(self, changes: list[RosParameter]) -> SetParametersResult:
        result = parameters.check(changes, self._table, self._configured)
        if result.successful and self._configured:
            try:
                self.check_live(parameters.read(self, self._config_class, changes=changes))
            except FossaError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return result

    def _on_parameters_set(self, changes: list[RosParameter]) -> None:
        live = {parameter.name for parameter in self._table if parameter.live}
        if self._configured and any(change.name in live for change in changes):
            self.apply_live(parameters.read(self, self._config_class))

    def _autostarting(self) -> bool:
        return self._autostart_timer is not None and not self._autostart_timer.is_canceled()

    async def _autostart(self) -> None:
        done = TransitionCallbackReturn.SUCCESS
        succeeded = True
        if self.state[0] == State.PRIMARY_STATE_UNCONFIGURED:
            await self._prepare()
            succeeded = self.trigger_configure() == done
        if self.state[0] == State.PRIMARY_STATE_INACTIVE:
            succeeded = self.trigger_activate() == done
        if succeeded:
            self._autostart_timer.cancel()  # active, or in a state that another program chose
        else:
            self._autostart_timer.timer_period_ns = round(AUTOSTART_PERIOD_S * 1e9)
            self._autostart_timer.reset()


def prepare_process(opencv_threads: int | None = OPENCV_THREADS) -> None:
    """Set up this process for large images and several threads, before rclpy is initialised.

    ``opencv_threads`` of None leaves OpenCV's number of threads unchanged.
    """
    environment.complete()
    keep_freed_memory()  # fresh pages for every image cost more than the image
    sys.setswitchinterval(SWITCH_S)
    # Threads of PyTorch, which is imported later, that wait for work by spinning take the processors from the camera:
    # beside lens_aware on two of them, in three demos each, 22, 19 and 14 sweeps lost frames, sleeping 3, 6 and 15.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if opencv_threads is not None:
        cv2.setNumThreads(opencv_threads)


def _refusal(error: Exception, files: Iterable[str]) -> str:
    """Say in one sentence why rcl refuses the arguments; a parameter file that it refuses is read again for that."""
    for file in files:
        try:
            read_sections(file)
        except InputError as refusal:
            return str(refusal)
    reason = " ".join(str(error).split()).removeprefix("failed to initialize rcl: ").partition(", at /")[0]
    return f"ROS arguments are refused: {reason.rstrip('.')}; correct the command line or the parameter file."


def run(
    node_class: type[ManagedNode],
    args: list[str] | None = None,
    *,
    opencv_threads: int | None = OPENCV_THREADS,
) -> int:
    """Run one node until SIGINT, SIGTERM or the end of its launch; return the exit status of the process.

    The signal handlers of rclpy are not used. They shut down the context while threads still work, so that the lens
    could not be parked nor the last report published. Here, a signal ends the loop and the node is released in order.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    launch = Launcher()
    prepare_process(opencv_threads)
    create: Callable[..., ManagedNode] = node_class  # a subclass supplies its name and its configuration
    log = rclpy.logging.get_logger(node_class.NODE_NAME)
    files = parameters.parameter_files(sys.argv if args is None else args)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except _REFUSED_ARGUMENTS as error:
        log.fatal(_refusal(error, files))
        return 1
    try:
        try:
            node = create(parameter_files=files)
        except InputError as error:
            log.fatal(str(error))
            return 1
        except rclpy.exceptions.ParameterException as error:
            log.fatal(f"{error}; correct the parameter file or argument.")
            return 1
        node.ended = ended
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            while not ended.is_set():
                if launch.is_gone:
                    log.warning("The launch that started this node is gone; the node ends too.")
                    ended.set()
                executor.spin_once(timeout_sec=SPIN_PERIOD_S)
        finally:
            node.release()
            executor.shutdown()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return 0
