"""A misspelled key is recognised if it is one slip away, and only then."""

from __future__ import annotations

import pytest

from zkrecipes.settings.spelling import one_slip_away

KNOWN = ["zookeeper.session-timeout", "zookeeper.auth", "zookeeper.tls.ca-file"]


@pytest.mark.parametrize(
    "key",
    [
        "zookeeper.sessiontimeout",
        "zookeeper.session_timeout",
        "zookeeper.sessionTimeout",
        "ZOOKEEPER.SESSION-TIMEOUT",
        "zookeeper.session.timeout",
        "zookeeper.session-timeot",
        "zookeeper.session-timeoutt",
        "zookeeper.session-timeeut",
        "zookeeper.sesison-timeout",
        "zookeper.session-timeout",
        "xzookeeper.session-timeout",
        "zookeeper.session-timeuot",
    ],
)
def test_a_key_that_is_one_slip_away_is_recognised(key: str) -> None:
    assert one_slip_away(key, KNOWN) == "zookeeper.session-timeout"


@pytest.mark.parametrize(
    "key",
    [
        "zookeeper.session-timeout",
        "zookeeper.session-time",
        "session-timeout",
        "zookeeper.connect",
        "",
        "server.port",
    ],
)
def test_other_keys_are_not(key: str) -> None:
    assert one_slip_away(key, KNOWN) is None
