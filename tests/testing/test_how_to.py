"""The examples of the how-to page are run, each under the plugins that it names."""

from __future__ import annotations

import re

import pytest

from tests.house.source_tree import ROOT

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs/how-to/testing.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"```python\n# (\S+)\.py\n(.*?)```", PAGE, re.DOTALL))


def test_every_example_of_the_page_has_a_name() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") > 0


def test_the_examples_work(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(**EXAMPLES)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    # anyio's plugin runs on both loops
    result.assert_outcomes(passed=sum(map(_count_tests, EXAMPLES.values())) + 1)


def _count_tests(text: str) -> int:
    return len(re.findall(r"^ *(?:async )?def test_", text, re.MULTILINE))
