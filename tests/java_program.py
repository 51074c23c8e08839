"""Small Java programs that tests compile and run with the installed Java libraries.

If a package is missing, the test is skipped with the command that installs it, or fails under
`ZKRECIPES_REQUIRE_ZOOKEEPER=1`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, final

import pytest

from zkrecipes.ensemble import find_installation

# With these options, Java starts faster and leaves the second core to the tests.
_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
_COMPILE_LIMIT = 50


@final
@dataclass(frozen=True)
class JavaProgram:
    """A compiled program, ready to run."""

    java: Path
    main_class: str
    class_path: tuple[Path, ...]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs the program."""
        class_path = ":".join(map(str, self.class_path))
        return [str(self.java), *_OPTIONS, "-cp", class_path, self.main_class, *arguments]


def compile_java(
    main_class: str, sources: Sequence[Path], class_path: Sequence[Path], folder: Path
) -> JavaProgram:
    """Compile a program into `folder`; without a compiler, skip or fail the test."""
    java = find_installation().java
    compiler = shutil.which("javac", path=str(java.resolve().parent)) or shutil.which("javac")
    if compiler is None:
        # The package of the server depends on a Java runtime, not on a compiler.
        _give_up("there is no Java compiler", package="default-jdk-headless")
    jars = ":".join(map(str, class_path))
    options = [f"-J{option}" for option in _OPTIONS]
    command = [compiler, *options, "-proc:none", "-cp", jars, "-d", str(folder), *map(str, sources)]
    subprocess.run(command, check=True, timeout=_COMPILE_LIMIT)
    return JavaProgram(java, main_class, (folder, *class_path))


def require_file(path: Path, what: str, *, package: str) -> None:
    """Skip or fail the test if a file of a Debian package does not exist."""
    if not path.exists():
        _give_up(f"there is no {what}: {path} does not exist", package=package)


def _give_up(missing: str, *, package: str) -> NoReturn:
    reason = f"{missing}: on Debian type `apt-get install {package}`"
    if os.environ.get("ZKRECIPES_REQUIRE_ZOOKEEPER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
