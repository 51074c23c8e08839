"""`zkrecipes verify`: checks of an installed ZooKeeper, one line each."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import click

from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.ensemble.installation_checks import CheckState, InstallationCheck, check_installation

__all__ = ["verify"]


@click.command(short_help="Check an installed ZooKeeper.")
@click.option(
    "--installation",
    is_flag=False,
    flag_value="",
    metavar="[HOME]",
    help="Check the installation in this folder.  [default: ZOOKEEPER_HOME, or the one that is found]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(installation: str | None, as_json: bool) -> int:
    """Check an installed ZooKeeper: Java, its folders, zoo.cfg, the ports, and a throw-away server.

    Each line begins with ok, with note (it works, but the fix is worth a look) or with FAILED and has a fix
    unless it is ok. The last check starts a server on a free port with data in a temporary folder, writes to
    it and stops it. The exit code is 1 if a check failed.
    """
    if installation is None:
        raise click.UsageError("an option is required: --installation [HOME]")
    try:
        checks = anyio.run(_run, Path(installation) if installation else None, as_json, backend="trio")
    except ImportError as error:
        raise CommandError(str(error), ExitCode.EXTRA_MISSING) from error
    failed = any(check.state is CheckState.FAILED for check in checks)
    code = ExitCode.CHECK_FAILED if failed else ExitCode.OK
    if as_json:
        lines = [
            {"name": check.name, "state": check.state.value, "detail": check.detail, "fix": check.fix or None}
            for check in checks
        ]
        click.echo(json.dumps({"verb": "verify", "ok": not failed, "exit_code": int(code), "checks": lines}))
    return code


async def _run(home: Path | None, as_json: bool) -> list[InstallationCheck]:
    return await check_installation(home, report=None if as_json else _print)


def _print(check: InstallationCheck) -> None:
    fix = f" -> {check.fix}" if check.fix else ""
    click.echo(f"{check.state.value:6}  {check.name}: {check.detail}{fix}")
