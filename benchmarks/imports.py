"""How long an import takes in a fresh interpreter, over that of an interpreter that imports nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Final

STATEMENTS: Final = {
    "import zkrecipes": "import zkrecipes",
    "zkrecipes.connect and Mutex": "from zkrecipes import Mutex, connect",
    "kazoo.client": "import kazoo.client",
}


def measure(rounds: int) -> dict[str, float]:
    """The median milliseconds of each import."""
    seconds: dict[str, list[float]] = {name: [] for name in ("nothing", *STATEMENTS)}
    for _ in range(rounds):
        for name, statement in {"nothing": "", **STATEMENTS}.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            seconds[name].append(time.perf_counter() - begun)
    nothing = statistics.median(seconds.pop("nothing"))
    return {name: (statistics.median(each) - nothing) * 1000 for name, each in seconds.items()}
