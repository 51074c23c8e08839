"""`zkrecipes serve`: the dev server in the foreground."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.devserver.__main__ import describe_listen_error, resolve_settings, serve as serve_until_signal
from zkrecipes.devserver.config.zoo_cfg_reader import ConfigError
from zkrecipes.devserver.storage.data_dir import DataDirError

__all__ = ["serve"]


@click.command(short_help="Run a ZooKeeper server for development.")
@click.argument("zoo_cfg", required=False, type=click.Path(path_type=Path), metavar="[ZOO.CFG]")
@click.option("--host", help="The address to listen on.  [default: the file's, or 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 takes a free one.  [default: the file's, or 2181]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Keep znodes and sessions in this folder.  [default: the file's, or in memory]",
)
def serve(zoo_cfg: Path | None, host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Run a ZooKeeper server in the foreground, until Ctrl-C or SIGTERM ends it (exit code 0).

    ZOO.CFG is a real server's configuration file. Without a data directory all data is in memory and is lost
    when the server ends. The server is for development and tests, never for production. Clients survive a
    restart: with a data directory they keep their sessions, otherwise they open new ones automatically.

    `python -m zkrecipes.devserver` runs the same server and needs no extra.
    """
    try:
        settings = resolve_settings(zoo_cfg, host=host, port=port, data_dir=data_dir, warn=_warn)
    except ConfigError as error:
        raise CommandError(str(error), ExitCode.BAD_CONFIG) from error
    try:
        anyio.run(serve_until_signal, settings, backend="trio")
    except DataDirError as error:
        raise CommandError(str(error), ExitCode.BAD_DATA) from error
    except BrokenPipeError as error:
        raise CommandError("", ExitCode.READER_GONE) from error
    except OSError as error:
        raise CommandError(describe_listen_error(settings, error), ExitCode.CANNOT_LISTEN) from error


def _warn(line: str) -> None:
    click.echo(f"zkrecipes: {line}", err=True)
