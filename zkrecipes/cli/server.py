"""`zkrecipes server`: one real ZooKeeper server with the verbs of zkServer.sh."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NoReturn, ParamSpec

import anyio
import click

from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.ensemble import (
    PortInUseError,
    ServerConfigError,
    ServerControl,
    ServerDataError,
    ServerNotFoundError,
    ServerRunningError,
    ServerStartError,
    ServerStopError,
    StartedServer,
)
from zkrecipes.net.transport.network import bare_errors

__all__ = ["server"]

_P = ParamSpec("_P")
_Fields = dict[str, Any]
# The second argument is whether the command prints for people.
_Verb = Callable[Concatenate[ServerControl, bool, _P], Awaitable[_Fields]]
_CODES: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    (ServerNotFoundError, ExitCode.NO_SERVER),
    (ServerConfigError, ExitCode.BAD_CONFIG),
    (ServerDataError, ExitCode.BAD_DATA),
    (PortInUseError, ExitCode.CANNOT_LISTEN),
    (ServerRunningError, ExitCode.CHECK_FAILED),
    (ServerStartError, ExitCode.CHECK_FAILED),
    (ServerStopError, ExitCode.CHECK_FAILED),
    (PermissionError, ExitCode.CHECK_FAILED),
    (ImportError, ExitCode.EXTRA_MISSING),
)
_DEV_SERVER = "for development, `zkrecipes serve` needs neither ZooKeeper nor Java"
_UPGRADE = """\
There is nothing to do: since 3.4, a server reads the data of older releases when it starts.
To upgrade a server, stop it (`zkrecipes server stop`), install the new release, and start it
(`zkrecipes server start`); in an ensemble, one server after the other, the leader last.
The verb `upgrade` of zkServer.sh converted the data of ZooKeeper 2; releases from 3.5 on do not have it."""


@click.group(short_help="Start, stop and ask a real ZooKeeper server.", invoke_without_command=True)
@click.pass_context
def server(context: click.Context) -> None:
    """Start, stop and ask a real ZooKeeper server of this machine, with the verbs of zkServer.sh.

    ZOO.CFG is a path, or the name of a file in the configuration folder. Without it, the file is ZOOCFG (or
    zoo.cfg) in the folder ZOOCFGDIR, or in the installation's. The installation is ZOOKEEPER_HOME, or is
    found on the PATH, in Debian's package, in Homebrew or in Kafka.
    """
    if context.invoked_subcommand is None:
        raise click.UsageError(f"a verb is required: {', '.join(server.commands)}")


def _verb(short_help: str) -> Callable[[_Verb[_P]], click.Command]:
    """Make a command of an async function that prints for people and returns the fields for `--json`."""

    def decorate(
        function: _Verb[_P],
    ) -> click.Command:
        name = function.__name__.strip("_").replace("_", "-")

        @wraps(function)
        def run(zoo_cfg: str | None, config: Path | None, as_json: bool, **options: Any) -> int:
            control = ServerControl(zoo_cfg, config_directory=config)
            return _run(name, as_json, lambda: function(control, not as_json, **options))  # type: ignore[call-arg]  # click's options

        command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(run)
        command = click.option(
            "--config", type=click.Path(path_type=Path), metavar="DIR", help="The configuration folder."
        )(command)
        command = click.argument("zoo_cfg", required=False, metavar="[ZOO.CFG]")(command)
        made = click.command(name, short_help=short_help)(command)
        server.add_command(made)
        return made

    return decorate


def _run(verb: str, as_json: bool, call: Callable[[], Awaitable[_Fields]]) -> int:
    """Run the verb; an error becomes a line and a code, and with `--json` also an object."""
    try:
        fields = anyio.run(_run_until_signal, call, backend="trio")
    except tuple(kind for kind, _ in _CODES) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        message = _message(error)
        if as_json:
            _print_json({"verb": verb, "ok": False, "exit_code": int(code), "error": message})
        raise CommandError(message, code) from error
    code = fields.pop("exit_code", ExitCode.OK)
    if as_json:
        _print_json({"verb": verb, "ok": code == ExitCode.OK, "exit_code": int(code), **fields})
    return int(code)


async def _run_until_signal(call: Callable[[], Awaitable[_Fields]]) -> _Fields:
    """Return the result of `call`. Ctrl-C and SIGTERM cancel it, and with it the start of a server."""
    received: list[signal.Signals] = []

    async def wait_for_signal() -> None:
        async for number in signals:
            received.append(number)
            tasks.cancel_scope.cancel()

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, bare_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_signal)
            fields = await call()
            tasks.cancel_scope.cancel()
            return fields
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    raise CommandError("terminated", ExitCode.TERMINATED)


def _message(error: Exception) -> str:
    if isinstance(error, ServerNotFoundError):
        return f"{error}; {_DEV_SERVER}"
    if isinstance(error, ServerStartError):
        return f"{error.reason}; the end of its log:\n{error.log_tail}"
    return str(error)


def _print_json(fields: _Fields) -> None:
    click.echo(json.dumps(fields, default=str))


def _say(talks: bool, text: str, *, newline: bool = True) -> None:
    if talks:
        click.echo(text, nl=newline)
        sys.stdout.flush()


@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="The longest wait in seconds.",
)
async def _start(control: ServerControl, talks: bool, wait: float) -> _Fields:
    """Start the server as a daemon, and wait until it serves."""
    _say(talks, "Starting zookeeper ... ", newline=False)
    try:
        started = await control.start(wait=wait)
    except ServerRunningError as error:
        _say(talks, f"already running as process {error.pid}.")
        raise
    except BaseException:
        _say(talks, "FAILED TO START")
        raise
    return _describe_started(started, talks)


def _describe_started(started: StartedServer, talks: bool) -> _Fields:
    _say(talks, "STARTED")
    status = started.probe.status
    if status is None:
        click.echo(
            f"zkrecipes: process {started.pid} runs and does not serve yet ({started.probe.problem}). "
            "A member of an ensemble serves when a majority runs; `zkrecipes server stop` ends it",
            err=True,
        )
    return {
        "exit_code": ExitCode.OK if started.is_serving else ExitCode.CHECK_FAILED,
        "state": "STARTED",
        "pid": started.pid,
        "config": started.config,
        "pid_file": started.pid_file,
        "log": started.log,
        "host": started.probe.host,
        "port": started.probe.port,
        "tls": started.probe.is_tls,
        "mode": None if status is None else status.mode,
        "version": None if status is None else status.version,
    }


@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="The longest wait in seconds.",
)
@click.option("--kill", is_flag=True, help="Send SIGKILL after the wait.")
async def _stop(control: ServerControl, talks: bool, wait: float, kill: bool) -> _Fields:
    """End the server with SIGTERM, and wait until its process has exited."""
    config = await control.read_config()
    _say(talks, "Stopping zookeeper ... ", newline=False)
    try:
        pid = await control.stop(wait=wait, kill=kill)
    except (ServerStopError, PermissionError):
        _say(talks, "FAILED TO STOP")
        raise
    if pid is None:
        _say(talks, f"no zookeeper to stop (no process runs with {config.path})")
    else:
        _say(talks, "STOPPED")
    return {"state": "STOPPED", "pid": pid, "config": config.path}


@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="The longest wait in seconds for each.",
)
@click.option("--kill", is_flag=True, help="Send SIGKILL if the server does not stop in time.")
async def _restart(control: ServerControl, talks: bool, wait: float, kill: bool) -> _Fields:
    """Stop the server if it runs, and start it."""
    await control.command()  # a server that cannot be started again must not be stopped
    await _stop(control, talks, wait, kill)
    return await _start(control, talks, wait)


async def _status(control: ServerControl, talks: bool) -> _Fields:
    """Print the server's mode: leader, follower, observer, standalone or read-only.

    The exit code is 1 if the server does not serve.
    """
    report = await control.status()
    status = report.status
    if status is None:
        _say(talks, "Error contacting service. It is probably not running.")
        click.echo(f"zkrecipes: {report.probe.problem}", err=True)
    else:
        _say(talks, f"Mode: {status.mode}")
    return {
        "exit_code": ExitCode.CHECK_FAILED if status is None else ExitCode.OK,
        "mode": None if status is None else status.mode,
        "version": None if status is None else status.version,
        "zxid": None if status is None else status.zxid,
        "connections": None if status is None else status.connections,
        "pid": report.pid,
        "config": report.config,
        "host": report.probe.host,
        "port": report.probe.port,
        "tls": report.probe.is_tls,
        "problem": report.probe.problem or None,
    }


async def _version(control: ServerControl, talks: bool) -> _Fields:
    """Print the version of the installed ZooKeeper."""
    version = await control.version()
    _say(talks, f"Apache ZooKeeper, version {version}")
    return {"version": version}


async def _print_cmd(control: ServerControl, talks: bool) -> _Fields:
    """Print the command that runs the server in the foreground."""
    command = await control.command()
    _say(talks, shlex.join(command))
    return {"command": command}


@click.option("--myid", type=click.IntRange(0), help="The number of this server in its ensemble.")
@click.option("--force", is_flag=True, help="Delete the data of a server that was initialized before.")
async def _initialize(control: ServerControl, talks: bool, myid: int | None, force: bool) -> _Fields:
    """Create the data directories of a new server, as zkServer-initialize.sh does."""
    config = await control.initialize(my_id=myid, force=force)
    _say(talks, f"Initialized {config.data_dir}" + ("" if myid is None else f" with myid {myid}"))
    return {"config": config.path, "data_dir": config.data_dir, "my_id": config.read_my_id()}


async def _start_foreground(control: ServerControl, talks: bool) -> _Fields:
    """Run the server in the foreground. This process becomes the server, which then receives all signals."""
    command = await control.prepare_foreground()
    environ = dict(await control.environment())
    if not talks:
        _print_json({"verb": "start-foreground", "ok": True, "command": command})
    sys.stdout.flush()
    _become(command, environ)


def _become(command: list[str], environ: dict[str, str]) -> NoReturn:
    """Run the command instead of this program."""
    if sys.platform == "win32":  # exec would return to the shell before the server ends
        sys.exit(subprocess.run(command, env=environ, check=False).returncode)  # noqa: S603
    os.execve(command[0], command, environ)  # noqa: S606 - the command is the installation's Java


_verb("Start the server and wait until it serves.")(_start)
_verb("Run the server in the foreground.")(_start_foreground)
_verb("Stop the server and wait until it has exited.")(_stop)
_verb("Stop the server and start it.")(_restart)
_verb("Print the server's mode.")(_status)
_verb("Print the version of the installed ZooKeeper.")(_version)
_verb("Print the command that runs the server.")(_print_cmd)
_verb("Create the data directories of a new server.")(_initialize)


@server.command("upgrade", short_help="Explain how to upgrade a server.")
@click.argument("zoo_cfg", required=False, metavar="[ZOO.CFG]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def _upgrade(zoo_cfg: str | None, as_json: bool) -> int:
    """Explain how to upgrade a server. It changes nothing, and its exit code is 2."""
    del zoo_cfg
    if as_json:
        _print_json({"verb": "upgrade", "ok": False, "exit_code": int(ExitCode.USAGE), "error": _UPGRADE})
    else:
        click.echo(_UPGRADE)
    return ExitCode.USAGE
