"""The recipes log each line of the table in the documentation."""

from __future__ import annotations

import re

import pytest

from tests.house.source_tree import ROOT

PAGE = ROOT / "docs" / "recipes" / "index.md"
ROW = re.compile(r"^\| `([^`]*…[^`]*)` \|", re.MULTILINE)
LINES = ROW.findall(PAGE.read_text())


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_table_is_logged(line: str) -> None:
    sources = [path.read_text() for path in (ROOT / "zkrecipes").rglob("*.py")]
    for part in line.split("…"):
        said = part.strip(" :")
        assert any(said in source for source in sources), said
