"""`python -m zkrecipes.devserver`: a dev server in the foreground."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio

from zkrecipes.devserver.config.settings import Settings
from zkrecipes.devserver.config.zoo_cfg_reader import ConfigError, read_zoo_cfg
from zkrecipes.devserver.storage.data_dir import DataDirError

__all__ = ["describe_listen_error", "main", "resolve_settings", "serve"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

_EPILOG = """\
exit codes: 0 after SIGINT or SIGTERM, 1 if the server cannot listen on the address, 2 for wrong arguments,
7 for a configuration file that cannot be read or has an invalid value, 8 for a data directory that cannot be
used, 141 if standard output is closed.
Without a data directory, everything is in memory and lost when the server ends. The server is for development
and tests, never for production.
"""
_REAL_SERVER_FOLDER = "version-2"
_CANNOT_LISTEN, _BAD_CONFIG, _BAD_DATA, _OUTPUT_CLOSED = 1, 7, 8, 141


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = resolve_settings(
            options.zoo_cfg,
            host=options.host,
            port=options.port,
            data_dir=options.data_dir,
            warn=_print_error,
        )
    except ConfigError as error:
        _print_error(str(error))
        return _BAD_CONFIG
    try:
        anyio.run(serve, settings, backend="trio")
    except DataDirError as error:
        _print_error(str(error))
        return _BAD_DATA
    except BrokenPipeError:
        # Otherwise Python reports an error when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_CLOSED
    except OSError as error:
        _print_error(describe_listen_error(settings, error))
        return _CANNOT_LISTEN
    return 0


def resolve_settings(
    zoo_cfg: Path | None,
    *,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    warn: Callable[[str], None],
) -> Settings:
    """Return the settings of a file, or the defaults. The other arguments take precedence.

    Args:
        zoo_cfg: the file, or None.
        host: the address to listen on.
        port: the port to listen on.
        data_dir: the data directory.
        warn: called with one line for each setting without effect.

    Raises:
        ConfigError: the file cannot be used.
    """
    settings = Settings()
    if zoo_cfg is not None:
        settings, without_effect = read_zoo_cfg(zoo_cfg)
        if without_effect:
            warn(f"{zoo_cfg} has keys without effect here: {', '.join(without_effect)}")
    options_given = {"host": host, "port": port, "data_dir": data_dir}
    # The names and types are those of the fields.
    settings = replace(settings, **{key: value for key, value in options_given.items() if value is not None})  # type: ignore[arg-type]
    if settings.data_dir is not None and _is_folder(settings.data_dir / _REAL_SERVER_FOLDER):
        warn(
            f"{settings.data_dir / _REAL_SERVER_FOLDER} contains a real server's data, "
            "which the dev server neither reads nor changes"
        )
    return settings


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # opening the data directory reports the reason


def describe_listen_error(settings: Settings, error: OSError) -> str:
    """Return the error message for an address that the server cannot listen on."""
    hint = ""
    if error.errno == errno.EADDRINUSE:
        hint = ". Another server may be running there; choose another port with --port (0 takes a free one)"
    return f"cannot listen on {settings.address}: {error.strerror or error}{hint}"


async def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, and print one line when the server is ready.

    Warnings go to standard error, unless the program has configured logging.

    Raises:
        BrokenPipeError: standard output is closed.
        OSError: the server cannot listen on the address.
        DataDirError: the data directory cannot be used.
    """
    if not logging.root.handlers:
        _show_warnings()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with settings.create_server() as server:
            sys.stdout.write(f"zkrecipes dev server ready on {server.connect_string}\n")
            sys.stdout.flush()
            async for _ in signals:
                return


def _show_warnings() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("zkrecipes: %(message)s"))
    logger.addHandler(handler)


def _print_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zkrecipes.devserver",
        description="Run a ZooKeeper dev server in the foreground, in memory unless it has a data directory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("zoo_cfg", nargs="?", type=Path, help="a real server's configuration file")
    parser.add_argument("--host", help="the address to listen on (default: the file's, or 127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, help="the port; 0 takes a free one (default: the file's, or 2181)"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="keep data in this folder (default: the file's, or in memory)"
    )
    return parser


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port must be a number from 0 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
