"""The client addresses of the members in a dynamic configuration."""

from __future__ import annotations

import pytest

from zkrecipes.net.connect_string import Host
from zkrecipes.net.dynamic_config import parse_dynamic_config


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("server.1=zk1:2888:3888:participant;2181", Host("zk1", 2181)),
        ("server.1=zk1:2888:3888:participant;0.0.0.0:2181", Host("zk1", 2181)),
        ("server.1=zk1:2888:3888:participant;[::]:2181", Host("zk1", 2181)),
        ("server.2=zk2:2888:3888:observer;10.0.0.7:2182", Host("10.0.0.7", 2182)),
        ("server.3=zk3:2888:3888;zk3.example:2183", Host("zk3.example", 2183)),
        ("server.4=[fd00::1]:2888:3888:participant;2181", Host("fd00::1", 2181)),
        ("server.5=zk5:2888:3888:participant;[fd00::2]:2181", Host("fd00::2", 2181)),
        ("server.6=zk6:2888:3888|zk6b:2888:3888:participant;2181", Host("zk6", 2181)),
    ],
)
def test_a_member_is_found_where_it_listens_for_clients(line: str, host: Host) -> None:
    assert parse_dynamic_config(line.encode()) == (host,)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "version=100000000",
        "server.1=zk1:2888:3888:participant",  # its own static file names the port
        "server.1=zk1:2888:3888:participant;",
        "server.1=zk1:2888:3888:participant;port",
        "server.1=zk1:2888:3888:participant;99999",
        "group.1=1:2:3",
        "\x00\xff",
    ],
)
def test_members_without_a_client_port_are_left_out(line: str) -> None:
    assert parse_dynamic_config(line.encode("latin-1")) == ()


def test_all_members_are_found_in_order_and_each_once() -> None:
    config = (
        "server.1=a:1:2:participant;5\nserver.2=b:1:2:observer;5\nserver.3=a:3:4:participant;5\nversion=1f"
    )
    assert parse_dynamic_config(config.encode()) == (Host("a", 5), Host("b", 5))


def test_no_configuration_has_no_members() -> None:
    assert parse_dynamic_config(None) == ()
