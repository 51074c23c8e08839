"""The text of a zoo.cfg."""

from __future__ import annotations

from pathlib import Path

import pytest

from zkrecipes.ensemble.zoo_cfg_writer import Peer, Setting, render


def render_lines(
    settings: dict[str, Setting] | None = None, peers: dict[int, Peer] | None = None, data: str = "/srv/data"
) -> list[str]:
    text = render(settings or {}, host="127.0.0.1", port=2181, data=Path(data), peers=peers or {})
    assert text.endswith("\n")
    return text.splitlines()


def test_a_standalone_server_needs_only_a_port_and_a_folder() -> None:
    lines = render_lines()
    assert "clientPort=2181" in lines
    assert "clientPortAddress=127.0.0.1" in lines
    assert "dataDir=/srv/data" in lines
    assert "tickTime=2000" in lines
    assert "admin.enableServer=false" in lines
    assert not any(line.startswith("server.") for line in lines)


def test_a_setting_overrides_the_default() -> None:
    lines = render_lines({"tickTime": 500})
    assert [line for line in lines if line.startswith("tickTime")] == ["tickTime=500"]


def test_a_boolean_is_written_as_java_reads_it() -> None:
    lines = render_lines({"extendedTypesEnabled": True, "quorumListenOnAllIPs": False})
    assert "extendedTypesEnabled=true" in lines
    assert "quorumListenOnAllIPs=false" in lines


def test_each_member_has_two_ports_for_the_others() -> None:
    lines = render_lines(peers={1: Peer("127.0.0.1", 2888, 3888), 2: Peer("::1", 2889, 3889)})
    assert lines[-2:] == ["server.1=127.0.0.1:2888:3888", "server.2=::1:2889:3889"]


def test_a_backslash_is_doubled() -> None:
    assert r"dataDir=C:\\zk data" in render_lines(data=r"C:\zk data")


@pytest.mark.parametrize("key", ["clientPort", "clientPortAddress", "dataDir", "server.1"])
def test_a_setting_that_the_server_sets_itself_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"settings must not contain .{key}"):
        render_lines({key: 1})


@pytest.mark.parametrize("key", ["", "a b", "a=b", "a:b", "#a", "!a", "a\n", "a\\b"])
def test_a_key_that_would_break_its_line_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"a key of zoo\.cfg must be printable"):
        render_lines({key: 1})


@pytest.mark.parametrize("value", ["1\nadmin.enableServer=true", "\r", "a\0"])
def test_a_value_that_would_break_its_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="the value of tickTime must be printable"):
        render_lines({"tickTime": value})
