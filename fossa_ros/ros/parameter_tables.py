"""Write docs/parameters.md: the parameters of every node, from the fields that declare them."""

from __future__ import annotations

import array

from fossa_ros.core.parameter import Parameter
from fossa_ros.parameters.capture_config import CaptureConfig
from fossa_ros.parameters.config import parameters_of
from fossa_ros.parameters.depth_config import DepthConfig
from fossa_ros.parameters.node_config import DepthNodeConfig, FossaNodeConfig, NodeConfig, SweepNodeConfig
from fossa_ros.parameters.thresholds import Thresholds
from fossa_ros.ros.sim_rig_node import SimRigNodeConfig

TABLES = {
    "fossa_node": parameters_of(FossaNodeConfig),
    "sweep_node": parameters_of(SweepNodeConfig),
    "depth_node": parameters_of(DepthNodeConfig),
    "sim_rig_node": parameters_of(SimRigNodeConfig),
}
_EVERY_NODE = parameters_of(NodeConfig)
# fossa_node has the parameters of both its parts, so that they are listed once.
SECTIONS = {
    "Every node": _EVERY_NODE,
    "fossa_node and sweep_node": parameters_of(CaptureConfig),
    "fossa_node and depth_node": parameters_of(DepthConfig),
    "fossa_node, sweep_node and depth_node": parameters_of(Thresholds, "diagnostics."),
    "sim_rig_node": tuple(each for each in TABLES["sim_rig_node"] if each not in _EVERY_NODE),
}
PREAMBLE = """\
# Parameters

`python -m fossa_ros.ros.parameter_tables > docs/parameters.md` writes this page from the fields
that declare the parameters; a test compares the two. A parameter that changes *live* takes effect
from the next sweep on, or within a second if it concerns no sweep; a value that does not go with
the others, or a plane that the lens does not reach, is refused. One that changes at *configure* is
refused while the node is configured: clean the node up
(`ros2 lifecycle set /fossa/fossa_node cleanup`), set it, and configure again. To set the value that
a parameter already has is never refused, so `ros2 param load` of a dump refuses only what differs
and cannot change. Nodes and `fossa replay` read the same files in the same way:
[nodes.md](nodes.md#parameter-files).
"""


def document() -> str:
    """Return docs/parameters.md."""
    return PREAMBLE + "".join(f"\n## {nodes}\n\n{table(parameters)}" for nodes, parameters in SECTIONS.items())


def table(parameters: tuple[Parameter, ...]) -> str:
    """Return parameters as a Markdown table."""
    lines = ["| parameter | default | unit | range | changes | meaning |", "|---|---|---|---|---|---|"]
    for parameter in parameters:
        default = list(parameter.default) if isinstance(parameter.default, array.array) else parameter.default
        if parameter.choices:
            allowed = ", ".join(f"`{choice}`" for choice in parameter.choices)
        elif parameter.minimum is None and parameter.maximum is None:
            allowed = ""
        else:
            low = "" if parameter.minimum is None else f"{parameter.minimum:g}"
            high = "" if parameter.maximum is None else f"{parameter.maximum:g}"
            allowed = f"{low} .. {high}".strip()
        shown = repr(default).replace("'", "") if default != "" else "(empty)"
        changes = "live" if parameter.live else "configure"
        lines.append(
            f"| `{parameter.name}` | {shown} | {parameter.unit} | {allowed} | {changes} | {parameter.description} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
