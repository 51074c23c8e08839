"""Free ports."""

from __future__ import annotations

import socket

import pytest

from zkrecipes.ensemble import ports
from zkrecipes.ensemble.ports import free_ports


def test_no_port_is_given_twice() -> None:
    given = free_ports(3) + free_ports(3)
    assert len(set(given)) == 6


def test_ports_are_not_those_of_outgoing_connections() -> None:
    assert all(1024 < port < 32_768 for port in free_ports(20))


def test_a_port_in_use_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr(ports, "_RANGE", range(port, port + 1))
    monkeypatch.setattr(ports, "_given", set())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(OSError, match="1 free ports needed, 0 found"):
            free_ports(1)
    assert free_ports(1) == [port]
