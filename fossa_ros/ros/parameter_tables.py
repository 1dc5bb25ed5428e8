"""Write docs/parameters.md: the parameters of every node, from their one description in the code."""

from __future__ import annotations

from fossa_ros.ros import parameters
from fossa_ros.ros.lifecycle import AUTOSTART
from fossa_ros.ros.settings import FOSSA_NODE
from fossa_ros.ros.sim_rig_node import SIM_RIG_NODE

TABLES = {"fossa_node": (*FOSSA_NODE, AUTOSTART), "sim_rig_node": (*SIM_RIG_NODE, AUTOSTART)}
PREAMBLE = """\
# Parameters

Made from the one description in the code by `python -m fossa_ros.ros.parameter_tables > docs/parameters.md`; a test
keeps the two the same. A parameter that changes *live* takes effect within a second. One that changes at *configure*
is refused while the node is configured: clean the node up (`ros2 lifecycle set /fossa_node cleanup`), set it, and
configure again.
"""


def document() -> str:
    """Return docs/parameters.md."""
    return PREAMBLE + "".join(f"\n## {node}\n\n{parameters.table(table)}" for node, table in TABLES.items())


if __name__ == "__main__":
    print(document(), end="")
