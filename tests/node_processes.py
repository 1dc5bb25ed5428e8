"""Run nodes as processes, and talk to them from a ROS node of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python

from fossa_ros.ros import environment, qos

CONFIG = Path(__file__).parent.parent / "config" / "rig.yaml"
ANNOUNCEMENTS = Path(__file__).parent / "data" / "fastdds_announcements.xml"
TIMEOUT_S = 60.0
PATIENCE_S = 0.3  # for an answer that may be dropped


@contextmanager
def announced_often():
    """Have the participants of this process announced often; in force from the first one on, and not for children.

    Two processes that start together often miss the first announcement of each other, and find each other at the next
    one, by default after 3 s.
    """
    if any(name in os.environ for name in environment.PROFILE_VARIABLES):
        yield
        return
    os.environ[environment.PROFILE_VARIABLES[0]] = str(ANNOUNCEMENTS)
    try:
        yield
    finally:
        del os.environ[environment.PROFILE_VARIABLES[0]]


class Listener:
    """A ROS node of the test: collects the messages of topics by name in ``heard``, and calls services."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        with announced_often():
            self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list] = {}
        self._clients: dict[str, Client] = {}
        self._discovered: set[tuple] = set()  # services and the servers that know this node's clients of them

    def subscribe(self, kind, topic, profile=qos.RESULTS):
        heard = self.heard.setdefault(topic, [])
        return self.node.create_subscription(kind, topic, heard.append, profile)

    def wait_until(self, condition, what, timeout=TIMEOUT_S):
        """Spin until ``condition()``; ``what`` is missing else, words or a function that returns them."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"{what() if callable(what) else what}: not within {timeout} s"
            self.executor.spin_once(timeout_sec=0.05)

    def wait_for(self, topic, count=1, timeout=TIMEOUT_S):
        heard = self.heard[topic]
        self.wait_until(lambda: len(heard) >= count, f"{count} messages on {topic}", timeout)
        return heard

    def client(self, kind, service, timeout=TIMEOUT_S):
        """Return the client of a service, the same at every call, once its server will answer it."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.wait_until(client.service_is_ready, f"service {service}", timeout)
        self.wait_until_discovered(client.service_name)
        return client

    def wait_until_discovered(self, service):
        """Wait until the server of a service has discovered the clients that this node has made for it.

        A server drops the answer to a client that it has not discovered yet, though the client has discovered it. A
        process learns of another's clients in the order in which they were made, so an answer to a client made now
        shows that the server knows all those before it.

        Args:
            service: name with its namespace.
        """
        answers = f"rr{service}Reply"  # the topic of DDS, https://design.ros2.org/articles/topic_and_service_names.html
        self.wait_until(partial(self._servers, answers), f"a server of {service}")
        for server in self._servers(answers):
            identity = service, tuple(server.endpoint_gid)  # another one once the server's node was restarted
            if identity not in self._discovered:
                name = f"{server.node_namespace.rstrip('/')}/{server.node_name}"
                probe = self.node.create_client(GetParameters, f"{name}/get_parameters")
                self.wait_until(partial(self._answers, probe), f"an answer of {name}")
                self.node.destroy_client(probe)
                self._discovered.add(identity)

    def _servers(self, answers):
        found = self.node.get_publishers_info_by_topic(answers, no_mangle=True)
        return [server for server in found if "UNKNOWN" not in server.node_name]  # where only the topic is known yet

    def _answers(self, probe):
        answer = probe.call_async(GetParameters.Request())
        with suppress(AssertionError):
            self.wait_until(answer.done, "answer of a probe", PATIENCE_S)
        return answer.done()

    def call(self, kind, service, request, timeout=TIMEOUT_S):
        answer = self.client(kind, service, timeout).call_async(request)
        self.wait_until(answer.done, f"answer of {service}", timeout)
        return answer.result()

    def change(self, node, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, f"{node}/change_state", request).success

    def state(self, node):
        return self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.id

    def slowest_answer(self, node, condition):
        """Ask a node for its state until ``condition()``; return the longest wait for an answer in seconds."""
        client, slowest = self.client(GetState, f"{node}/get_state"), 0.0
        while not condition():
            asked = time.monotonic()
            answer = client.call_async(GetState.Request())
            self.wait_until(answer.done, "the state")
            slowest = max(slowest, time.monotonic() - asked)
        return slowest

    def slowest_during(self, node, transition):
        """Make a transition, which must succeed; return the longest wait for the state meanwhile, and its duration."""
        began = time.monotonic()
        request = ChangeState.Request(transition=Transition(id=transition))
        answer = self.client(ChangeState, f"{node}/change_state").call_async(request)
        slowest = self.slowest_answer(node, answer.done)
        assert answer.result().success
        return slowest, time.monotonic() - began

    def set(self, node, name, value):
        kind = Parameter.Type.DOUBLE_ARRAY if isinstance(value, list) else None
        request = SetParameters.Request(parameters=[Parameter(name, kind, value).to_parameter_msg()])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]

    def get(self, node, name):
        request = GetParameters.Request(names=[name])
        answer = self.call(GetParameters, f"{node}/get_parameters", request)
        return parameter_value_to_python(answer.values[0])

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def is_unbroken(reports):
    """Tell whether each sweep from the first reported one to the last has exactly one report.

    Reports come in the order in which sweeps end: that of an incomplete sweep overtakes that of an earlier one whose
    depth is still being made. A test waits for this, therefore.
    """
    numbers = sorted(report.sweep for report in reports)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@contextmanager
def spinning(*makers):
    """Run the nodes that ``makers`` make of a context, in a thread and a context of their own."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    executor = SingleThreadedExecutor(context=context)
    with announced_often():
        nodes = [make(context=context) for make in makers]
    for node in nodes:
        executor.add_node(node)
    ended = threading.Event()

    def spin():
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield nodes
    finally:
        ended.set()
        thread.join()
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def process(name, log, namespace="", autostart=True, environ=None, remap=None, file=CONFIG, **parameters):
    """Run a node as a process with the parameters of ``file`` and ``parameters``; check that it ends in order.

    Args:
        name: module of the node in fossa_ros.ros.
        log: file for its output.
        namespace: of the node.
        autostart: whether it configures and activates itself.
        environ: environment variables, beside those of the test.
        remap: names of topics and their replacements.
        file: YAML file of parameters.
        parameters: with ``__`` for the dot in a parameter's name.
    """
    command = [sys.executable, "-m", f"fossa_ros.ros.{name}", "--ros-args", "--params-file", str(file)]
    for old, new in {"__ns": f"/{namespace}", **(remap or {})}.items():
        command += ["-r", f"{old}:={new}"]
    for key, value in {"autostart": str(autostart).lower(), **parameters}.items():
        command += ["-p", f"{key.replace('__', '.')}:={value}"]
    with Path(log).open("wb") as output:
        environ = environment.child_environment(**(environ or {}))
        child = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
        try:
            yield child
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(20)
            finally:
                child.kill()
    assert child.returncode == 0, Path(log).read_text()


@contextmanager
def simulated_rig(folder, width, height, fx, namespace="", **parameters):
    """Run the simulated rig, and provide the link to the port of its lens once that exists."""
    link, log = folder / "lens", folder / "rig.log"
    camera = {"camera__width": width, "camera__height": height, "camera__fx": fx}
    with process("sim_rig_node", log, namespace, lens__link=link, **camera, **parameters) as child:
        deadline = time.monotonic() + TIMEOUT_S
        while not link.exists():
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield link
    assert not link.is_symlink(), "the rig left its port behind"
