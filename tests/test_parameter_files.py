"""Parameter files: a node and fossa replay read them alike, as rclpy does, and say what has no effect or is refused."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import rclpy
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fossa_ros.commands.cli import main
from fossa_ros.core.errors import InputError
from fossa_ros.parameters.config import parameters_of
from fossa_ros.parameters.node_config import FossaNodeConfig
from fossa_ros.parameters.parameter_file import read_config, remarks, values_of
from fossa_ros.parameters.parameter_sections import read_sections
from fossa_ros.ros import environment

PLANES = "ros__parameters:\n      sweep.planes: 3\n"
TYPO = "/**:\n  ros__parameters:\n    sweep.plane: 3\n    sweep.exposre: 0.01\n"
# name: the file, the node's namespace, the planes that node and replay have, and a sentence of each.
READ = {
    "bom_crlf": ("\ufeff/**:\r\n  ros__parameters:\r\n    sweep.planes: 3\r\n".encode(), "", 3, ""),
    "utf16": ("/**:\n  ros__parameters:\n    sweep.planes: 3\n".encode("utf-16"), "", 3, ""),
    "nested": (b"robot1:\n  fossa_node:\n    " + PLANES.encode(), "robot1", 3, ""),
    "nested_elsewhere": (
        b"robot1:\n  fossa_node:\n    " + PLANES.encode(),
        "",
        5,
        "sets nothing for /fossa_node: its sections are for /robot1/fossa_node",
    ),
    "namespace_wildcard": (b"/robot1/**:\n  ros__parameters:\n    sweep.planes: 3\n", "robot1", 3, ""),
    "star_nested": (b"/*:\n  fossa_node:\n    " + PLANES.encode(), "robot1", 3, ""),
    "groups": (b"fossa_node:\n  ros__parameters:\n    sweep: {planes: 3, near: 0.5}\n", "", 3, ""),
    "order": (
        b"fossa_node: {ros__parameters: {sweep.planes: 4}}\n/**: {ros__parameters: {sweep.planes: 3}}\n",
        "",
        3,
        "",
    ),
    "empty": (b"", "", 5, "sets nothing for /fossa_node: it is empty"),
    "typo": (TYPO.encode(), "", 5, "fossa_node has no parameter sweep.exposre; did you mean sweep.exposure?"),
    "other_node": (
        b"depth_camera:\n  ros__parameters:\n    sweep.planes: 3\n",
        "",
        5,
        "its sections are for /depth_camera; did you mean fossa_node?",
    ),
    "off": (b"fossa_node:\n  ros__parameters:\n    sweep.clock_estimate: off\n    sweep.planes: 3\n", "", 3, ""),
    "empty_list": (b"/**: {ros__parameters: {sweep.focus_distances: [], sweep.planes: 3}}\n", "", 3, ""),
}
REFUSED = {
    "integers": (b"fossa_node: {ros__parameters: {sweep.near: 1}}\n", "sweep.near", "write 1.0, not 1"),
    "float_for_integer": (b"fossa_node: {ros__parameters: {sweep.planes: 3.0}}\n", "sweep.planes", "write 3, not 3.0"),
    "list": (b"fossa_node:\n  ros__parameters:\n    sweep:\n    - planes: 3\n", "sweep.planes", "write 3, not a list"),
    "mixed_list": (
        b"fossa_node:\n  ros__parameters:\n    sweep.focus_distances: [0.35, 0.5, 1, 3]\n",
        "sweep.focus_distances",
        "write every one with a point, as in [0.35, 0.5, 1.0, 3.0]",
    ),
    "no_section": (b"sweep.planes: 3\n", "sweep.planes", "stands outside a section ros__parameters"),
    "one_underscore": (
        b"fossa_node:\n  ros_parameters:\n    sweep.planes: 3\n",
        "line 3",
        "ros_parameters needs two underscores",
    ),
    "tab": (b"fossa_node:\n\tros__parameters: {sweep.planes: 3}\n", "line 2", "replace the tab"),
    "quote": (b"fossa_node:\n  ros__parameters:\n    lens.port: '/dev/x\n", "quote", "close it"),
    "no_value": (b"fossa_node:\n  ros__parameters:\n    sweep.planes:\n", "sweep.planes has no value", "write one"),
    "nan": (b"fossa_node: {ros__parameters: {sweep.near: .nan}}\n", "sweep.near", "must be a number, not NaN"),
    "word": (b"fossa_node: {ros__parameters: {sweep.near: none}}\n", "sweep.near", "write a number, not 'none'"),
    "on": (b"fossa_node: {ros__parameters: {sweep.clock_estimate: on}}\n", "sweep.clock_estimate", "one of off"),
    "bool_text": (b"fossa_node: {ros__parameters: {lens.options: yes}}\n", "lens.options", "text in quotes"),
    "alias": (b"fossa_node: {ros__parameters: {sweep.near: &a 0.5, sweep.far: *a}}\n", "line 1", "no aliases"),
    "latin1": (b"fossa_node: {ros__parameters: {lens.port: '\xe9'}}\n", "YAML", "UTF-8"),
}


@contextmanager
def node_of(folder, name, content, namespace="", *arguments):
    """Run fossa_node with a parameter file; give it and its log."""
    file, log = folder / f"{name}.yaml", folder / f"{name}.log"
    file.write_bytes(content)
    command = [sys.executable, "-m", "fossa_ros.ros.fossa_node", "--ros-args", "--params-file", str(file)]
    command += ["-r", f"__ns:=/{namespace}", *arguments]
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env=environment.child_environment())
        try:
            yield child, file, log
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(20)
            finally:
                child.kill()


@pytest.mark.real_time
@pytest.mark.parametrize("name", READ)
def test_node_and_replay_read_a_file_alike(name, tmp_path, listener):
    content, namespace, planes, sentence = READ[name]
    with node_of(tmp_path, name, content, namespace) as (child, file, log):
        node = f"{'/' if namespace else ''}{namespace}/fossa_node"
        assert listener.get(node, "sweep.planes") == planes
        clock = listener.get(node, "sweep.clock_estimate")
    assert child.returncode == 0, log.read_text()
    said: list[str] = []
    config = read_config(FossaNodeConfig, "fossa_node", file, namespace=namespace, warn=said.append)
    assert (config.sweep.planes, config.sweep.clock_estimate) == (planes, clock)
    assert sentence in " ".join(said) and sentence in log.read_text()
    warned = [line for line in log.read_text().splitlines() if "WARN" in line]
    assert len(warned) == len(said) and bool(said) == bool(sentence)


@pytest.mark.real_time
@pytest.mark.parametrize("name", REFUSED)
def test_node_and_replay_refuse_a_file_in_the_same_sentence(name, tmp_path):
    content, named, advice = REFUSED[name]
    with node_of(tmp_path, name, content) as (child, file, log):
        assert child.wait(60) == 1, log.read_text()
    said = log.read_text()
    assert named in said and advice in said and "Traceback" not in said
    with pytest.raises(InputError) as refused:
        read_config(FossaNodeConfig, "fossa_node", file)
    assert named in str(refused.value) and advice in str(refused.value)
    bag = tmp_path / "bag"
    bag.mkdir()
    done = CliRunner().invoke(main, ["replay", str(bag), "--params", str(file), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and advice in " ".join(done.output.split())


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("sweep.near:=[1", "ROS arguments are refused"),
        ("sweep.near:=1", "write 1.0, not 1"),
        ("sweep.near:='0.4", "ROS arguments are refused"),
        ("sweep.focus_distances:=[0.4,1]", "ROS arguments are refused"),
    ],
)
def test_an_argument_that_rcl_refuses_is_a_sentence(argument, words, tmp_path):
    with node_of(tmp_path, "argument", b"", "", "-p", argument) as (child, _, log):
        assert child.wait(60) == 1
    assert words in log.read_text() and "Traceback" not in log.read_text()


@pytest.mark.real_time
def test_an_unknown_argument_is_warned_of(tmp_path, listener):
    with node_of(tmp_path, "argument", b"", "", "-p", "sweep.exposre:=0.01") as (_, _, log):
        listener.get("/fossa_node", "sweep.planes")
    assert "Argument -p sweep.exposre: fossa_node has no parameter sweep.exposre; did you" in log.read_text()


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("sweep.near='0.4", "not ''0.4': a quote or bracket is not closed"),
        ("sweep.near=0.4'", "write a number"),
        ("sweep.near=\t0.4", "replace the tab"),
        ("sweep.near=nan", "must be a number, not NaN"),
        ("sweep.planes=nan", "write a whole number, not nan"),
        ("sweep.planes=3.0", "write 3, not 3.0"),
        ("sweep.clock_estimate=on", "must be one of off, report, correct"),
        ("sweep.focus_distances=[0.4, near]", "write a list of numbers"),
        ("lens.options=a: 1", "in quotes"),
        ("lens.options=*x", "in quotes"),
        ("sweep.exposre=0.01", "did you mean sweep.exposure?"),
        ("sweep.near=\x00", "must be like 0.35"),
    ],
)
def test_a_pair_that_cannot_be_read_is_a_sentence(pair, words):
    with pytest.raises(InputError, match=re.escape(words)) as refused:
        read_config(FossaNodeConfig, "fossa_node", None, [pair])
    assert str(refused.value).endswith((".", "?", "(the command line)."))


def test_pairs_need_neither_quotes_nor_points():
    pairs = ["sweep.near=1", "sweep.focus_distances=[1, 2.5]", "lens.port=5", "sweep.clock_estimate=off"]
    config = read_config(FossaNodeConfig, "fossa_node", None, [*pairs, "lens.options=2001-99-99"])
    assert (config.sweep.near, config.sweep.focus_distances) == (1.0, (1.0, 2.5))
    assert (config.lens.port, config.sweep.clock_estimate) == ("5", "off")
    assert config.lens.options == "2001-99-99"


def test_replay_takes_the_namespace_that_the_file_names(tmp_path):
    file = tmp_path / "two.yaml"
    sections = [f"/{side}/fossa_node: {{ros__parameters: {{sweep.planes: {n}}}}}" for side, n in (("l", 3), ("r", 4))]
    file.write_text("\n".join(sections))
    with pytest.raises(InputError, match="in the namespaces /l, /r; choose one with --namespace"):
        read_config(FossaNodeConfig, "fossa_node", file)
    assert read_config(FossaNodeConfig, "fossa_node", file, namespace="r").sweep.planes == 4


def test_a_section_for_every_node_may_hold_what_other_nodes_have(tmp_path):
    file = tmp_path / "shared.yaml"
    file.write_text(
        "/**: {ros__parameters: {use_sim_time: true, robot_radius: 0.2, sweep.planes: 3, motion.stil_px: 1.0}}"
    )
    known = {parameter.name for parameter in parameters_of(FossaNodeConfig)}
    (remark,) = remarks(read_sections(file), "/fossa_node", known, "shared.yaml")
    assert remark == "shared.yaml: fossa_node has no parameter motion.stil_px; did you mean motion.still_px?"


@pytest.fixture(scope="module")
def context():
    made = rclpy.Context()
    rclpy.init(args=[], context=made)
    # A context has a participant of DDS while it has a node. Of hundreds that are made and destroyed while other
    # processes are discovered, one may hang: Fast DDS 2.14 waits in DomainParticipant::set_listener for a callback, and
    # by spinning keeps it from the mutex that it needs to end.
    kept = rclpy.create_node("kept", context=made, enable_rosout=False, start_parameter_services=False)
    yield made
    kept.destroy_node()
    rclpy.shutdown(context=made)


def rclpy_values(context, file, namespace):
    """Return the values that rclpy gives a node; None if it refuses the file."""
    try:
        node = rclpy.create_node(
            "fossa_node",
            context=context,
            namespace=namespace,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            cli_args=["--ros-args", "--params-file", str(file)],
        )
    except Exception:
        return None
    values = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    node.destroy_node()
    return values


def reader_values(file, namespace):
    try:
        return values_of(read_sections(file), f"{namespace.rstrip('/')}/fossa_node")
    except InputError:
        return None


def shown(values):
    return None if values is None else sorted(map(repr, values.items()))  # nan is not nan


NUMBERS = "1 -2 +5 0x1F -0x10 0x 010 09 0o7 0b1 1_000 1.5 .5 1. 1e3 1e 1e999 1e-320 0e-999 99999999999999999999 0x1p3"
SPECIAL = "nan .nan NaN inf -inf .inf -.inf +.INF Infinity"
WORDS = "true True on Off oN y n yes No null ~ text 2001-01-01 1:30 '' '1' \"1.0\" 'off' - !!str"
SCALARS = [word for words in (NUMBERS, SPECIAL, WORDS) for word in words.split(" ")]


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_has_the_type_that_rclpy_gives_it(scalar, tmp_path, context):
    file = tmp_path / "scalar.yaml"
    file.write_text(f"fossa_node:\n  ros__parameters:\n    a: {scalar}\n    b: [{scalar.replace(':30', '')}]\n")
    assert shown(reader_values(file, "/")) == shown(rclpy_values(context, file, "/"))


NAMES = st.sampled_from(["fossa_node", "/**", "/*", "robot1", "/robot1/fossa_node", "/robot1/**", "x/y", "'**'", "a-b"])
KEYS = st.sampled_from(["a", "b", "a.b", "c"])
VALUES = st.recursive(
    st.sampled_from(["1", "2.0", "x", "off", "[]", "[1, 2]", "[1, 2.0]", "'1'", "[x, y]"]),
    lambda inner: st.lists(st.tuples(KEYS, inner), max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    ),
    max_leaves=6,
)
SECTIONS = st.recursive(
    VALUES.filter(lambda text: text.startswith("{")).map(lambda text: f"{{ros__parameters: {text}}}") | VALUES,
    lambda inner: st.lists(st.tuples(NAMES, inner), min_size=1, max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    ),
    max_leaves=4,
)


GROUPS = st.recursive(
    st.sampled_from(["1", "2.0", "x", "off", "[1, 2]", "'1'", "[x, y]", "[]"]),
    lambda inner: st.lists(st.tuples(KEYS, inner), min_size=1, max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    ),
    max_leaves=6,
).filter(lambda text: text.startswith("{"))
NODES = st.sampled_from(["fossa_node", "/**", "/robot1/fossa_node", "/robot1/**", "/*/fossa_node", "/**/fossa_node"])
PLAUSIBLE = st.lists(st.tuples(NODES, GROUPS), min_size=1, max_size=3).map(
    lambda pairs: "".join(f"{node}: {{ros__parameters: {group}}}\n" for node, group in pairs)
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=SECTIONS | PLAUSIBLE, namespace=st.sampled_from(["/", "/robot1", "/robot1/x"]))
def test_any_nesting_is_read_as_rclpy_reads_it(text, namespace, tmp_path, context):
    file = tmp_path / "any.yaml"
    file.write_text(text)
    assert shown(reader_values(file, namespace)) == shown(rclpy_values(context, file, namespace)), text


VALID = (
    b"/**/fossa_node:\n  ros__parameters:\n"
    b"    sweep: {planes: 3, near: 0.5, focus_distances: [0.4, 1.0]}\n    lens.port: 'x'\n"
)
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(VALID) - 1), st.integers(0, 4), st.binary(max_size=3) | st.sampled_from([b"\t", b"'", b"["])
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations=MUTATIONS)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(mutations, tmp_path):
    data = VALID
    for at, length, new in mutations:
        data = data[:at] + new + data[at + length :]
    file = tmp_path / "damaged.yaml"
    file.write_bytes(data)
    try:
        read_config(FossaNodeConfig, "fossa_node", file, warn=lambda sentence: None)
    except InputError as error:
        assert str(error).endswith((".", "?", ")")) and "\n" not in str(error), error
