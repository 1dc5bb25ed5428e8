"""Write docs/parameters.md: the parameters of every node, from their one description in the code."""

from __future__ import annotations

from fossa_ros.parameters.settings import CAPTURE, DEPTH, DEPTH_NODE, DIAGNOSTICS, FOSSA_NODE, SWEEP_NODE
from fossa_ros.ros import parameters
from fossa_ros.ros.lifecycle import AUTOSTART
from fossa_ros.ros.sim_rig_node import SIM_RIG_NODE

TABLES = {
    "fossa_node": (*FOSSA_NODE, AUTOSTART),
    "sweep_node": (*SWEEP_NODE, AUTOSTART),
    "depth_node": (*DEPTH_NODE, AUTOSTART),
    "sim_rig_node": (*SIM_RIG_NODE, AUTOSTART),
}
# fossa_node has the parameters of both its halves, so that they are listed once.
SECTIONS = {
    "Every node": (AUTOSTART,),
    "fossa_node and sweep_node": CAPTURE,
    "fossa_node and depth_node": DEPTH,
    "fossa_node, sweep_node and depth_node": DIAGNOSTICS,
    "sim_rig_node": SIM_RIG_NODE,
}
PREAMBLE = """\
# Parameters

Made from the one description in the code by `python -m fossa_ros.ros.parameter_tables > docs/parameters.md`; a test
keeps the two the same. A parameter that changes *live* takes effect within a second. One that changes at *configure*
is refused while the node is configured: clean the node up (`ros2 lifecycle set /fossa_node cleanup`), set it, and
configure again.
"""


def document() -> str:
    """Return docs/parameters.md."""
    return PREAMBLE + "".join(f"\n## {nodes}\n\n{parameters.table(table)}" for nodes, table in SECTIONS.items())


if __name__ == "__main__":
    print(document(), end="")
