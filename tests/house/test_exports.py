"""The public names exist, are documented and final, and load lazily."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import re
import subprocess
import sys
from importlib import metadata

import pytest

import zkrecipes
from tests.house.source_tree import PACKAGE, ROOT, read_package

PUBLIC_NAMES = sorted(zkrecipes.__all__)
# The names that the reference pages show: a class or a function, or a whole module.
REFERENCE = {
    entry
    for page in (ROOT / "docs" / "reference").glob("*.md")
    for entry in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
}
# A module is named for what it owns.
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager"}
MADE_TO_BE_INHERITED = {"Acquirable", "Instrument", "Network", "SaslExchange", "SaslMechanism", "Stream"}
# `import zkrecipes` must not load these: the loops, the servers, and their dependencies.
LOADED_ON_DEMAND = {
    "anyio", "asyncio", "sqlite3", "trio",
    "zkrecipes.devserver", "zkrecipes.ensemble", "zkrecipes.testing", "zkrecipes.cli",
}  # fmt: skip


def test_dir_lists_every_public_name() -> None:
    assert set(PUBLIC_NAMES) <= set(dir(zkrecipes))


def test_the_version_is_that_of_the_installed_package() -> None:
    assert zkrecipes.__version__ == metadata.version("zkrecipes")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = zkrecipes.no_such_name  # type: ignore[attr-defined]  # the point of the test


def test_type_checkers_and_the_running_program_see_the_same_names() -> None:
    (top,) = (module for module in read_package() if module.name == PACKAGE)
    (block,) = (
        node
        for node in top.tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen_by_checkers = {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    (table,) = (
        ast.literal_eval(node.value)
        for node in top.tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_NAMES_BY_MODULE"
    )
    seen_by_program = {(module, name) for module, names in table.items() for name in names}
    assert seen_by_checkers == seen_by_program
    assert sorted(name for _, name in seen_by_program) == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_public_name_is_exported_by_its_module(name: str) -> None:
    value = getattr(zkrecipes, name)
    module = importlib.import_module(_home_of(name))
    assert name in module.__all__
    assert getattr(module, name) is value


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(zkrecipes, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        assert name in _documented_constants(_home_of(name)), f"{name} has no docstring below it"
        return
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own, f"{name} has no docstring"
    assert own.splitlines()[0].strip().endswith((".", ":")), f"{name}: the first line is not a sentence"


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    assert any(entry.endswith(f".{name}") for entry in REFERENCE) or _home_of(name) in REFERENCE


def test_the_reference_hides_no_method_that_an_editor_completes() -> None:
    """An internal method has an underscore, or belongs to a class that users do not get."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    assert [page.name for page in pages if "filters:" in page.read_text("utf-8")] == []


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_public_class_is_final_or_made_to_be_inherited(name: str) -> None:
    value = getattr(zkrecipes, name)
    if name in MADE_TO_BE_INHERITED:
        return
    if not inspect.isclass(value) or issubclass(value, (BaseException, enum.Enum)):
        return  # an exception may be refined by its users; an enum with members is final
    if getattr(value, "_is_protocol", False):
        return  # a protocol must be implemented
    assert getattr(value, "__final__", False), f"{name} is not @final"


def test_importing_the_package_loads_no_loop_and_no_server() -> None:
    program = "import json, sys, zkrecipes; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    loaded = LOADED_ON_DEMAND & set(json.loads(done.stdout))
    assert not loaded


def test_modules_are_named_for_what_they_own() -> None:
    bad = [m.file for m in read_package() if NAMES_THAT_SAY_NOTHING & set(m.name.split("."))]
    assert not bad


def test_every_module_has_a_docstring() -> None:
    bad = [module.file for module in read_package() if not ast.get_docstring(module.tree)]
    assert not bad


def test_the_repository_names_no_file_outside() -> None:
    elsewhere = "../" + "shared"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git clone, so the files of the project are unknown")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    bad = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and elsewhere in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not bad


def _home_of(name: str) -> str:
    return zkrecipes._MODULE_BY_NAME[name]  # noqa: SLF001 - the package's table


def _documented_constants(module_name: str) -> set[str]:
    """Return the constants of a module that have a string directly below them."""
    (module,) = (module for module in read_package() if module.name == module_name)
    pairs = zip(module.tree.body, module.tree.body[1:], strict=False)
    return {
        ast.unparse(node.target)
        for node, below in pairs
        if isinstance(node, ast.AnnAssign)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }
