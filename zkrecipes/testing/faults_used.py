"""Finds out whether a test asks its `zk_server` for a fault, before the test runs.

A skip from inside a test comes too late in a task group, which wraps it like any other exception.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection

__all__ = ["attribute_used"]


def attribute_used(test: Callable[..., object], fixture: str, names: Collection[str]) -> str | None:
    """Return the first of `names` that the source of a test reads from the fixture's value, or None.

    Args:
        test: the test's function.
        fixture: the name of the parameter.
        names: the attributes to look for.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(test)))
    except (OSError, TypeError, SyntaxError):  # made at run time, without a source
        return None
    used = (
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == fixture
    )
    return next((name for name in used if name in names), None)
