"""Cuts one member of an ensemble off from the others, while clients still reach it: packets are dropped.

That needs root and iptables. Only connections between the members, on the loopback device, are touched, by
rules in a chain of their own which is removed in the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zkrecipes.ensemble import ApacheServer

_CHAIN = f"zkrecipes-{os.getpid()}"
_ESTABLISHED = "01"


def need_iptables() -> None:
    """Skip the test where packets cannot be dropped."""
    if shutil.which("iptables") is None or os.geteuid() != 0:
        pytest.skip("dropping packets between servers needs root and iptables")
    if _iptables("-L", "INPUT", check=False) != 0:
        pytest.skip("dropping packets between servers is not permitted here")


@contextmanager
def cut_off(member: ApacheServer) -> Iterator[None]:
    """No packet passes between `member` and its peers while the block runs; none of them is told."""
    need_iptables()
    _iptables("-N", _CHAIN)
    try:
        for ours, theirs in _peer_connections(member):
            for source, destination in ((ours, theirs), (theirs, ours)):
                ports = ("--sport", str(source), "--dport", str(destination))
                _iptables("-A", _CHAIN, "-i", "lo", "-p", "tcp", *ports, "-j", "DROP")
        _iptables("-I", "INPUT", "-j", _CHAIN)
        yield
    finally:
        _iptables("-D", "INPUT", "-j", _CHAIN, check=False)
        _iptables("-F", _CHAIN)
        _iptables("-X", _CHAIN)


def _iptables(*arguments: str, check: bool = True) -> int:
    command = ["iptables", "-w", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.returncode


def _peer_connections(member: ApacheServer) -> list[tuple[int, int]]:
    """The ports, ours and theirs, of the connections that `member` has with its peers."""
    own = _sockets_of(member)
    ports = _peer_ports(member)
    found = []
    for table in ("tcp", "tcp6"):  # Java's sockets are of both families
        for line in Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            ours, theirs = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            if fields[3] == _ESTABLISHED and fields[9] in own and ports & {ours, theirs}:
                found.append((ours, theirs))
    assert found, "a member that serves has connections with its peers"
    return found


def _sockets_of(member: ApacheServer) -> set[str]:
    """The inodes of a server's sockets."""
    links = []
    for descriptor in Path(f"/proc/{member.pid}/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}


def _peer_ports(member: ApacheServer) -> set[int]:
    """The ports on which the members meet."""
    text = (member.directory / "zoo.cfg").read_text("utf-8")
    peers = re.findall(r"^server\.\d+=[^:\s]+:(\d+):(\d+)", text, re.MULTILINE)
    return {int(port) for ports in peers for port in ports}
