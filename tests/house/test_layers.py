"""The layer rule: the permitted imports of each part of the package. A violation has its file and line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.house.source_tree import PACKAGE, Import, Module, read_package

# Modules of the standard library that do I/O, read a clock, or generate random numbers. `logging` is allowed.
IMPURE = frozenset(
    "asyncio concurrent datetime fcntl fileinput getpass glob http importlib mmap multiprocessing os "
    "pathlib random sched secrets select selectors shelve shutil signal socket socketserver sqlite3 ssl "
    "subprocess tempfile threading time urllib uuid".split()
)
FLOOR_0 = frozenset({"errors", "enums", "paths", "properties", "acl"})


@dataclass(frozen=True)
class Rule:
    """The permitted imports of one part: our modules, other packages, and the forbidden modules of Python."""

    ours: frozenset[str]
    others: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    exceptions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The modules of this part that may import more, each with its additional imports."""
    client_names: bool = False
    """Whether the part may import the client's public names."""


def _rules() -> dict[str, Rule]:
    pure = IMPURE
    loops = frozenset({"asyncio"})  # trio is not among `others` there
    anyio = frozenset({"anyio"})
    up_to_protocol = FLOOR_0 | {"codec", "protocol"}
    up_to_client = up_to_protocol | {"net", "client"}
    either_loop = frozenset({"anyio", "trio"})
    rules = {name: Rule(FLOOR_0, never=pure) for name in FLOOR_0}
    # The ready ACLs are made of the codec's records. The codec does not import them.
    rules["acl"] = Rule(FLOOR_0 | {"codec"}, never=pure)
    rules |= {
        "codec": Rule(FLOOR_0 | {"codec"}, never=pure),
        "protocol": Rule(up_to_protocol, never=pure),
        "net": Rule(
            up_to_protocol | {"net"},
            anyio,
            loops,
            {
                "net.wakeup": frozenset({"trio", "outcome", "asyncio"}),
                "net.transport.trio_stream": frozenset({"trio"}),
                "net.transport.asyncio_stream": frozenset({"asyncio"}),
                "net.kerberos": frozenset({"gssapi"}),
            },
        ),
        "client": Rule(up_to_client, anyio, loops, {"client.otel": frozenset({"opentelemetry"})}),
        "settings": Rule(
            FLOOR_0 | {"settings", "client.recipe_api", "codec.secret"},
            never=loops,
            exceptions={
                "settings.options": frozenset(
                    {
                        "net.connect_string",
                        "net.session",
                        "net.transport.network",
                        "net.transport.tls",
                        "protocol.sasl",
                    }
                ),
                "settings.sasl": frozenset({"net.kerberos", "protocol.digest_md5", "protocol.sasl"}),
                "settings.values": frozenset({"net.connect_string"}),
                "settings.yaml_file": frozenset({"yaml"}),
            },
            client_names=True,
        ),
        "recipes": Rule(FLOOR_0 | {"recipes", "client.recipe_api"}, anyio, loops, client_names=True),
        "devserver": Rule(
            up_to_protocol | {"devserver"},
            either_loop,
            exceptions={
                "devserver.server": frozenset({"net.transport"}),
                "devserver.running_server": frozenset({"net.transport"}),
            },
        ),
        "ensemble": Rule(
            FLOOR_0 | {"ensemble"},
            either_loop,
            exceptions={"ensemble.process_table": frozenset({"psutil"})},
            client_names=True,
        ),
        "testing": Rule(
            up_to_client | {"recipes", "devserver", "ensemble", "testing"},
            either_loop | {"pytest"},
            exceptions={"testing.asyncio_fixtures": frozenset({"pytest_asyncio"})},
        ),
        "cli": Rule(
            up_to_client | {"recipes", "devserver", "ensemble", "testing", "cli"},
            either_loop | {"click", "rich"},
        ),
        "__main__": Rule(frozenset({"cli"})),
    }
    return rules


RULES = _rules()

# The modules that may import inside a function, and the reason.
IMPORTS_IN_FUNCTIONS = {
    "zkrecipes": "loads a name on first use",
    "zkrecipes.net.wakeup": "only the running loop may be imported",
    "zkrecipes.net.transport.network": "as above, for the streams of either loop",
    "zkrecipes.net.kerberos": "an extra",
    "zkrecipes.client.otel": "an extra",
    "zkrecipes.ensemble.process_table": "an extra",
    "zkrecipes.settings.yaml_file": "an extra",
    "zkrecipes.testing": "loads a name on first use, so that the plugin costs nothing",
    "zkrecipes.testing.pytest_plugin": "loaded in every run of pytest, so its fixtures import their modules",
    "zkrecipes.testing.asyncio_fixtures": "loaded in every run with pytest-asyncio, as above",
    "zkrecipes.cli": "reports the command that installs its missing extra",
}


