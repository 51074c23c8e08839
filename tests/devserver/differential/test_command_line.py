"""ZooKeeper's command line client, a Java program, prints the same for both servers."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.devserver.differential.conftest import Pair
from tests.devserver.differential.play import next_root
from zkrecipes.ensemble import find_installation

pytestmark = pytest.mark.apache

# The parts that differ between servers and between runs.
_VARYING = re.compile(
    r"(?P<what>[cmp]Zxid = |[cm]time = |ephemeralOwner = |127\.0\.0\.1:|zxid: |^(?=20\d\d-))"
    r"(?!0x0$)(0x[0-9a-f]+|[A-Z].* 20\d\d|20\d\d-\S+|\d+)",
    re.MULTILINE,
)
_LIMIT = 25

COMMANDS = """\
create ROOT hello
create -s ROOT/sequential- x
create -s -e ROOT/ephemeral- x
create -c ROOT/container
create -t 100000 ROOT/ttl x
create ROOT twice
create ROOT/none/child
create ROOT/ephemeral-0000000001/child
ls ROOT/container
stat ROOT
get -s ROOT/ttl
set -s ROOT new
set -v 7 ROOT newer
get -w ROOT
set ROOT newest
ls -w ROOT/container
create ROOT/container/child
ls -R ROOT/container
getAllChildrenNumber ROOT
getEphemerals ROOT
delete ROOT
delete -v 3 ROOT/ttl
delete ROOT/ttl
getAcl -s ROOT
addauth digest alice:secret
setAcl -s ROOT/container auth::cdrwa
getAcl ROOT/container
create ROOT/locked
setAcl ROOT/locked world:anyone:r
setAcl ROOT/container nosuch:anyone:r
set ROOT/locked x
addWatch -m PERSISTENT ROOT
set ROOT watched
removewatches ROOT
removewatches ROOT
addWatch ROOT/container
create ROOT/container/deep
sync ROOT
whoami
config
reconfig -add server.2=127.0.0.1:2:3;4
setquota -n 9 ROOT
listquota ROOT
create ROOT/counted 12345
set ROOT/counted 1
delete ROOT/counted
listquota ROOT
setquota -N 20 ROOT
create ROOT/more 123
listquota ROOT
delquota ROOT
deleteall ROOT
ls ROOT
quit
"""


def test_the_command_line_client_prints_the_same(pair: Pair) -> None:
    root = next_root()
    real = _run(pair.apache, root)
    assert "Node already exists: " + root in real
    assert _run(pair.dev, root) == real


def _run(address: tuple[str, int], root: str) -> list[str]:
    """The lines that the client prints; those about events may be in any place."""
    installation = find_installation()
    class_path = ":".join(map(str, installation.class_path))
    done = subprocess.run(
        [
            *(installation.java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
            *("-cp", class_path, "org.apache.zookeeper.ZooKeeperMain", "-server", "{}:{}".format(*address)),
        ],
        input=COMMANDS.replace("ROOT", root),
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT,
    )
    text = _VARYING.sub(r"\g<what>…", done.stdout + done.stderr)
    return sorted(line for line in text.splitlines() if line)
