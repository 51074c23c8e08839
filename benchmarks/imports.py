"""The time of an import in a fresh interpreter, less that of an interpreter without imports."""

from __future__ import annotations

import os
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
    """Return the median milliseconds of each import."""
    statements = {"nothing": "", **STATEMENTS}
    seconds: dict[str, list[float]] = {name: [] for name in statements}
    # The interpreter compiles the module once and not at each start, as with an installed package.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for round_number in range(rounds + 1):
        for name, statement in statements.items():
            started_at = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
            if round_number > 0:
                seconds[name].append(time.perf_counter() - started_at)
    nothing = statistics.median(seconds.pop("nothing"))
    return {name: (statistics.median(each) - nothing) * 1000 for name, each in seconds.items()}
