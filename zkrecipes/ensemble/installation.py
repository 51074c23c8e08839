"""The search for Apache ZooKeeper's jars and for Java on this machine. It starts nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from zkrecipes.ensemble.errors import ServerNotFoundError

__all__ = ["Installation", "find_installation"]

_DEBIAN_JARS = Path("/usr/share/java")
# The manifest of Debian's zookeeper.jar names the jars that it needs, except the logger and a part of Netty
# (read at libzookeeper-java 3.8.0-11).
_DEBIAN_NAMES = (
    "zookeeper",
    "slf4j-log4j12",
    "log4j-1.2",
    "netty-codec",
    "netty-resolver",
    "netty-transport-native-unix-common",
)
_REMEDY = "on Debian run `apt-get install zookeeper`, or set ZOOKEEPER_HOME to an unpacked release"


@final
@dataclass(frozen=True)
class Installation:
    """An installed ZooKeeper and the Java that runs it."""

    java: Path
    """The `java` program."""
    class_path: tuple[Path, ...]
    """The jars, including ZooKeeper's own."""


def find_installation(environ: Mapping[str, str] | None = None) -> Installation:
    """Find ZooKeeper's jars and a Java.

    Args:
        environ: the environment variables; None for those of this process. `ZOOKEEPER_HOME` names the folder
            of a release (with jars in it, or in its `lib`) and takes precedence over Debian's package;
            `JAVA_HOME` takes precedence over a `java` on the `PATH`.

    Returns:
        Existing paths. Only a start shows whether the server works.

    Raises:
        ServerNotFoundError: the jars or Java are missing; the message names a remedy.
    """
    if environ is None:
        environ = os.environ
    home = environ.get("ZOOKEEPER_HOME")
    class_path = _debian_jars() if home is None else _release_jars(Path(home))
    return Installation(_java(environ), class_path)


def _release_jars(home: Path) -> tuple[Path, ...]:
    jars = sorted([*home.glob("*.jar"), *home.glob("lib/*.jar")])
    if not any(jar.name.startswith("zookeeper") for jar in jars):
        raise ServerNotFoundError(
            f"there is no zookeeper*.jar in ZOOKEEPER_HOME={home} or its lib",
            "set it to the folder of an unpacked release, or unset it",
        )
    return tuple(jars)


def _debian_jars() -> tuple[Path, ...]:
    jars = [_DEBIAN_JARS / f"{name}.jar" for name in _DEBIAN_NAMES]
    if not jars[0].exists():
        raise ServerNotFoundError(f"Apache ZooKeeper is not installed: {jars[0]} does not exist", _REMEDY)
    return tuple(jar for jar in jars if jar.exists())


def _java(environ: Mapping[str, str]) -> Path:
    home = environ.get("JAVA_HOME")
    if home is not None:
        java = Path(home, "bin", "java")
        if not java.exists():
            raise ServerNotFoundError(
                f"there is no Java in JAVA_HOME={home}", "set it to the folder of a JDK or JRE, or unset it"
            )
        return java
    found = shutil.which("java", path=environ.get("PATH", ""))
    if found is None:
        raise ServerNotFoundError(
            "there is no Java on the PATH", "on Debian run `apt-get install default-jre-headless`"
        )
    return Path(found)
