"""The table of the slowest tests names tests that exist."""

from __future__ import annotations

import re

from tests.house.source_tree import ROOT
from tests.slow_tests import read_table


def test_each_test_in_the_table_exists() -> None:
    unknown = []
    for name in read_table():
        file, _, test = name.partition("::")
        path = ROOT / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        # The class of a Hypothesis state machine is assigned, and inherits its only test.
        if not re.search(rf"\b{test.partition('::')[0]}\b", text):
            unknown.append(name)
    assert not unknown, f"`make slow-tests` measures the table anew: {unknown}"
