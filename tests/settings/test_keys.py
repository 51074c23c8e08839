"""Every option of `connect` has a key or a stated reason, and the documentation has every key."""

from __future__ import annotations

import inspect
import re
from typing import get_type_hints

import zkrecipes as zk
from tests.house.source_tree import ROOT
from zkrecipes.settings.flink import FLINK_KEYS
from zkrecipes.settings.keys import KEYS, OPTIONS_WITHOUT_KEY
from zkrecipes.settings.vocabulary import environment_name

PAGE = (ROOT / "docs" / "how-to" / "settings.md").read_text("utf-8")
OPTIONS = set(inspect.signature(zk.connect).parameters)


def rows(title: str) -> list[str]:
    section = re.split(rf"^## {title}$", PAGE, flags=re.MULTILINE)[1].partition("\n## ")[0]
    return re.findall(r"^\| `.*\|$", section, re.MULTILINE)


def test_every_option_of_connect_has_a_key_or_a_reason() -> None:
    with_key = {key.option for key in KEYS} - {"enabled"}
    assert with_key | OPTIONS_WITHOUT_KEY.keys() == OPTIONS
    assert not with_key & OPTIONS_WITHOUT_KEY.keys()


def test_the_dictionary_of_options_has_the_types_of_connect() -> None:
    expected = inspect.signature(zk.connect).parameters
    hints = get_type_hints(zk.connect)
    assert get_type_hints(zk.ConnectOptions) == {name: hints[name] for name in expected if name != "hosts"}


def test_the_page_has_every_key() -> None:
    assert rows("Keys") == [
        f"| `{key.name}` | `{environment_name('zookeeper.' + key.name)}` | {key.form} "
        f"| {'`Settings.enabled`' if key.option == 'enabled' else f'`{key.option}`'} |"
        for key in KEYS
    ]


def test_the_page_has_every_option_without_a_key() -> None:
    for option, reason in OPTIONS_WITHOUT_KEY.items():
        assert f"`{option}` ({reason})" in " ".join(PAGE.split())


def test_the_page_has_every_key_of_flink() -> None:
    named = {name for row in rows("Flink's files") for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == FLINK_KEYS.keys()


def test_the_page_has_every_alias() -> None:
    for key in KEYS:
        for alias in key.aliases:
            assert f"`{alias}`" in PAGE
