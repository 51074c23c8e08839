"""TOML: nested tables, lists, and the lines that errors name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zkrecipes as zk

TEXT = """\
title = "app"
[[other]]
enabled = "x"

[zookeeper]
enabled = true
connection-string = ["h1:2181", "h2:2181/app"]
session-timeout = 2.5
auth = ["digest:a:b#c", "digest:d:e"]
tls.ca-file = 'C:\\zk\\ca.pem'

[zookeeper.sasl]
username = "bob"
password = "#hunter2"
"""


def read(folder: Path, text: str, **options: str) -> zk.Settings:
    path = folder / "app.toml"
    path.write_text(text, "utf-8")
    return zk.read_settings(path, **options)  # type: ignore[arg-type]  # only the prefix


def test_tables_and_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read(tmp_path, TEXT)
    assert found.enabled
    assert found.connect_string == "h1:2181,h2:2181/app"
    assert found.connect_options() == {
        "session_timeout": 2.5,
        "auth": [("digest", "a:b#c"), ("digest", "d:e")],
        "tls": zk.TLS(ca_file=r"C:\zk\ca.pem"),
        "sasl": zk.DigestMD5("bob", "#hunter2"),
    }
    assert not caplog.records


def test_a_deeper_table(tmp_path: Path) -> None:
    text = '[tool.app.zookeeper]\nconnection-string = "h1"\n'
    assert read(tmp_path, text, prefix="tool.app.zookeeper").connect_string == "h1:2181"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('[zookeeper]\na = 1\nenabled = "x"', 3, "must be true or false"),
        ('\nzookeeper.enabled = "x"', 2, "must be true or false"),
        ('\n"zookeeper" . "enabled" = "x"', 2, "must be true or false"),
        ('\nzookeeper = {enabled = "x"}', 2, "must be true or false"),
        ('[[a]]\nenabled = 1\n[zookeeper]\nenabled = "x"', 4, "must be true or false"),
        ("[zookeeper]\nsession_timeout = 4", 2, "is not a key; the nearest one is zookeeper.session-timeout"),
        ("[zookeeper]\nsession-timeout = [4]", 2, "must be a single value, not a list or a table"),
        ("[zookeeper]\nsession-timeout = 60000", 2, "must be in seconds"),
        (
            "[zookeeper]\nenabled = true\nenabled = true",
            3,
            "the file is not valid TOML: Cannot overwrite a value",
        ),
        ('a = """\n]=\n"""\n[zookeeper]\nenabled = "x"', 5, "must be true or false"),
        ('[zookeeper]\nhosts = ["h1/a", "h2"]', 2, "the chroot must be given once"),
        ("a = hunter2", 1, "the file is not valid TOML"),
        (f"a = {'[' * 5000}", None, ""),
        (f"[zookeeper]\nmax-packet-size = 0x{'f' * 9000}", 2, "must not be such a large number"),
    ],
)
def test_an_error_names_the_line(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    with pytest.raises(zk.SettingsError) as caught:
        read(tmp_path, text)
    assert reason in caught.value.reason
    assert line is None or caught.value.line == line
    assert "hunter2" not in str(caught.value)


def test_text_with_any_character(tmp_path: Path) -> None:
    password = "#hunter2 \\u0041 = [x] \t é"
    text = f'[zookeeper.sasl]\nusername = "bob"\npassword = {json.dumps(password)}\n'
    assert read(tmp_path, text).connect_options()["sasl"] == zk.DigestMD5("bob", password)


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ('sasl.password = {"hunter2" = 1}', "zookeeper.sasl.password"),
        ('sasl.password = {deep = {"hunter2" = 1}}', "zookeeper.sasl.password"),
        ('auth = {digest = "user:hunter2"}', "zookeeper.auth"),
    ],
)
def test_a_table_instead_of_a_value_is_an_error_that_shows_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str, key: str
) -> None:
    with pytest.raises(zk.SettingsError, match="must be a") as error:
        read(tmp_path, f'[zookeeper]\nconnection-string = "h1"\n{setting}\n')
    assert error.value.key == key
    assert "hunter2" not in str(error.value) + caplog.text
