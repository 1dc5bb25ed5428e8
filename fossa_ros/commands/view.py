"""``fossa view``: the results of a node, live or from a bag, in the viewer rerun."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import click

from fossa_ros.commands.option_types import PATH
from fossa_ros.commands.progress import progress_bar
from fossa_ros.commands.signals import ended_by_signal
from fossa_ros.core.errors import InputError

if TYPE_CHECKING:  # slow to import: when the command runs, not for its help
    from fossa_ros.evaluation.rerun_log import RerunLog
    from fossa_ros.evaluation.rerun_messages import MessageLog

SILENCE_S = 5.0  # after which it is said that nothing arrives
POLL_S = 0.2


@click.command("view")
@click.argument("bag", type=PATH, required=False)
@click.option("--namespace", help="Namespace of the node.  [default: live fossa, of a bag the one that it has]")
@click.option("--save", type=PATH, help="Write an .rrd file in place of opening the viewer.")
def command(bag, namespace, save):
    """Show planes, depth, cloud, confidence and verdicts on one timeline, in the viewer rerun.

    BAG holds results of a node, or is an output of fossa replay. Without it the topics of a running node are shown,
    until Ctrl-C. Needs rerun-sdk: pip install 'fossa-ros[rerun]'.
    """
    from fossa_ros.evaluation.rerun_log import RerunLog
    from fossa_ros.evaluation.rerun_messages import log_bag

    log = RerunLog(save)
    if bag is None:
        with ended_by_signal() as ended, log:
            messages = _live(log, namespace or "fossa", ended)
    else:
        if not bag.exists():
            raise InputError(f"{bag} does not exist; give a bag, or what fossa replay wrote.")
        with log, progress_bar(transient=True) as bar:
            task = bar.add_task("Reading", total=1.0)
            messages = log_bag(bag, log, namespace, lambda share: bar.update(task, completed=share))
    counts = ", ".join(f"{count} {name}" for name, count in messages.counts.items() if count)
    click.echo(f"{counts or 'Nothing arrived'}{'.' if save is None else f': {save}.'}")


def _live(log: RerunLog, namespace: str, ended: threading.Event) -> MessageLog:
    """Log what a running node publishes until the end."""
    from fossa_ros.evaluation.rerun_messages import VIEWED, MessageLog

    try:
        from fossa_ros.ros.topic_view import TopicView
    except ImportError as error:
        raise InputError(f"Topics need ROS 2 ({error}); give a bag, or install the package with its ROS wheels.") from (
            error
        )
    messages, faults = MessageLog(log), set()

    def on_message(topic, message):
        try:
            messages.add(topic, message)
        except InputError as error:
            if str(error) not in faults:
                faults.add(str(error))
                click.echo(f"Warning: {topic.name}: {error}", err=True)

    view = TopicView(VIEWED, namespace, on_message)
    click.echo(f"Showing the topics of {namespace}; Ctrl-C ends.", err=True)
    began = time.monotonic()
    try:
        while not ended.wait(POLL_S):
            if began and time.monotonic() - began > SILENCE_S:
                began = 0.0
                if not any(messages.counts.values()):
                    click.echo(
                        f"Nothing arrives on the topics of {namespace} yet; start the node, or give --namespace.",
                        err=True,
                    )
    finally:
        view.close()
    return messages
