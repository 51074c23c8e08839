"""Users can import every class in a public signature from `zkrecipes`, to annotate their code."""

from __future__ import annotations

import collections.abc
import contextlib
import enum
import importlib
import inspect
import os
import ssl
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import zkrecipes

PUBLIC_NAMES = sorted(zkrecipes.__all__)
PUBLIC = {id(getattr(zkrecipes, name)) for name in PUBLIC_NAMES}
SPECIAL = {"__init__", "__aenter__", "__anext__", "__enter__"}
NOT_PROMISED = {"DevServer.processor"}
"""For tests that look behind the protocol: its docstring says that its classes are not public."""
EXTERNAL = {"trace", "metrics"}
"""Modules that only an extra installs; their annotations are not resolved."""


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_every_class_in_a_public_signature_is_public(name: str) -> None:
    missing = {
        f"{where}: {cls.__module__}.{cls.__qualname__}"
        for where, annotation in _annotations(name)
        for cls in _classes_in(annotation)
        if cls.__module__.partition(".")[0] == "zkrecipes" and id(cls) not in PUBLIC
    }
    assert not missing


def _annotations(name: str) -> Iterator[tuple[str, object]]:
    value = getattr(zkrecipes, name)
    if inspect.isclass(value):
        yield from _annotations_of_class(name, value)
    elif inspect.isfunction(value):
        yield from _hints(name, value)


def _annotations_of_class(name: str, cls: type) -> Iterator[tuple[str, object]]:
    for attribute, member in vars(cls).items():
        where = f"{name}.{attribute}"
        if (attribute.startswith("_") and attribute not in SPECIAL) or where in NOT_PROMISED:
            continue
        if attribute == "__init__" and not _is_built_by_users(cls):
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function):
            yield from _hints(where, function)


def _is_built_by_users(cls: type) -> bool:
    """Whether the docstring of a class describes arguments: the others come from calls of the package."""
    initializer = vars(cls).get("__init__")
    docs = (inspect.getdoc(each) or "" for each in (cls, initializer) if each is not None)
    return any("Args:" in doc for doc in docs)


def _hints(where: str, function: Callable[..., object]) -> Iterator[tuple[str, object]]:
    function = inspect.unwrap(function)
    if not (function.__module__ or "").startswith("zkrecipes."):  # generated for a NamedTuple
        return
    module = vars(importlib.import_module(function.__module__))
    known = {**_names_for_checkers(), **dict.fromkeys(EXTERNAL, object)}
    for parameter, text in function.__annotations__.items():
        try:
            yield f"{where}({parameter})", eval(text, {**known, **module})
        except AttributeError:
            assert text.split(".")[0] in EXTERNAL, text


def _names_for_checkers() -> dict[str, object]:
    """Return the names that modules import for type checkers only, by their public names."""
    names: dict[str, object] = {name: getattr(zkrecipes, name) for name in PUBLIC_NAMES}
    for module in (collections.abc, contextlib, types, typing, enum):
        names.update({name: getattr(module, name) for name in dir(module) if name[0].isupper()})
    return {**names, "ssl": ssl, "os": os}


def _classes_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        yield annotation
    origin = typing.get_origin(annotation)
    if isinstance(origin, type):
        yield origin
    arguments = annotation if isinstance(annotation, list) else typing.get_args(annotation)
    for each in arguments:
        yield from _classes_in(each)
