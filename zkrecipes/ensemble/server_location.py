"""The configuration file and the environment of one installed server, found by the rules of zkServer.sh.

The rules are those of `zkServer.sh` and `zkEnv.sh` (3.4 to 3.9). The caller's variables count, including on
Debian, whose `zkEnv.sh` overrides them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from zkrecipes.ensemble.errors import ServerConfigError
from zkrecipes.ensemble.installation import Layout, find_layout

__all__ = ["ServerLocation", "locate_config", "locate_server"]

# zkEnv.sh sources these two from the configuration folder, in this order.
_ENVIRONMENT_FILES: Final = ("zookeeper-env.sh", "java.env")
# The files assign variables without `export`; `set -a` exports them.
_SOURCE_AND_PRINT: Final = 'set -a; for file; do . "$file" >&2 || exit; done; exec env -0'
_SOURCE_LIMIT = 10.0


@final
@dataclass(frozen=True)
class ServerLocation:
    """An installed server with its configuration file."""

    layout: Layout
    config: Path
    config_directory: Path
    """The folder of the logger's configuration, the first entry of the class path."""
    environ: Mapping[str, str]
    """The environment variables, after `zookeeper-env.sh` and `java.env`."""

    @property
    def log_directory(self) -> Path:
        """The folder for the server's output."""
        given = self.environ.get("ZOO_LOG_DIR")
        return Path(given) if given else self.layout.log_directory


def locate_server(
    config: str | None, environ: Mapping[str, str], *, config_directory: Path | None = None
) -> ServerLocation:
    """Find the installation, the configuration file and the environment of a server.

    Args:
        config: the name of a file in the configuration folder, or else in the current folder; with a slash, a
            path; None for `ZOOCFG`, or else the installation's default (`zoo.cfg`).
        environ: the environment variables.
        config_directory: the configuration folder; None for `ZOOCFGDIR`, or else the installation's.

    Raises:
        ServerNotFoundError: ZooKeeper is not installed.
        ServerConfigError: `zookeeper-env.sh` or `java.env` fails.
    """
    layout = find_layout(environ)
    given = environ.get("ZOOCFGDIR")
    folder = config_directory or (Path(given) if given else layout.config_directory)
    files = [folder / name for name in _ENVIRONMENT_FILES if (folder / name).is_file()]
    if files:
        environ = _source(files, environ)
    name = config or environ.get("ZOOCFG") or layout.config_name
    return ServerLocation(layout, _find_file(name, folder), folder, environ)


def locate_config(config: str | None, environ: Mapping[str, str], *, config_directory: Path | None) -> Path:
    """Find only the configuration file. If its path is given, no installation is needed.

    Raises:
        ServerNotFoundError: ZooKeeper is not installed, and the path of the file is not given.
        ServerConfigError: `zookeeper-env.sh` or `java.env` fails.
    """
    if config is not None and (len(Path(config).parts) > 1 or config_directory is not None):
        return _find_file(config, config_directory or Path())
    return locate_server(config, environ, config_directory=config_directory).config


def _find_file(name: str, folder: Path) -> Path:
    if len(Path(name).parts) > 1 or name.startswith("./"):
        return Path(name).absolute()
    in_folder, here = folder / name, Path(name)
    return (here if here.exists() and not in_folder.exists() else in_folder).absolute()


def _source(files: list[Path], environ: Mapping[str, str]) -> dict[str, str]:
    """Run the files in a shell, as zkEnv.sh does, and return the variables afterwards."""
    shell = shutil.which("bash") or "/bin/sh"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own files, which every start of zkServer.sh runs
            [shell, "-c", _SOURCE_AND_PRINT, "zkrecipes", *map(str, files)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SOURCE_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerConfigError(files[0], f"{shell} cannot run it: {error}") from error
    if done.returncode:
        reason = " ".join(done.stderr.decode("utf-8", "replace").split())
        names = " and ".join(file.name for file in files)
        raise ServerConfigError(files[0].parent, f"{shell} cannot run {names}: {reason or done.returncode}")
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)
