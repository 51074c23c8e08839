"""The modules of the package as the house tests see them: name, file, syntax tree, imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "zkrecipes"


@dataclass(frozen=True)
class Import:
    """An imported module with the names that are imported from it (empty for `import x`)."""

    module: str
    names: tuple[str, ...]
    line: int
    in_function: bool


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, its file, and its text."""

    name: str
    file: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.file)

    @cached_property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree, in_function=False, package=self.package))

    @property
    def is_package(self) -> bool:
        return self.file.endswith("__init__.py")

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def part(self) -> str:
        """The first name below the package: `codec`, `errors` …; empty for the package's `__init__.py`."""
        return self.name.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]


def read_package() -> list[Module]:
    """Return every module of the package, in order of name."""
    modules = [_read(path) for path in (ROOT / PACKAGE).rglob("*.py")]
    return sorted(modules, key=lambda module: module.name)


def _read(path: Path) -> Module:
    file = path.relative_to(ROOT).as_posix()
    dotted = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return Module(dotted, file, path.read_text(encoding="utf-8"))


def _imports(node: ast.AST, *, in_function: bool, package: str) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(alias.name, (), node.lineno, in_function)
        case ast.ImportFrom(module=module, names=names, level=level):
            parents = package.split(".")
            base = parents[: len(parents) - level + 1] if level else []
            full = ".".join([*base, *([module] if module else [])])
            yield Import(full, tuple(alias.name for alias in names), node.lineno, in_function)
        case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module")):
            # A hidden import counts as an import. Its module is known only if it is a literal.
            target = node.args[0] if node.args else None
            named = target.value if isinstance(target, ast.Constant) else "?"
            yield Import(str(named), (), node.lineno, in_function)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            in_function = True
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, in_function=in_function, package=package)
