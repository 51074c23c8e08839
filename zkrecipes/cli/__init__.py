"""The command `zkrecipes`, one file a command group. It says what to install where its extra is missing."""

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
    """Run the command with the arguments of this process, and end the process with its exit code."""
    try:
        # Here and not above: this module must load where click is missing, or nobody could say what is.
        from zkrecipes.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.exit(_run_without_extra(sys.argv[1:], error.name))
    sys.exit(run(sys.argv[1:]))


def _run_without_extra(arguments: list[str], missing: str | None) -> ExitCode:
    if arguments == ["--version"]:
        sys.stdout.write(f"zkrecipes, version {version('zkrecipes')}\n")
    elif not arguments or arguments in (["--help"], ["-h"]):
        sys.stdout.write(_HELP)
    else:
        sys.stderr.write(f"zkrecipes: {missing} is missing; type: {_INSTALL}\n")
        return ExitCode.EXTRA_MISSING
    return ExitCode.OK
