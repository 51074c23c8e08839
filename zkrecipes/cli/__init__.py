"""The command `zkrecipes`, one file for each subcommand. Without its extra, it prints how to install it."""

from __future__ import annotations

import sys
from importlib.metadata import version

from zkrecipes.cli.exit_codes import ExitCode

__all__ = ["main"]

_INSTALL = 'pip install "zkrecipes[cli]"'
_HELP = f"""\
Usage: zkrecipes [OPTIONS] COMMAND [ARGS]...

  Coordinate programs through ZooKeeper.

  The commands need an extra: {_INSTALL}
  Without it, `python -m zkrecipes.devserver` runs a server for development.

Options:
  --version   Show the version.
  -h, --help  Show this message.
"""


def main() -> None:
    """Run the command with the arguments of this process, and exit with its exit code."""
    try:
        # Imported here, because this module must load without click to say that click is missing.
        from zkrecipes.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in {"click", "psutil", "rich"}:
            raise
        sys.exit(_run_without_extra(sys.argv[1:], error.name))
    sys.exit(run(sys.argv[1:]))


def _run_without_extra(arguments: list[str], missing: str | None) -> ExitCode:
    if arguments == ["--version"]:
        sys.stdout.write(f"zkrecipes, version {version('zkrecipes')}\n")
    elif not arguments or arguments in (["--help"], ["-h"]):
        sys.stdout.write(_HELP)
    else:
        sys.stderr.write(f"zkrecipes: {missing} is missing; run: {_INSTALL}\n")
        return ExitCode.EXTRA_MISSING
    return ExitCode.OK
