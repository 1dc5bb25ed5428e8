"""The command line ``fossa COMMAND``; a failure is one sentence on standard error and exit status 1."""

from __future__ import annotations

import importlib
import warnings

import click

from fossa_ros import __version__
from fossa_ros.core.errors import FossaError
from fossa_ros.core.missing_package import missing_package

COMMANDS = {
    "bench": "Time the networks on this machine.",
    "calibrate": "Calibrate a lens: focus over command, hysteresis, drift and breathing.",
    "compare": "Compare two files of figures, with confidence intervals.",
    "demo": "Sweep a simulated scene with the real nodes over DDS, and score the depth.",
    "evaluate": "Score a model on a benchmark under its published protocol.",
    "export": "Write a network as ONNX, for TensorRT and others.",
    "lens": "List, inspect and move focus lenses.",
    "live": "Make depth with a camera and a lens on a bench, without ROS.",
    "plan": "Print the timeline of two sweeps and the depth rate to expect.",
    "predict": "Turn a focus stack into metric depth.",
    "range": "Print blur, depth of field and the depth error to expect of a lens and a camera.",
    "replay": "Turn recorded bags into depth, figures and pictures.",
    "report": "Make one HTML page of replays, of one machine or many.",
    "train": "Train a network on synthetic focus stacks, as CONFIG says.",
    "view": "Show planes, depth, cloud, confidence and verdicts on one timeline, in the viewer rerun.",
    "weights": "List the weights of the networks, and fetch published ones.",
}
"""The commands, each a module of this package, and the first sentence of their help, so that listing imports none."""


class LazyCommands(click.Group):
    """A group that imports a command when it is called, and prints a FossaError as a sentence, exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command called ``name``; None where there is none."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"fossa_ros.commands.{name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; print what went wrong as one sentence on standard error."""
        try:
            return super().invoke(ctx)
        except FossaError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"fossa: {error}", err=True)
            ctx.exit(1)
        except ModuleNotFoundError as error:
            if ctx.params["debug"] or (missing := missing_package(error)) is None:
                raise
            click.echo(f"fossa: {missing}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt as stop:  # its words say what is kept
            click.echo(f"fossa: interrupted{'; ' * bool(str(stop))}{stop}.", err=True)
            ctx.exit(130)


@click.group(cls=LazyCommands)
@click.version_option(__version__, prog_name="fossa")
@click.option("--debug", is_flag=True, envvar="FOSSA_DEBUG", help="Show the traceback of a failure.")
def main(debug):
    """Metric depth from one camera and one focus lens."""
    if not debug:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged EXIF tags, which are ignored


if __name__ == "__main__":
    main()