def violations(modules: Iterable[Module], public_names: Mapping[str, frozenset[str]]) -> list[str]:
    """Return every import that breaks the rule, as `file:line: reason`, and a cycle if there is one."""
    modules = list(modules)
    known = {module.name for module in modules}
    found = [
        f"{module.file}:{entry.line}: {reason}"
        for module in modules
        for entry in module.imports
        if (reason := _objection(module, entry, known, public_names)) is not None
    ]
    return found + _cycles(modules, known)


def _objection(
    module: Module, entry: Import, known: set[str], public_names: Mapping[str, frozenset[str]]
) -> str | None:
    if entry.in_function and module.name not in IMPORTS_IN_FUNCTIONS:
        return f"{entry.module} is imported inside a function"
    if module.name == PACKAGE:
        return None if _root(entry) in {PACKAGE, "?", *sys.stdlib_module_names} else f"imports {entry.module}"
    rule = RULES.get(module.part)
    if rule is None:
        return f"{module.part} is a part that the layer rule does not know"
    extra = rule.exceptions.get(module.name.removeprefix(f"{PACKAGE}."), frozenset())
    if _root(entry) == PACKAGE:
        targets = _targets(entry, known)
        bad = [t for t in targets if not _may_import(t, entry, rule.ours | extra, rule, public_names)]
        return f"{module.part} may not import {bad[0]}" if bad else None
    if entry.module == "?" and module.name not in IMPORTS_IN_FUNCTIONS:
        return "imports a module that is not a literal"
    return _objection_to_others(module.part, entry, rule, extra)


def _objection_to_others(part: str, entry: Import, rule: Rule, extra: frozenset[str]) -> str | None:
    root = _root(entry)
    if root in extra or root in rule.others:
        return None
    if root in rule.never:
        return f"{part} may not import {root}: no I/O, clock, randomness or loop there"
    if root not in sys.stdlib_module_names:
        return f"{part} may not import {root}"
    return None


def _may_import(
    target: str,
    entry: Import,
    allowed: frozenset[str],
    rule: Rule,
    public_names: Mapping[str, frozenset[str]],
) -> bool:
    """Whether `target` may be imported: it or its package is allowed, or only public names are imported."""
    inside = target.removeprefix(PACKAGE).removeprefix(".")
    parts = inside.split(".")
    if any(".".join(parts[: end + 1]) in allowed for end in range(len(parts))):
        return True
    if rule.client_names and parts[0] == "client" and entry.names:
        return set(entry.names) <= public_names.get(target, frozenset())
    return False


def _targets(entry: Import, known: set[str]) -> list[str]:
    """Return the modules that an import names, such as `zkrecipes.paths` in `from zkrecipes import paths`."""
    submodules = [f"{entry.module}.{name}" for name in entry.names if f"{entry.module}.{name}" in known]
    return submodules if submodules and len(submodules) == len(entry.names) else [entry.module, *submodules]


