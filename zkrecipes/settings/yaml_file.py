"""Entries of a YAML file, through PyYAML (`pip install zkrecipes[yaml]`).

Only the syntax tree is used: it has the lines, no Python object is made, and a value stays as it was written
(the password 0123 is not the number 83).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, final

from zkrecipes.settings.entries import Entry
from zkrecipes.settings.errors import SettingsError

__all__ = ["read_yaml"]

_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_VALUES_MAX: Final = 50_000
"""More values than any configuration has. In a file with nested aliases there can be billions."""
_NAME_AT_END: Final = re.compile(r"(alias|anchor|handle) ['\"].*", re.DOTALL)


def read_yaml(text: str, source: str) -> Iterator[Entry]:
    """Yield the entries of a YAML file. Keys of nested mappings are joined with dots, and lists are numbered.

    A null counts as no entry.

    Raises:
        SettingsError: the file is not YAML, or is not one mapping.
        ModuleNotFoundError: the package PyYAML is missing.
    """
    root = _compose(text, source)
    if root is None:
        return
    tree = _Tree(source)
    if root.id != "mapping":
        raise tree.error("the file must be a mapping of keys to values", root)
    yield from tree.entries(root, "", ())


def _compose(text: str, source: str) -> Any:
    yaml = _yaml()
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        reason, mark = "it must not be nested so deeply", None
    except yaml.MarkedYAMLError as error:
        # The error itself quotes the line. Its problem may quote a name that was meant as a value: `*secret`.
        reason, mark = _NAME_AT_END.sub(r"\1", error.problem or "syntax error"), error.problem_mark
    except yaml.YAMLError:
        reason, mark = "it must consist of printable characters", None
    line = None if mark is None else mark.line + 1
    raise SettingsError(f"the file must be valid YAML: {reason}", source=source, line=line)


@final
class _Tree:
    """Walks the syntax tree of one file."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._visited = 0

    def error(self, reason: str, node: Any) -> SettingsError:
        """Return an error about a node."""
        return SettingsError(reason, source=self._source, line=node.start_mark.line + 1)

    def entries(self, node: Any, key: str, above: tuple[Any, ...]) -> Iterator[Entry]:
        """Yield the entries of a node, whose key is `key` and which is within the nodes `above`."""
        self._check(node, above)
        within = (*above, node)
        if node.id == "mapping":
            for name, value in self._pairs(node, above):
                yield from self.entries(value, f"{key}.{name}" if key else name, within)
        elif node.id == "sequence":
            for number, value in enumerate(node.value, start=1):
                yield from self.entries(value, f"{key}.{number}", within)
        elif node.tag != _NULL:
            line = node.start_mark.line + 1
            has_own_tag = not node.tag.startswith(_STANDARD_TAG)
            mistake = "must be in quotes if it begins with '!'" if has_own_tag else None
            yield Entry(key, node.value, self._source, line, mistake=mistake)

    def _pairs(self, node: Any, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
        """Yield the keys and values of a mapping, then those that it merges (`<<`) and does not replace."""
        names: set[str] = set()
        for name, value in node.value:
            if name.id == "scalar" and name.tag != _MERGE:
                names.add(name.value)
                yield name.value, value
        within = (*above, node)
        for name, value in node.value:
            if name.tag != _MERGE:
                continue
            for merged in value.value if value.id == "sequence" else (value,):
                self._check(merged, within)
                if merged.id != "mapping":
                    raise self.error("'<<' must merge mappings", merged)
                found = [pair for pair in self._pairs(merged, within) if pair[0] not in names]
                names |= {each for each, _ in found}
                yield from found

    def _check(self, node: Any, above: tuple[Any, ...]) -> None:
        if any(node is each for each in above):
            raise self.error("an alias must not refer to a mapping or a list that contains it", node)
        self._visited += 1
        if self._visited > _VALUES_MAX:
            raise SettingsError(f"the file must not have more than {_VALUES_MAX} values", source=self._source)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        message = "a YAML file needs the package PyYAML: pip install zkrecipes[yaml]"
        raise ModuleNotFoundError(message, name="yaml") from error
    return yaml
