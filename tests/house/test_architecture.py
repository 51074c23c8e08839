"""The architecture page describes the source as it is: its folders, floors, paths, states and task groups."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import FrameType

import pytest

import zkrecipes as zk
from tests.house.source_tree import PACKAGE, ROOT, read_package
from tests.house.test_layers import RULES
from zkrecipes.protocol import connection_stage, states
from zkrecipes.testing import ThreadedDevServer

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
SOURCE = ROOT / PACKAGE
TASK_GROUPS = {"create_task_group", "open_nursery", "TaskGroup"}


def section(title: str) -> str:
    return re.split(rf"^## {title}$", PAGE, flags=re.MULTILINE)[1].partition("\n## ")[0]


def rows(title: str, table: int = 0) -> list[list[str]]:
    """Return the cells of a table of a section, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    lines = tables[table].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def diagram(title: str) -> set[str]:
    (block,) = re.findall(r"```text\n(.*?)```", section(title), re.DOTALL)
    return set(re.findall(r"[\w/]+\.py", block))


# --- files and folders -------------------------------------------------------------------------------------


def test_every_file_and_folder_of_the_page_exists() -> None:
    named = set(re.findall(r"[\w/]+\.py\b|\b[\w/]+/(?=`)", PAGE))
    assert len(named) > 50
    assert not {name for name in named if not (SOURCE / name).exists() and not (ROOT / name).exists()}


def test_every_folder_of_the_package_has_a_line() -> None:
    folders = {path.parent.relative_to(SOURCE).as_posix() + "/" for path in SOURCE.rglob("*/__init__.py")}
    assert {name for row in rows("Folders") for name in names(row[0])} == folders - {"./"}


def test_every_path_names_several_files() -> None:
    for title in ("get", "watch event", "lock and its loss", "reconnect"):
        assert len(diagram(f"Path of a {title}")) >= 7


# --- floors ------------------------------------------------------------------------------------------------


def test_the_floors_are_those_of_the_layer_rule() -> None:
    floors = {row[1].strip("`"): row for row in rows("Floors")}
    assert floors.keys() == RULES.keys() - {"__main__"}
    for name, (_, _, may_import, others) in floors.items():
        rule = RULES[name]
        allowed = names(may_import) | set(_of_floors(may_import, floors))
        assert allowed | {name} == rule.ours | {name}, f"{name}: what it may import"
        assert ("public names" in may_import) == rule.client_names, f"{name}: the client's public names"
        assert names(others) == rule.others, f"{name}: other packages"


def _of_floors(cell: str, floors: dict[str, list[str]]) -> Iterator[str]:
    match = re.match(r"(\d)(?: to (\d))?", cell)
    assert match is not None
    lowest, highest = int(match[1]), int(match[2] or match[1])
    for name, row in floors.items():
        if row[0].isdecimal() and lowest <= int(row[0]) <= highest:
            yield name


def test_the_exceptions_are_those_of_the_layer_rule() -> None:
    stated = {module: names(row[1]) for row in rows("Floors", 1) for module in names(row[0])}
    real = {
        module.replace(".", "/") + ".py": extra
        for rule in RULES.values()
        for module, extra in rule.exceptions.items()
    }
    assert stated == real


# --- states, tasks, and the path of a request --------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "transitions"), [(0, states.TRANSITIONS), (1, connection_stage.STAGE_TRANSITIONS)]
)
def test_the_transitions_are_those_of_the_code(
    table: int, transitions: Mapping[Enum, Mapping[Enum, Enum]]
) -> None:
    heads = re.findall(r"^\| (?:state|stage) \|(.*)\|$", PAGE, re.MULTILINE)
    events = [cell.strip() for cell in heads[table].split("|")]
    assert set(events) == {event.value for row in transitions.values() for event in row}
    stated = {
        row[0].strip("`"): {
            event: cell.strip("`") for event, cell in zip(events, row[1:], strict=True) if cell
        }
        for row in rows("State machines", table)
    }
    assert stated == {
        state.name: {event.value: after.name for event, after in row.items()}
        for state, row in transitions.items()
    }


def test_every_owner_of_a_task_group_is_named() -> None:
    owners = {
        module.file.removeprefix(f"{PACKAGE}/")
        for module in read_package()
        if any(_opens_task_group(node) for node in ast.walk(module.tree))
    }
    assert {name for row in rows("Tasks and cancellation") for name in names(row[0])} == owners


def _opens_task_group(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in TASK_GROUPS


@pytest.mark.trio
async def test_a_get_passes_the_files_of_the_diagram() -> None:
    passed: set[str] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(SOURCE):
            passed.add(file.relative_to(SOURCE).as_posix())

    with ThreadedDevServer() as server:  # in another thread, which is not profiled
        async with zk.connect(server.connect_string) as client:
            await client.get("/")
            sys.setprofile(note)
            await client.get("/")
            sys.setprofile(None)
    named = set(re.findall(r"[\w/]+\.py", section("Path of a get"))) - {"codec/messages.py"}
    assert not named - passed, "the page names files that a get does not pass"
    (stated,) = re.findall(r"That is (\d+) files", section("Path of a get"))
    assert len(passed) <= int(stated), f"a get also passes {passed - named}"
