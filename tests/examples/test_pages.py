"""The programs of the README and the tutorial run, and no page names what does not exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zkrecipes
from tests.house.source_tree import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
TUTORIAL = ROOT / "docs" / "tutorial" / "first-lock.md"


def _programs(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def _run(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=15)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_of_the_readme_runs() -> None:
    (program,) = _programs(ROOT / "README.md")
    assert "token" in _run(program)


def test_the_steps_of_the_tutorial_run() -> None:
    first = (ROOT / "examples" / "first_lock.py").read_text("utf-8")
    imports, end = first.partition("async def main")[0], "\ntrio.run(main)\n"
    _, wait, limit, lose = _programs(TUTORIAL)
    shown = _run(imports + wait + end)
    assert shown.index("gave it back") < shown.rindex("has it, with token")
    ast.parse(limit.replace("async with", "with"))
    assert "stopped:" in _run(imports + lose + end)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_programs_of_a_page_are_valid(page: Path) -> None:
    for program in _programs(page):
        if "--8<--" not in program:
            compile(program, page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_public_names(page: Path) -> None:
    if page.name in ("CHANGELOG.md", "changelog.md"):
        return  # it also names what was renamed or removed
    used = set(re.findall(r"\bzk\.([A-Za-z]\w*)", page.read_text("utf-8")))
    assert not used - {"example"} - set(zkrecipes.__all__)  # a host: zk.example.org


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_the_links_of_a_page_outside_the_site_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8"))
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_every_make_target_of_the_contributing_page_exists() -> None:
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named <= targets
