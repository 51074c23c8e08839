"""Quotas: the statistics, and the log line when a limit is exceeded. Nothing is refused."""

from __future__ import annotations

import logging

import pytest

from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.requests.quotas import Quotas, SizeChange

OPEN = (ACL(31, Id("world", "anyone")),)


class Server:
    """A tree with its quotas."""

    def __init__(self) -> None:
        self.tree = DataTree()
        self._quotas = Quotas(self.tree)

    def create(self, path: str, data: bytes | None = b"") -> None:
        self.tree.add(path, data, OPEN, 1, 0)
        self._quotas.apply([SizeChange(path, len(data or b""), 1)])

    def delete(self, path: str) -> None:
        node = self.tree.remove(path, 2)
        self._quotas.apply([SizeChange(path, -len(node.data or b""), -1)])

    def set(self, path: str, data: bytes) -> None:
        node = self.tree.get(path)
        more = len(data) - len(node.data or b"")
        self.tree.set_data(node, data, node.version + 1, 3, 0)
        self._quotas.apply([SizeChange(path, more, 0)])

    def limit(self, path: str, limits: bytes, stats: bytes = b"count=0,bytes=0") -> None:
        above = "/zookeeper/quota"
        for name in path.split("/")[1:]:
            above += f"/{name}"
            if above not in self.tree:
                self.create(above)
        self.create(f"{above}/zookeeper_limits", limits)
        self.create(f"{above}/zookeeper_stats", stats)

    def stats(self, path: str) -> bytes | None:
        return self.tree.get(f"/zookeeper/quota{path}/zookeeper_stats").data


@pytest.fixture
def server() -> Server:
    server = Server()
    server.create("/a", b"12345")
    server.create("/a/b", b"123")
    server.create("/other", b"1")
    return server


def test_a_new_quota_counts_what_is_there_with_its_own_znode(server: Server) -> None:
    server.limit("/a", b"count=5,bytes=-1")
    assert server.stats("/a") == b"count=2,bytes=8"
    server.limit("/none", b"count=5,bytes=-1")
    assert server.stats("/none") == b"count=0,bytes=0"


def test_creates_deletes_and_new_data_are_counted(server: Server) -> None:
    server.limit("/a", b"count=5,bytes=-1")
    server.create("/a/c", None)
    server.create("/other/d", b"not below it")
    assert server.stats("/a") == b"count=3,bytes=8"
    server.set("/a/c", b"four")
    assert server.stats("/a") == b"count=3,bytes=12"
    server.set("/a", b"")
    server.delete("/a/b")
    assert server.stats("/a") == b"count=2,bytes=4"


def test_the_nearest_quota_counts_and_no_other(server: Server) -> None:
    server.limit("/a", b"count=5,bytes=-1")
    server.limit("/a/b", b"count=5,bytes=-1")
    server.create("/a/b/c", b"1")
    assert (server.stats("/a"), server.stats("/a/b")) == (b"count=2,bytes=8", b"count=2,bytes=4")


def test_counting_is_no_change_that_anybody_made(server: Server) -> None:
    server.limit("/a", b"count=5,bytes=-1")
    before = server.tree.get("/zookeeper/quota/a/zookeeper_stats").stat()
    server.create("/a/c")
    after = server.tree.get("/zookeeper/quota/a/zookeeper_stats").stat()
    assert (after.version, after.mzxid, after.mtime) == (before.version, before.mzxid, before.mtime)


def test_a_soft_limit_is_only_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.limit("/a", b"count=3,bytes=10")
    with caplog.at_level(logging.WARNING):
        server.create("/a/c", b"12")
        assert caplog.messages == []
        server.create("/a/d", b"1")
        assert caplog.messages == [
            "quota exceeded below /a: count is 4, the limit is 3 (not enforced)",
            "quota exceeded below /a: bytes is 11, the limit is 10 (not enforced)",
        ]
        caplog.clear()
        server.delete("/a/c")
        server.delete("/a/d")
    assert caplog.messages == []


def test_what_else_stands_in_the_statistics_is_kept(server: Server) -> None:
    server.limit("/a", b"count=3,bytes=10=;byteHardLimit=-1;countHardLimit=7")
    server.set("/zookeeper/quota/a/zookeeper_stats", b"count=2,bytes=8=;countHardLimit=7;byteHardLimit=-1")
    server.create("/a/c", b"1")
    assert server.stats("/a") == b"count=3,bytes=9=;byteHardLimit=-1;countHardLimit=7"


def test_invalid_statistics_count_from_zero(server: Server) -> None:
    server.limit("/a", b"nonsense")
    server.set("/zookeeper/quota/a/zookeeper_stats", b"\xff nonsense")
    server.create("/a/c", b"1")
    assert server.stats("/a") == b"count=0,bytes=0"


def test_without_statistics_nothing_is_counted(server: Server) -> None:
    server.limit("/a", b"count=3,bytes=10")
    server.delete("/zookeeper/quota/a/zookeeper_stats")
    server.create("/a/c", b"1")
    server.delete("/zookeeper/quota/a/zookeeper_limits")
    server.create("/a/d", b"1")
    assert "/a/d" in server.tree
