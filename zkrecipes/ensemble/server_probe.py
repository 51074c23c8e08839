"""Asks a configured server for its status: with `srvr` on its port, or through Java if it speaks only TLS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import anyio

from zkrecipes.ensemble.four_letter import ServerStatus, ask, parse_srvr
from zkrecipes.ensemble.server_config import ServerConfig

__all__ = ["Probe", "probe_server"]

_ANSWER_LIMIT = 5.0
_JAVA_LIMIT = 20.0
_ANY: Final = {"", "0.0.0.0", "::", "*"}  # noqa: S104 - addresses to replace by loopback
_CLIENT_CLASS = "org.apache.zookeeper.client.FourLetterWordMain"
# The keys of zoo.cfg that a client needs too; the server's key pair also identifies the client.
_TLS_KEYS: Final = tuple(
    f"ssl.{store}.{part}" for store in ("keyStore", "trustStore") for part in ("location", "password", "type")
)


@final
@dataclass(frozen=True)
class Probe:
    """The answer of a server, or the reason why there is no answer."""

    host: str
    port: int
    is_tls: bool
    status: ServerStatus | None
    """The status; None if the server does not serve."""
    problem: str
    """The reason for which there is no status; empty if there is one."""


async def probe_server(
    config: ServerConfig, java: Path | None, class_path: str, flags: Mapping[str, str]
) -> Probe:
    """Ask the server for its status.

    Args:
        config: the server's configuration.
        java: the `java` program, needed only for a server that speaks only TLS.
        class_path: the class path, as above.
        flags: the environment of Java. `CLIENT_JVMFLAGS` has the client's TLS settings; without it the
            client uses the server's key and trust stores.
    """
    endpoint = config.client_endpoint
    if endpoint is not None:
        host, port = _reachable(endpoint[0]), endpoint[1]
        return _probe(host, port, await _ask(host, port), is_tls=False)
    secure = config.secure_endpoint
    if secure is None:
        return Probe("", 0, is_tls=False, status=None, problem=f"{config.path} has no port for clients")
    host, port = _reachable(secure[0]), secure[1]
    if java is None:
        return Probe(host, port, is_tls=True, status=None, problem="there is no Java to ask a TLS port with")
    command = [str(java), "-cp", class_path, _CLIENT_CLASS, host, str(port), "srvr", "true"]
    return _probe(host, port, await _run_java(command, config, flags), is_tls=True)


def _probe(host: str, port: int, answer: str | OSError, *, is_tls: bool) -> Probe:
    status = None if isinstance(answer, OSError) else parse_srvr(answer)
    problem = ""
    if isinstance(answer, OSError):
        problem = f"{host}:{port} does not answer: {answer.strerror or answer}"
    elif status is None:
        problem = " ".join(answer.split()) or f"{host}:{port} sent no answer"
        if is_tls and not answer:
            problem += "; CLIENT_JVMFLAGS must have the TLS settings of a client that the server accepts"
    return Probe(host, port, is_tls, status, problem)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in _ANY else host


async def _ask(host: str, port: int) -> str | OSError:
    try:
        with anyio.fail_after(_ANSWER_LIMIT):
            return await ask(host, port, "srvr")
    except TimeoutError:
        return TimeoutError(f"no answer within {_ANSWER_LIMIT:g} s")
    except OSError as error:
        cause = error.__cause__ or error
        # The texts of the two loops differ.
        code = cause.errno if isinstance(cause, OSError) else None
        return error if code is None else OSError(code, os.strerror(code))


async def _run_java(command: list[str], config: ServerConfig, flags: Mapping[str, str]) -> str | OSError:
    options = flags.get("CLIENT_JVMFLAGS")
    if options is None:
        # The server's certificate names its public name, and the question goes to this machine.
        values = {key: config.value(key) for key in _TLS_KEYS if key in config.properties}
        values["ssl.hostnameVerification"] = "false"
        options = " ".join(f'"-Dzookeeper.{key}={value}"' for key, value in values.items())
    # In the environment, because every user of the machine can read a command line, which has passwords.
    environ = {**flags, "JAVA_TOOL_OPTIONS": options}
    with anyio.move_on_after(_JAVA_LIMIT):
        done = await anyio.run_process(
            command, env=environ, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return done.stdout.decode("utf-8", "replace")
    return TimeoutError(f"no answer within {_JAVA_LIMIT:g} s")
