"""`zkrecipes serve`: the dev server in the foreground."""

from __future__ import annotations

import anyio
import click

from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.devserver.__main__ import serve as serve_until_signal

__all__ = ["serve"]


@click.command(short_help="Run a ZooKeeper for development, in memory.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=2181,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
def serve(host: str, port: int) -> None:
    """Run a ZooKeeper server in the foreground, until Ctrl-C or SIGTERM ends it (exit code 0).

    Everything is in memory, and gone when it ends. It is for development and tests, never for production.
    Clients live through a restart: they open a new session by themselves.

    `python -m zkrecipes.devserver` does the same, and needs no extra.
    """
    try:
        anyio.run(serve_until_signal, host, port, backend="trio")
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", ExitCode.CANNOT_LISTEN
        ) from error
