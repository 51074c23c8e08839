"""`zkrecipes demo`: its arguments, the choice of a view, and the handling of signals."""

from __future__ import annotations

import signal
import sys

import click
import trio
from rich.console import Console

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.live_view import LiveView
from zkrecipes.cli.demo.plain_view import PlainView
from zkrecipes.cli.demo.runner import StopHandle, run_demo
from zkrecipes.cli.demo.view import DemoView
from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.net.connect_string import parse_connect_string
from zkrecipes.net.transport.network import bare_errors

__all__ = ["demo"]


def _check_hosts(_context: click.Context, _parameter: click.Parameter, hosts: str | None) -> str | None:
    if hosts is not None:
        try:
            parse_connect_string(hosts)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return hosts


@click.command(short_help="Watch workers share jobs under a lock while two of them fail.")
@click.option(
    "--hosts",
    metavar="H1:2181,H2:2181[/CHROOT]",
    callback=_check_hosts,
    help="Run on these servers. Without it, the demo starts its own dev server.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest wait for a session.",
)
def demo(hosts: str | None, connect_timeout: float) -> int:
    """Watch worker processes share jobs under a lock.

    While they hold the lock, one worker is killed and one is cut off from the server; the others continue. At
    the end the demo checks that no two workers held the lock at once, that fencing tokens only grew, and that
    every job was done exactly once. The exit code is 1 if a check fails.

    The demo takes about eleven seconds. It keeps all its znodes under one path, /zkrecipes-demo-..., and
    deletes them at the end. In a terminal the display is live (without colours if NO_COLOR is set); elsewhere
    it is one line for each event.
    """
    results = trio.run(_run_until_signal, hosts, _view(), connect_timeout)
    return ExitCode.OK if all(result.passed for result in results) else ExitCode.CHECK_FAILED


def _view() -> DemoView:
    console = Console(highlight=False, emoji=False, markup=False)
    if sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return PlainView(_write_line)


def _write_line(line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise CommandError("", ExitCode.READER_GONE) from error


async def _run_until_signal(hosts: str | None, view: DemoView, connect_timeout: float) -> list[CheckResult]:
    """Run the demo until it ends or a signal arrives, and clean up in both cases."""
    results: list[CheckResult] = []
    caught: int | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, bare_errors():
        async with trio.open_nursery() as nursery:
            stop_handle = StopHandle(nursery.cancel_scope)

            async def wait_for_signal() -> None:
                nonlocal caught
                async for number in signals:
                    caught = number
                    stop_handle.scope.cancel()

            nursery.start_soon(wait_for_signal)
            results = await run_demo(hosts, view, stop_handle, connect_timeout=connect_timeout)
            nursery.cancel_scope.cancel()
    if caught == signal.SIGTERM:
        raise CommandError("terminated", ExitCode.TERMINATED)
    if caught is not None:
        raise CommandError("interrupted", ExitCode.INTERRUPTED)
    return results
