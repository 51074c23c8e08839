"""Curator's real recipes, in a Java process; `java/Recipes.java` lists their commands.

Curator is Debian's package `libcurator-recipes-java`, whose jar names the jars that it needs.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.interop.peer import Peer, run_peer, whole_milliseconds
from tests.java_program import JavaProgram, compile_java, require_file

_SOURCES = Path(__file__).with_name("java")
_CURATOR = Path("/usr/share/java/curator-recipes.jar")

CURATOR_JARS = (_CURATOR, Path("/usr/share/java/slf4j-simple.jar"))
"""The jars of a program that uses Curator."""


def require_curator() -> None:
    """Skip or fail the test if Curator is missing."""
    require_file(_CURATOR, "Curator", package="libcurator-recipes-java")


def compile_curator_peer(folder: Path) -> JavaProgram:
    """Return the compiled program; if Curator or a compiler is missing, skip or fail the test."""
    require_curator()
    return compile_java("CuratorPeer", sorted(_SOURCES.glob("*.java")), CURATOR_JARS, folder)


def start_curator(
    program: JavaProgram, connect_string: str, *, session_timeout: float, log: Path
) -> AbstractAsyncContextManager[Peer]:
    """Start a Curator client with its own session."""
    command = program.command(connect_string, str(whole_milliseconds(session_timeout)))
    return run_peer(command, log=log)
