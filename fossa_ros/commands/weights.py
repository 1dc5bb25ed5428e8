"""``fossa weights``: what networks can run on this machine, and fetching published checkpoints beforehand."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from fossa_ros.commands.progress import stages
from fossa_ros.core.errors import InputError

MB = 1e6


@click.group("weights")
def command():
    """List the weights of the networks, and fetch published ones.

    Only `fossa weights fetch` downloads: nodes and other commands take files and what is in the hub's cache.
    """


@command.command("list")
def list_():
    """List the weights that ship with the package, and the published ones, with those in the hub's cache."""
    from fossa_ros.estimators.fossa.hub import PUBLISHED, cached_checkpoint, repository_of
    from fossa_ros.estimators.shipped import SHIPPED

    table = Table("checkpoint", "model", "size", "where", title="Weights", title_justify="left")
    for model, path in SHIPPED.items():
        table.add_row("(empty)", model, size_of(path.stat().st_size), "included, Apache-2.0")
    for name, model in PUBLISHED.items():
        path = cached_checkpoint(repository_of(name))
        where = str(path) if path else f"not here: fossa weights fetch {name}"
        table.add_row(name, model, size_of(path.stat().st_size) if path else "", where)
    Console().print(table)


@command.command("fetch")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only print size, licence and checksum.")
def fetch(name: str, dry_run: bool):
    """Download the checkpoint NAME, such as fossa-vits or owner/repository, into the hub's cache.

    Prints its size, licence and checksum as the hub states them, and compares the checksum of the file. HF_HOME moves
    the cache.
    """
    from fossa_ros.estimators.fossa.hub import fetch_checkpoint, repository_of, stated

    repository = repository_of(name)
    published = stated(repository)
    click.echo(f"{repository}: {size_of(published.size)}")
    click.echo(f"licence: {published.licence or 'not stated by its model card; ask its authors before you use it'}")
    click.echo(f"sha256: {published.sha256 or 'not stated by the hub'}")
    if dry_run:
        return
    with stages(f"fetching {repository}", 1):
        path = fetch_checkpoint(published)
    if not path.is_file():
        raise InputError(f"The hub's cache holds no file at '{path}'; set HF_HOME to a folder that can be written.")
    click.echo(f"{'verified' if published.sha256 else 'fetched'}: {path}")


def size_of(size: int | None) -> str:
    """Return a size in megabytes as text."""
    return "size not stated" if size is None else f"{size / MB:.1f} MB"
