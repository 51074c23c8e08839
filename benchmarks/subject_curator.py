"""Run one workload with locks in Curator, by a small Java program that is compiled on first use."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.measuring import arguments
from benchmarks.workloads import LOCK_PATH
from zkrecipes.ensemble import find_installation

REMEDY: Final = "on Debian type `apt-get install libcurator-recipes-java default-jdk-headless`"
_SOURCE: Final = Path(__file__).parent / "java" / "CuratorLocks.java"
_JARS: Final = [
    Path(f"/usr/share/java/{name}.jar")
    for name in ("curator-client", "curator-framework", "curator-recipes", "guava")
]


def is_available() -> bool:
    """Whether the program can be compiled and run."""
    return shutil.which("javac") is not None and all(jar.exists() for jar in _JARS)


def main() -> None:
    """Run the program, which prints the line of JSON."""
    given = arguments("curator")
    installation = find_installation()
    class_path = [*map(str, _JARS), *map(str, installation.class_path)]
    with tempfile.TemporaryDirectory() as folder:
        compiler = ["javac", "-proc:none", "-cp", ":".join(class_path), "-d", folder, str(_SOURCE)]
        subprocess.run(compiler, check=True)
        program = [str(installation.java), "-cp", ":".join([folder, *class_path]), "CuratorLocks"]
        clients = 1 if given.workload in {"lock_uncontended", "lock_16_contenders"} else given.window
        numbers = [str(number) for number in (clients, given.window, given.times)]
        subprocess.run(
            [*program, given.connect, f"{LOCK_PATH}/curator-{given.workload}", *numbers], check=True
        )


if __name__ == "__main__":
    main()
