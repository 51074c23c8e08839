"""Loggers have names that stay, whatever becomes of the modules behind them."""

from __future__ import annotations

import re

from tests.house.source_tree import ROOT

_LOGGER = re.compile(r"getLogger\((.*?)\)")
_PAGE = ROOT / "docs" / "how-to" / "monitoring.md"


def test_every_logger_is_one_that_the_documentation_names() -> None:
    named = set(re.findall(r"^\| `(zkrecipes\.[a-z]+)` \|", _PAGE.read_text(), re.MULTILINE))
    used = {name for path in (ROOT / "zkrecipes").rglob("*.py") for name in _LOGGER.findall(path.read_text())}
    assert used - {'"zkrecipes"'} == {f'"{name}"' for name in named}
