"""The table of the slowest tests names tests that exist."""

from __future__ import annotations

import ast

from tests.house.source_tree import ROOT
from tests.slow_tests import read_table


def test_each_test_in_the_table_exists() -> None:
    unknown = []
    for name in read_table():
        file, _, function = name.partition("::")
        path = ROOT / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        defined = {
            node.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if function.rpartition("::")[2] not in defined:
            unknown.append(name)
    assert not unknown, f"`make slow-tests` measures the table anew: {unknown}"
