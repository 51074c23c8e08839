"""Loggers have stable names, which the documentation lists."""

from __future__ import annotations

import re

from tests.house.source_tree import ROOT

_LOGGER = re.compile(r"getLogger\((.*?)\)")
_PAGE = ROOT / "docs" / "how-to" / "monitoring.md"


def test_the_documentation_names_every_logger() -> None:
    named = set(re.findall(r"^\| `(zkrecipes\.[a-z]+)` \|", _PAGE.read_text(), re.MULTILINE))
    used = {name for path in (ROOT / "zkrecipes").rglob("*.py") for name in _LOGGER.findall(path.read_text())}
    assert used - {'"zkrecipes"'} == {f'"{name}"' for name in named}
