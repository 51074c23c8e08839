"""Cuts one member of an ensemble off from the others by dropping packets, while clients still reach it.

That needs root and iptables, and members that the kernel can distinguish although all are at 127.0.0.1, so
each runs as a different group (`distinguishable`). The rules affect only packets between members; they are in
a separate chain, which is removed at the end.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from zkrecipes.ensemble import ApacheServer, Installation

_CHAIN = f"zkrecipes-{os.getpid()}"
_ESTABLISHED = "01"
# Member 1 runs as the group after this one. Groups need no entry anywhere, and no user has these.
_GROUP_BASE = 54_320


def need_iptables() -> None:
    """Skip the test if packets cannot be dropped; fail it if this run must not skip tests."""
    if shutil.which("iptables") is None:
        _give_up("there is no iptables: on Debian type `apt-get install iptables`")
    if os.geteuid() != 0:
        _give_up("dropping packets between servers needs root")
    if _iptables("-L", "OUTPUT", check=False) != 0:
        _give_up("dropping packets between servers is not permitted here")


def distinguishable(installation: Installation, directory: Path) -> Installation:
    """Return an installation whose `java` program lets `cut_off` recognise each member of an ensemble."""
    java = directory / "java"
    # A server's current directory is its own folder.
    java.write_text(
        "#!/bin/sh\n"
        f"group=$(({_GROUP_BASE} + $(cat data/myid)))\n"
        f'exec setpriv --regid "$group" --clear-groups {shlex.quote(str(installation.java))} "$@"\n',
        "utf-8",
    )
    java.chmod(0o755)
    return replace(installation, java=java)


@contextmanager
def cut_off(member: ApacheServer) -> Iterator[None]:
    """Drop all packets between `member` and its peers while the block runs, without closing connections.

    The member may be the leader, and may restart during the block, because new connections also fail.
    """
    own_ports, ports = _peer_ports(member)
    group = str(_GROUP_BASE + member.server_id)
    _iptables("-N", _CHAIN)
    try:
        _iptables("-I", "OUTPUT", "-j", _CHAIN)
        # These rules match new connections: from its peers (in both directions), and to its peers.
        _drop("-m", "multiport", "--ports", own_ports)
        _drop("-m", "owner", "--gid-owner", group, "-m", "multiport", "--dports", ports)
        # These rules match the connections that it has opened already: the packets of its peers, and those
        # that the kernel sends without an owner after it has closed one.
        for ours, theirs in _connections(member, ports):
            _drop("--sport", ours, "--dport", theirs)
            _drop("--sport", theirs, "--dport", ours)
        yield
    finally:
        _iptables("-D", "OUTPUT", "-j", _CHAIN, check=False)
        _iptables("-F", _CHAIN)
        _iptables("-X", _CHAIN)


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("ZKRECIPES_REQUIRE_ZOOKEEPER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _drop(*match: str) -> None:
    # The chain is in OUTPUT, because only there a packet has an owner.
    _iptables("-A", _CHAIN, "-o", "lo", "-p", "tcp", *match, "-j", "DROP")


def _iptables(*arguments: str, check: bool = True) -> int:
    command = ["iptables", "-w", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.returncode


def _peer_ports(member: ApacheServer) -> tuple[str, str]:
    """Return the peer ports of `member`, and those of all members, with commas."""
    text = (member.directory / "zoo.cfg").read_text("utf-8")
    found = re.findall(r"^server\.(\d+)=[^:\s]+:(\d+):(\d+)", text, re.MULTILINE)
    ports = {int(number): f"{quorum},{election}" for number, quorum, election in found}
    return ports[member.server_id], ",".join(ports.values())


def _connections(member: ApacheServer, ports: str) -> list[tuple[str, str]]:
    """Return the local and remote ports of the connections that `member` has opened to its peers."""
    own, peer_ports = _sockets_of(member), ports.split(",")
    found = []
    for table in ("tcp", "tcp6"):  # Java's sockets belong to both families
        for line in Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            ours, theirs = (str(int(address.rpartition(":")[2], 16)) for address in fields[1:3])
            if fields[3] == _ESTABLISHED and fields[9] in own and theirs in peer_ports:
                found.append((ours, theirs))
    return found


def _sockets_of(member: ApacheServer) -> set[str]:
    """Return the inodes of a server's sockets; none while it does not run."""
    if member.pid is None:
        return set()
    links = []
    for descriptor in Path(f"/proc/{member.pid}/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # it was closed after it was listed
    return {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}
