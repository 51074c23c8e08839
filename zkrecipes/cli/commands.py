"""The command line: `zkrecipes --help`, its options, and the parts that all commands share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from zkrecipes.cli.demo.command import demo
from zkrecipes.cli.errors import one_line_errors
from zkrecipes.cli.exit_codes import MEANINGS
from zkrecipes.cli.serve import serve
from zkrecipes.cli.server import server
from zkrecipes.cli.verify import verify

__all__ = ["run"]

_DEBUG_VARIABLE = "ZKRECIPES_DEBUG"
_EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code:3}  {text}" for code, text in MEANINGS.items())


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
)
@click.version_option(version("zkrecipes"), prog_name="zkrecipes")
@click.pass_context
@click.option("--debug", is_flag=True, help=f"Show tracebacks and the log, as {_DEBUG_VARIABLE}=1 also does.")
def zkrecipes(context: click.Context, debug: bool) -> None:
    """Coordinate programs through ZooKeeper: a server for development, real servers, and a demonstration."""
    del debug  # read before click runs, so that it also applies to click's own errors
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


zkrecipes.add_command(demo)
zkrecipes.add_command(serve)
zkrecipes.add_command(server)
zkrecipes.add_command(verify)


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: the arguments without the program's name.

    Returns:
        The exit code, unless `sys.exit` raised it.
    """
    debug = "--debug" in arguments or os.environ.get(_DEBUG_VARIABLE, "") not in {"", "0"}
    if debug:
        logging.basicConfig(
            level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
    else:
        # Each command prints its own messages; log lines would mix with them.
        logging.getLogger("zkrecipes").addHandler(logging.NullHandler())
        logging.getLogger("zkrecipes").propagate = False
    with one_line_errors("zkrecipes", debug=debug):
        code = zkrecipes.main(list(arguments), prog_name="zkrecipes", standalone_mode=False)
        return code if isinstance(code, int) else 0
    raise AssertionError("one_line_errors must handle every error")  # for type checkers