def _cycles(modules: list[Module], known: set[str]) -> list[str]:
    graph = {
        module.name: {
            target
            for entry in module.imports
            if _root(entry) == PACKAGE
            for target in _targets(entry, known)
            if target in known and target != module.name
        }
        for module in modules
        if module.name != PACKAGE  # it imports every module, lazily
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["an import cycle: " + " -> ".join(reversed(error.args[1]))]
    return []


def _root(entry: Import) -> str:
    return entry.module.partition(".")[0]


def _client_names(modules: Iterable[Module]) -> dict[str, frozenset[str]]:
    """Return the names that `zkrecipes` exports from each module; `zkrecipes.client` also exports records."""
    top = next(module for module in modules if module.name == PACKAGE)
    names: dict[str, frozenset[str]] = {}
    for entry in top.imports:
        names[entry.module] = names.get(entry.module, frozenset()) | frozenset(entry.names)
    names["zkrecipes.client"] = frozenset().union(
        *(
            offered
            for module, offered in names.items()
            if module.startswith(("zkrecipes.client", "zkrecipes.codec"))
        )
    )
    return names


def test_every_import_goes_down() -> None:
    modules = read_package()
    found = violations(modules, _client_names(modules))
    assert not found, "\n".join(found)


def test_every_part_of_the_package_has_a_rule() -> None:
    assert {module.part for module in read_package()} - {""} <= RULES.keys()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("zkrecipes.codec.jute", "import time", "codec may not import time"),
        (
            "zkrecipes.codec.jute",
            "from zkrecipes.protocol.states import S",
            "codec may not import zkrecipes.protocol",
        ),
        ("zkrecipes.codec.jute", "import zkrecipes", "codec may not import zkrecipes"),
        ("zkrecipes.codec.jute", "import anyio", "codec may not import anyio"),
        ("zkrecipes.paths", "from .protocol import states", "paths may not import zkrecipes.protocol"),
        ("zkrecipes.protocol.sasl", "from secrets import token_bytes", "protocol may not import secrets"),
        ("zkrecipes.protocol.sasl", "def f():\n    import hashlib", "hashlib is imported inside a function"),
        ("zkrecipes.net.session", "import trio.lowlevel", "net may not import trio"),
        ("zkrecipes.net.session", "import asyncio", "net may not import asyncio"),
        (
            "zkrecipes.net.session",
            "try:\n    import gssapi\nexcept ImportError: pass",
            "net may not import gssapi",
        ),
        ("zkrecipes.client.client", "from zkrecipes.recipes.mutex import Mutex", "client may not import"),
        (
            "zkrecipes.recipes.mutex",
            "from zkrecipes.net.session import S",
            "recipes may not import zkrecipes.net",
        ),
        (
            "zkrecipes.recipes.mutex",
            "from zkrecipes.client.path_creation import _walk",
            "recipes may not import zkrecipes.c",
        ),
        (
            "zkrecipes.recipes.mutex",
            "import zkrecipes.client.path_creation",
            "recipes may not import zkrecipes.client.path_creation",
        ),
        ("zkrecipes.devserver.processor", "from zkrecipes.net import transport", "devserver may not import"),
        (
            "zkrecipes.devserver.processor",
            "import importlib\nimportlib.import_module(x)",
            "is not a literal",
        ),
        (
            "zkrecipes.ensemble.server",
            "import zkrecipes.devserver",
            "ensemble may not import zkrecipes.devserver",
        ),
        ("zkrecipes.testing.network", "import zkrecipes.cli", "testing may not import zkrecipes.cli"),
        ("zkrecipes.plumbing", "", "a part"),
    ],
)
def test_a_forbidden_import_is_named(name: str, text: str, reason: str) -> None:
    module = Module(name, name.replace(".", "/") + ".py", text or "import zkrecipes.errors")
    others = [Module(f"zkrecipes.{part}", "", "") for part in ("net.transport", "protocol.states", "errors")]
    found = violations([module, *others], {"zkrecipes.client.path_creation": frozenset({"walk"})})
    assert len(found) == 1
    assert found[0].startswith(f"{module.file}:")
    assert reason in found[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zkrecipes.net.wakeup", "def f():\n    import trio, asyncio"),
        ("zkrecipes.net.kerberos", "def f():\n    import gssapi"),
        ("zkrecipes.devserver.server", "from zkrecipes.net import transport"),
        ("zkrecipes.devserver.server", "from zkrecipes.net.transport.network import listen"),
        ("zkrecipes.recipes.mutex", "from zkrecipes.client.recipe_api import submit"),
        ("zkrecipes.recipes.mutex", "from zkrecipes.client.path_creation import walk"),
        ("zkrecipes.recipes.mutex", "from zkrecipes import errors, paths\nimport anyio, time"),
        ("zkrecipes.cli.serve", "import click\nfrom zkrecipes.devserver.server import DevServer"),
    ],
)
def test_an_allowed_import_is_not_reported(name: str, text: str) -> None:
    others = [Module(f"zkrecipes.{part}", "", "") for part in ("net.transport", "paths", "errors")]
    module = Module(name, name.replace(".", "/") + ".py", text)
    assert not violations([module, *others], {"zkrecipes.client.path_creation": frozenset({"walk"})})


def test_a_cycle_is_named() -> None:
    first = Module("zkrecipes.codec.jute", "a.py", "from zkrecipes.codec.records import Stat")
    second = Module("zkrecipes.codec.records", "b.py", "from zkrecipes.codec import jute")
    (found,) = violations([first, second], {})
    assert found.startswith("an import cycle: zkrecipes.codec.")
