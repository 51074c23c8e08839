"""YAML: nested and flat keys, quoting, aliases and merges, and files that must not harm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import zkrecipes as zk

TEXT = """\
zookeeper:
  enabled: yes
  connection-string: [h1:2181, "h2:2181/app"]
  session-timeout: 8   # seconds
  tick-time: ~
  auth:
    - digest:a:b#c
    - "digest:d:e #f"
zookeeper.sasl.username: bob
zookeeper.sasl.password: 0123
"""


def read(folder: Path, text: str) -> zk.Settings:
    path = folder / "app.yml"
    path.write_text(text, "utf-8")
    return zk.read_settings(path)


def test_nested_and_flat_keys(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT)
    assert found.enabled
    assert found.connect_string == "h1:2181,h2:2181/app"
    assert found.connect_options() == {
        "session_timeout": 8.0,
        "auth": [("digest", "a:b#c"), ("digest", "d:e #f")],
        "sasl": zk.DigestMD5("bob", "0123"),
    }


def test_aliases_and_merges(tmp_path: Path) -> None:
    text = "base: &b {enabled: false, renew: false}\nmore: &m {renew: true, read-only: true}\n"
    found = read(tmp_path, text + "zookeeper: {<<: [*b, *m], enabled: true}\n")
    assert found.enabled
    assert found.connect_options() == {"renew": False, "read_only": True}


def test_an_empty_file(tmp_path: Path) -> None:
    assert read(tmp_path, "").connect_options() == {}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("zookeeper:\n  enabled: maybe\n", 2, "must be true or false, not 'maybe'"),
        (
            "zookeeper:\n  enabled: true\nzookeeper.enabled: true\n",
            3,
            "given once; it is also given in line 2",
        ),
        ("zookeeper:\n  enabled: true\n  enabled: true\n", 3, "must be given once"),
        ("zookeeper:\n  sasl.password: !hunter2\n", 2, "must be in quotes if it begins with '!'"),
        ("zookeeper.sasl.password: *hunter2\n", 1, "must be valid YAML: found undefined alias"),
        ("a:\n  - b: [\n", 3, "the file must be valid YAML"),
        ("a: \x01", None, "must consist of printable characters"),
        ("- a\n", 1, "must be a mapping of keys to values"),
        ("a: 1\n---\nb: 1\n", 2, "the file must be valid YAML"),
        ("a: &a [*a]\n", 1, "must not refer to a mapping or a list that contains it"),
        ("a: &a {<<: *a}\n", 1, "must not refer to a mapping or a list that contains it"),
        ("a: {<<: 1}\n", 1, "'<<' must merge mappings"),
        ("a: " + "[" * 5000, None, "must not be nested so deeply"),
    ],
)
def test_an_error_names_the_line(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    with pytest.raises(zk.SettingsError) as caught:
        read(tmp_path, text)
    assert reason in caught.value.reason
    assert caught.value.line == line
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("start", ["l0: &l0 [[], []]", "l0: &l0 [a, a]", "l0: &l0 {a: 1, b: 2}"])
def test_a_file_of_nested_aliases_is_refused(tmp_path: Path, start: str) -> None:
    lines = [start, *(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 20))]
    with pytest.raises(zk.SettingsError, match="must not have more than 50000 values"):
        read(tmp_path, "\n".join(lines))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ModuleNotFoundError, match=r"PyYAML: pip install zkrecipes\[yaml\]"):
        read(tmp_path, TEXT)
