"""Errors become one line on standard error and an exit code; a traceback is printed only on request."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import click

from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.errors import (
    AuthFailedError,
    ConnectionLossError,
    ConnectTimeoutError,
    ReplyNotReceivedError,
    SessionError,
    ZooKeeperError,
)

__all__ = ["CommandError", "explain", "one_line_errors"]


@final
class CommandError(Exception):
    """A command cannot continue, for a reason that its user can understand.

    Attributes:
        code: the command's exit code.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


# The first match counts. An error without a match is a bug in zkrecipes.
_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    ((click.ClickException,), ExitCode.USAGE),
    ((KeyboardInterrupt, click.Abort), ExitCode.INTERRUPTED),
    ((AuthFailedError,), ExitCode.REFUSED),
    ((ConnectTimeoutError, ConnectionLossError, ReplyNotReceivedError, SessionError), ExitCode.NO_SERVER),
    ((ZooKeeperError,), ExitCode.REFUSED),
)


def explain(error: BaseException) -> tuple[str, ExitCode]:
    """Return one line that describes the error, and the exit code; the line is empty if none is needed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, CommandError):
        return str(error), error.code
    code = next((code for types, code in _CODES if isinstance(error, types)), ExitCode.BUG)
    return " ".join(_words(error, code).split()), code


def _words(error: BaseException, code: ExitCode) -> str:
    if isinstance(error, click.ClickException):
        return f"{error.format_message().rstrip('.')}; see --help"
    if isinstance(error, ConnectTimeoutError):
        reasons = "; ".join(f"{host}: {reason}" for host, reason in error.reasons.items())
        return f"no ZooKeeper session within {error.timeout:g} seconds: {reasons or 'no host answered'}"
    if code is ExitCode.INTERRUPTED:
        return "interrupted"
    if code is ExitCode.BUG:
        return f"{type(error).__name__}: {error} (a bug in zkrecipes; --debug shows the traceback)"
    return str(error)


@contextmanager
def one_line_errors(command: str, *, debug: bool) -> Iterator[None]:
    """End the process with one line and an exit code when the block raises.

    Args:
        command: the prefix of the line.
        debug: whether to print the traceback before the line.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - this is the outermost edge
        line, code = explain(error)
        if debug:
            traceback.print_exception(error)
        if code is ExitCode.READER_GONE:
            # Otherwise Python would print an error when it flushes the rest at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if line:
            sys.stderr.write(f"{command}: {line}\n")
        sys.exit(code)
