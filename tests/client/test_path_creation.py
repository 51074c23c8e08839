"""`ensure_path`, and `create` with its parents: several requests each."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.client.path_creation import ensure_path
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_what_is_missing_is_made_from_the_top() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/a/b/c")
        assert there.znodes() == {"/a", "/a/b", "/a/b/c"}


async def test_what_is_there_costs_one_request_and_is_left_alone() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/a", b"data")
        await client.ensure_path("/a")
        await client.ensure_path("/")
        assert (await client.get("/a")).data == b"data"
        assert there.count(OpCode.CREATE) == 3


async def test_many_may_make_the_same_path_at_once() -> None:
    async with world() as there, there.connect("a") as one, there.connect("b") as other:
        async with anyio.create_task_group() as tasks:
            for client in (one, other) * 5:
                tasks.start_soon(client.ensure_path, "/a/b/c/d")
        assert there.znodes() == {"/a", "/a/b", "/a/b/c", "/a/b/c/d"}


async def test_the_acl_is_that_of_the_call_or_of_the_client() -> None:
    async with world() as there, there.connect("a", default_acl=zk.READ_ACL) as client:
        async with there.connect("b") as other:
            await other.ensure_path("/a")
        await client.create("/mine")
        assert (await client.get_acl("/mine"))[0] == list(zk.READ_ACL)
        await client.ensure_path("/a/b")
        assert (await client.get_acl("/a/b"))[0] == list(zk.READ_ACL)
        await client.ensure_path("/a/c", acl=zk.OPEN_ACL)
        assert (await client.get_acl("/a/c"))[0] == list(zk.OPEN_ACL)
        with pytest.raises(ValueError, match="at least one entry"):
            await client.ensure_path("/a/d", acl=[])


async def test_a_path_that_is_there_is_ensured_also_where_nothing_may_be_created() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/a", acl=zk.OPEN_ACL)
        await client.create("/a/b")
        await client.set_acl("/a", zk.READ_ACL)
        await client.ensure_path("/a/b")
        with pytest.raises(zk.NoAuthError):
            await client.ensure_path("/a/c")
        with pytest.raises(zk.NoAuthError):
            await client.create("/a/c/d", make_parents=True)


@pytest.mark.parametrize("nth", range(3))
@pytest.mark.parametrize("is_applied", [True, False])
async def test_a_connection_that_breaks_meanwhile_costs_nothing_but_time(nth: int, is_applied: bool) -> None:
    async with world() as there, there.connect("a") as client:
        drop = there.server.faults.lose_reply if is_applied else there.server.faults.drop_request
        drop(OpCode.CREATE, skip=nth)
        await client.ensure_path("/a/b")
        assert there.znodes() == {"/a", "/a/b"}
        drop(OpCode.CREATE, skip=1)  # the first finds no parent
        assert await client.create("/c/d", make_parents=True) == "/c/d"


async def test_a_parent_that_goes_meanwhile_is_made_again() -> None:
    made: list[str] = []

    class Vanishing:
        """A server on which the first level vanishes once."""

        def __init__(self) -> None:
            self.there = {"/"}
            self.vanishes = 1

        async def create(self, path: str, data: bytes | None = b"", *, acl: object = None) -> str:
            if path.count("/") == 2 and self.vanishes and "/a" in self.there:
                self.vanishes -= 1
                self.there.discard("/a")
            if (path.rpartition("/")[0] or "/") not in self.there:
                raise zk.NoNodeError(path)
            if path in self.there:
                raise zk.NodeExistsError(path)
            self.there.add(path)
            made.append(path)
            return path

        async def exists(self, path: str) -> zk.Stat | None:
            raise AssertionError("not asked")

    await ensure_path(Vanishing(), "/a/b")
    assert made == ["/a", "/a", "/a/b"]


async def test_a_znode_is_made_with_its_parents_in_as_few_requests_as_can_be() -> None:
    async with world() as there, there.connect("a") as client:
        assert await client.create("/a/b/n", b"1", make_parents=True) == "/a/b/n"
        before = len(there.requests)
        assert await client.create("/a/b/m", b"1", make_parents=True) == "/a/b/m"
        assert len(there.requests) == before + 1
        assert (await client.get("/a")).data == b""
        with pytest.raises(zk.NodeExistsError):
            await client.create("/a/b/n", make_parents=True)


async def test_parents_have_the_acl_of_what_is_made_below() -> None:
    async with world() as there, there.connect("a", auth=[("digest", "user:pw")]) as client:
        await client.create("/a/n", acl=zk.CREATOR_ALL_ACL, make_parents=True)
        assert (await client.get_acl("/a"))[0][0].id == zk.digest_id("user", "pw")


async def test_parents_stay_when_an_ephemeral_goes() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            await client.create("/a/n", ephemeral=True, make_parents=True)
        assert there.znodes() == {"/a"}
