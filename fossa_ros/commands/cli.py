"""The command line: ``fossa COMMAND``, and how its failures are told."""

from __future__ import annotations

import importlib
import warnings

import click

from fossa_ros import __version__
from fossa_ros.core.errors import FossaError

# Where each command is, and its help in one line: listing them imports none of them.
COMMANDS = {
    "bench": ("fossa_ros.commands.bench:command", "Time the networks on this machine."),
    "calibrate": (
        "fossa_ros.commands.calibrate:command",
        "Calibrate a lens: from commands to dioptres, and how the image breathes.",
    ),
    "compare": (
        "fossa_ros.commands.compare:command",
        "Compare two files of figures, with confidence intervals.",
    ),
    "demo": (
        "fossa_ros.commands.demo:command",
        "Sweep a simulated scene with the real nodes over DDS, and score the depth.",
    ),
    "evaluate": ("fossa_ros.commands.evaluate:command", "Score a model on a benchmark under its published protocol."),
    "export": ("fossa_ros.commands.export:command", "Write a network as ONNX, for TensorRT and others."),
    "lens": ("fossa_ros.commands.lens:command", "Find a focus lens, ask it how it is, and move it."),
    "plan": ("fossa_ros.commands.plan:command", "Print the timeline of two sweeps and the depth rate to expect."),
    "predict": ("fossa_ros.commands.predict:command", "Turn a focus stack into metric depth."),
    "range": (
        "fossa_ros.commands.range:command",
        "Print blur, depth of field and the depth error to expect of a lens and a camera.",
    ),
    "replay": ("fossa_ros.commands.replay:command", "Turn recorded bags into depth, figures and pictures."),
    "report": ("fossa_ros.commands.report:command", "Make one HTML page of replays, of one machine or many."),
    "train": ("fossa_ros.commands.train:command", "Train a network on synthetic focus stacks, as CONFIG says."),
}


class LazyCommands(click.Group):
    """A group that imports a command when it is called, and tells FossaError as a sentence, exit status 1."""

    def list_commands(self, ctx):
        """Return the names in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx, name):
        """Import the command called ``name``; None where there is none."""
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx, formatter):
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx):
        """Run the command; whatever it leaves undone is one sentence on stderr."""
        try:
            return super().invoke(ctx)
        except FossaError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"fossa: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("fossa: interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=LazyCommands)
@click.version_option(__version__, prog_name="fossa")
@click.option("--debug", is_flag=True, envvar="FOSSA_DEBUG", help="Show the traceback of a failure.")
def main(debug):
    """Metric depth from one camera and one focus lens."""
    if not debug:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about damaged EXIF blocks, which are passed over


if __name__ == "__main__":
    main()
