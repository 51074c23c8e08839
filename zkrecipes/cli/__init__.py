"""The command `zkrecipes`, one file a command group. It says what to install where its extra is missing."""

from __future__ import annotations

import sys

from zkrecipes.cli.exit_codes import ExitCode

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process, and end the process with its exit code."""
    try:
        # Here and not above: this module must load where click is missing, or nobody could say what is.
        from zkrecipes.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.stderr.write(f'zkrecipes: {error.name} is missing; type: pip install "zkrecipes[cli]"\n')
        sys.exit(ExitCode.EXTRA_MISSING)
    sys.exit(run(sys.argv[1:]))
