"""Four-letter words, as the tools that parse them expect."""

from __future__ import annotations

import re

from zkrecipes.devserver.four_letter import Status, answer

STATUS = Status(zxid=0x100000002, node_count=5, connections=1)


def test_short_answers_have_no_end_of_line() -> None:
    assert answer("ruok", STATUS) == "imok"
    assert answer("isro", STATUS) == "rw"


def test_srvr_has_what_tools_look_for() -> None:
    text = answer("srvr", STATUS)
    assert re.match(r"Zookeeper version: (\d+)\.(\d+)\.(\d+)-\S+, built on ", text)
    assert "\nMode: standalone\n" in text
    assert "\nZxid: 0x100000002\n" in text
    assert "\nNode count: 5\n" in text
    assert "\nConnections: 1\n" in text


def test_envi_names_the_version() -> None:
    assert "\nzookeeper.version=3.9." in answer("envi", STATUS)


def test_other_words_are_not_in_the_whitelist() -> None:
    assert answer("kill", STATUS) == "kill is not executed because it is not in the whitelist.\n"
