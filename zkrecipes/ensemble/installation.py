"""The search for Apache ZooKeeper's jars and for Java on this machine. It starts nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from zkrecipes.ensemble.errors import ServerNotFoundError

__all__ = ["Installation", "Layout", "find_installation", "find_java", "find_layout"]

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
# Homebrew on Apple silicon, on Intel, and on Linux (docs.brew.sh, Installation).
_HOMEBREW_PREFIXES = (Path("/opt/homebrew"), Path("/usr/local"), Path("/home/linuxbrew/.linuxbrew"))
_ZOOKEEPER_SCRIPT = "zkServer.sh"
_KAFKA_SCRIPTS = ("zookeeper-server-start.sh", "zookeeper-server-start")
_REMEDY = "on Debian run `apt-get install zookeeper`, or set ZOOKEEPER_HOME to an unpacked release"


@final
@dataclass(frozen=True)
class Installation:
    """An installed ZooKeeper and the Java that runs it."""

    java: Path
    """The `java` program."""
    class_path: tuple[Path, ...]
    """The jars, including ZooKeeper's own."""


@final
@dataclass(frozen=True)
class Layout:
    """The folders of an installed ZooKeeper."""

    name: str
    """`release`, `debian`, `homebrew` or `kafka`."""
    home: Path
    """The folder that contains the rest; for Debian, the folder of its scripts."""
    class_path: tuple[Path, ...]
    """The jars, including ZooKeeper's own."""
    config_directory: Path
    """The folder of the configuration files."""
    config_name: str
    """The name of the configuration file in that folder, if no other name is given."""
    log_directory: Path
    """The folder for the output of a server."""


def find_installation(environ: Mapping[str, str] | None = None) -> Installation:
    """Find ZooKeeper's jars and a Java.

    Args:
        environ: the environment variables; None for those of this process. `ZOOKEEPER_HOME` names the folder
            of a release (with jars in it, or in its `lib`) or of Kafka, and takes precedence over the places
            that `find_layout` searches; `JAVA_HOME` takes precedence over a `java` on the `PATH`.

    Returns:
        Existing paths. Only a start shows whether the server works.

    Raises:
        ServerNotFoundError: the jars or Java are missing; the message names a remedy.
    """
    if environ is None:
        environ = os.environ
    layout = find_layout(environ)
    return Installation(find_java(environ), layout.class_path)


def find_layout(environ: Mapping[str, str]) -> Layout:
    """Find an installed ZooKeeper: in `ZOOKEEPER_HOME`, on the `PATH`, of Debian, of Homebrew, or in Kafka.

    Args:
        environ: the environment variables. If `ZOOKEEPER_HOME` is set, no other place is searched.

    Raises:
        ServerNotFoundError: no place has the jars; the message names each place.
    """
    home = environ.get("ZOOKEEPER_HOME")
    if home is not None:
        layout = _release(Path(home)) or _kafka(Path(home))
        if layout is None:
            raise ServerNotFoundError(
                f"there is no zookeeper*.jar in ZOOKEEPER_HOME={home} or its lib",
                "set it to the folder of an unpacked release, or unset it",
            )
        return layout
    layout = _on_path(environ) or _debian() or _homebrew() or _kafka_on_path(environ)
    if layout is None:
        places = ", ".join(str(prefix / "opt/zookeeper") for prefix in _HOMEBREW_PREFIXES)
        raise ServerNotFoundError(
            f"Apache ZooKeeper is not installed: ZOOKEEPER_HOME is not set; the PATH has no "
            f"{_ZOOKEEPER_SCRIPT}; {_DEBIAN_JARS / 'zookeeper.jar'} does not exist (Debian); no jars "
            f"in {places} (Homebrew); no Kafka with ZooKeeper in KAFKA_HOME or on the PATH",
            _REMEDY,
        )
    return layout


def find_java(environ: Mapping[str, str]) -> Path:
    """Find the `java` program in `JAVA_HOME`, or else on the `PATH`.

    Raises:
        ServerNotFoundError: there is no Java.
    """
    home = environ.get("JAVA_HOME")
    if home is not None:
        java = shutil.which("java", path=str(Path(home, "bin")))
        if java is None:
            raise ServerNotFoundError(
                f"there is no Java in JAVA_HOME={home}", "set it to the folder of a JDK or JRE, or unset it"
            )
        return Path(java)
    found = shutil.which("java", path=environ.get("PATH", ""))
    if found is None:
        raise ServerNotFoundError(
            "there is no Java on the PATH", "on Debian run `apt-get install default-jre-headless`"
        )
    return Path(found)


def _release(home: Path) -> Layout | None:
    class_path = _jars(home, home / "lib")
    if class_path is None:
        return None
    # zkEnv.sh: `conf` beside `bin`, or else `etc/zookeeper`.
    config = home / "conf" if (home / "conf").is_dir() else home / "etc" / "zookeeper"
    return Layout("release", home, class_path, config, "zoo.cfg", home / "logs")


def _on_path(environ: Mapping[str, str]) -> Layout | None:
    script = shutil.which(_ZOOKEEPER_SCRIPT, path=environ.get("PATH", ""))
    return None if script is None else _release(Path(script).resolve().parent.parent)


def _debian() -> Layout | None:
    jars = [_DEBIAN_JARS / f"{name}.jar" for name in _DEBIAN_NAMES]
    if not jars[0].exists():
        return None
    class_path = tuple(jar for jar in jars if jar.exists())
    home, config, logs = Path("/usr/share/zookeeper"), Path("/etc/zookeeper/conf"), Path("/var/log/zookeeper")
    return Layout("debian", home, class_path, config, "zoo.cfg", logs)


def _homebrew() -> Layout | None:
    for prefix in _HOMEBREW_PREFIXES:
        home = prefix / "opt" / "zookeeper" / "libexec"
        class_path = _jars(home, home / "lib")
        if class_path is not None:
            config, logs = prefix / "etc" / "zookeeper", prefix / "var" / "log" / "zookeeper"
            return Layout("homebrew", home, class_path, config, "zoo.cfg", logs)
    return None


def _kafka_on_path(environ: Mapping[str, str]) -> Layout | None:
    homes = [Path(environ["KAFKA_HOME"])] if "KAFKA_HOME" in environ else []
    scripts = (shutil.which(name, path=environ.get("PATH", "")) for name in _KAFKA_SCRIPTS)
    homes += [Path(script).resolve().parent.parent for script in scripts if script is not None]
    return next((layout for home in homes if (layout := _kafka(home)) is not None), None)


def _kafka(home: Path) -> Layout | None:
    class_path = _jars(home / "libs", home / "share" / "java" / "kafka")
    if class_path is None:
        return None
    config = home / "config" if (home / "config").is_dir() else home / "etc" / "kafka"
    return Layout("kafka", home, class_path, config, "zookeeper.properties", home / "logs")


def _jars(*folders: Path) -> tuple[Path, ...] | None:
    """Return the jars of the folders, or None if ZooKeeper's own is not one of them."""
    jars = sorted(jar for folder in folders for jar in folder.glob("*.jar"))
    return tuple(jars) if any(jar.name.startswith("zookeeper") for jar in jars) else None
