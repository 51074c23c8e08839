"""The client itself: identities, secrets, and calls that are more than one request."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
import re
import traceback
from base64 import b64encode

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_5, OldServer, accept_all, scripted
from tests.recipes.fault_sweep import TIMEOUT, AliasNetwork, virtual_time, world
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.enums import OpCode, SessionState
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


# --- identities ------------------------------------------------------------------------------------------


async def test_an_identity_that_is_added_counts_at_once_and_on_every_later_connection() -> None:
    async with world() as there, there.connect("a") as client:
        await client.add_auth("digest", "user:pw")
        await client.create("/mine", acl=zk.CREATOR_ALL_ACL)
        there.server.drop_connections()
        assert await client.get("/mine")
        there.server.expire(client.session.id)
        assert await client.get("/mine")
        assert there.count(OpCode.AUTH) == 3
        async with there.connect("b") as other:
            with pytest.raises(zk.NoAuthError):
                await other.get("/mine")
            await other.add_auth("digest", b"user:pw")
            assert await other.get("/mine")


async def test_an_identity_that_is_added_twice_is_remembered_once() -> None:
    async with world() as there, there.connect("a") as client:
        for _ in range(3):
            await client.add_auth("digest", "user:pw")
        before = there.count(OpCode.AUTH)
        there.server.drop_connections()
        await client.exists("/")
        assert there.count(OpCode.AUTH) == before + 1


async def test_an_identity_that_is_added_while_suspended_is_there_when_the_call_returns() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        await other.add_auth("digest", "user:pw")
        await other.create("/mine", acl=zk.CREATOR_ALL_ACL)
        await there.server.refuse()
        there.network.reset(source="a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.add_auth, "digest", "user:pw")
            await anyio.sleep(1)
            await there.server.accept()
        assert await client.get("/mine")


async def test_an_identity_that_is_added_while_the_greeting_is_under_way_is_not_forgotten() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        await other.add_auth("digest", "user:pw")
        await other.create("/mine", acl=zk.CREATOR_ALL_ACL)
        held = there.server.faults.hold_replies()
        there.network.reset(source="a")
        await anyio.sleep(1)  # the greeting was sent, without the identity
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.add_auth, "digest", "user:pw")
            await anyio.wait_all_tasks_blocked()
            held.release()
        assert await client.get("/mine")


async def test_an_identity_that_is_refused_ends_the_client() -> None:
    async with world() as there:
        with pytest.raises(zk.AuthFailedError, match="refused the credentials"):
            async with there.connect("a") as client:
                await client.add_auth("nonsense", "user:pw")
        assert client.state is SessionState.AUTH_FAILED
        with pytest.raises(zk.AuthFailedError):
            await client.get("/")


async def test_an_identity_that_is_refused_cancels_the_block_also_where_another_task_added_it() -> None:
    async with world() as there:
        with pytest.raises(zk.AuthFailedError):
            async with there.connect("a") as client, anyio.create_task_group() as tasks:
                tasks.start_soon(_add_and_ignore, client)
                await anyio.sleep_forever()
        assert client.state is SessionState.AUTH_FAILED


async def _add_and_ignore(client: zk.Client) -> None:
    with pytest.raises(zk.AuthFailedError):
        await client.add_auth("nonsense", "user:pw")


async def test_an_identity_is_sent_again_when_the_connection_breaks_before_it_is_known_to_count() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.drop_request(OpCode.EXISTS)
        await client.add_auth("digest", "user:pw")
        assert there.count(OpCode.AUTH) == 2


async def test_any_answer_after_an_identity_says_that_it_counts() -> None:
    network = MemoryNetwork()

    def answer(side: ServerSide, requested: Requested) -> bool:
        side.reply(requested.xid, 1, 0 if requested.opcode == OpCode.AUTH else -102)
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        await client.add_auth("digest", "user:pw")


# --- secrets ---------------------------------------------------------------------------------------------


async def test_passwords_appear_in_no_log_no_repr_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    passwords: list[bytes] = [bytes(range(65 + n, 77 + n)) for n in range(3)]  # in no line of code
    first, second, third = (b"user:" + password for password in passwords)
    async with world() as there:
        try:
            async with there.connect("a", auth=[("digest", first)]) as client:
                await client.add_auth("digest", second.decode())
                passwords.append(client.session.password)
                there.server.drop_connections()
                await client.exists("/")
                there.server.expire(client.session.id)
                await client.exists("/")
                passwords.append(client.session.password)
                api = recipe_api(client)
                shown += map(repr, (client, client.session, api, client._engine, client._engine.options))  # noqa: SLF001
                await client.add_auth("nonsense", third)
        except zk.AuthFailedError as error:
            shown += ["".join(traceback.format_exception(error)), str(error), repr(error), str(vars(error))]
        try:
            async with there.connect("a", auth=[("nonsense", third)], connect_timeout=1):
                pass
        except zk.AuthFailedError as error:
            shown += ["".join(traceback.format_exception(error)), str(error), repr(error)]
    shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    everything = "\n".join(shown)
    assert len(shown) > 15
    for password in passwords:
        for form in (repr(password)[2:-1], password.hex(), b64encode(password).decode()):
            assert form not in everything


# --- calls -----------------------------------------------------------------------------------------------


async def test_a_znode_is_made_with_its_stat_in_one_request_where_the_server_can() -> None:
    async with world(extended_types=True) as there, there.connect("a") as client:
        path, stat = await client.create_with_stat("/a/n", b"123", make_parents=True)
        assert path == "/a/n"
        assert stat.data_length == 3
        assert there.count(OpCode.CREATE2) == 3 - 1
        _, stat = await client.create_with_stat("/mine", ephemeral=True)
        assert stat.ephemeral_owner == client.session.id
        assert (await client.create_with_stat("/c", container=True))[0] == "/c"
        assert (await client.create_with_stat("/t", ttl=60))[0] == "/t"
        assert (await client.create_with_stat("/t-", ttl=60, sequential=True))[0].startswith("/t-")
        assert await client.create("/u", ttl=0.001) == "/u"


async def test_a_server_without_extended_types_is_distinguished_from_an_old_one() -> None:
    async with world() as there, there.connect("a") as client:
        for create in (client.create, client.create_with_stat):
            with pytest.raises(zk.UnimplementedError, match="extendedTypesEnabled"):
                await create("/t", ttl=60)
        async with client.pipeline() as pipe:
            refused = await pipe.submit(client.operations.create("/t", ttl=60))
        assert "extendedTypesEnabled" in _message(refused)


def _message(pending: zk.Pending[str]) -> str:
    with pytest.raises(zk.UnimplementedError) as caught:
        pending.result()
    return str(caught.value)


async def test_what_a_server_can_do_is_asked_only_when_that_matters() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        async with old.serving(), zk.connect("old", network=there.network) as client:
            await client.create("/n", b"1")
            await client.get("/n")
            async with client.transaction() as tx:
                tx.delete("/n")
            assert OpCode.EXISTS not in old.opcodes_seen
            for name in ("/c", "/d"):
                await client.create(name, container=True)
            assert old.opcodes_seen.count(OpCode.EXISTS) == 1


async def test_sync_is_answered() -> None:
    async with world() as there, there.connect("a") as client:
        await client.sync()
        await client.sync("/missing")
        assert there.count(OpCode.SYNC) == 2


async def test_acls_are_read_and_replaced() -> None:
    async with world() as there, there.connect("a", default_acl=zk.READ_ACL) as client:
        await client.create("/n")
        acl, stat = await client.get_acl("/n")
        assert (acl, stat.aversion) == (list(zk.READ_ACL), 0)
        with pytest.raises(zk.NoAuthError):
            await client.set_acl("/n", zk.OPEN_ACL)
        await client.create("/m", acl=zk.OPEN_ACL)
        assert (await client.set_acl("/m", zk.READ_ACL, version=0)).aversion == 1


async def test_children_come_with_the_stat_of_their_parent() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/n/a")
        children, stat = await client.get_children_with_stat("/n")
        assert children == ["a"]
        assert stat.num_children == 1
        assert await client.get_children("/n/a") == []


async def test_null_data_and_empty_data_are_not_the_same() -> None:
    """Case 42."""
    async with world() as there, there.connect("a") as client:
        await client.create("/null", None)
        await client.create("/empty", b"")
        assert (await client.get("/null")).data is None
        assert (await client.get("/empty")).data == b""


async def test_a_four_letter_word_is_asked_of_the_server_that_the_client_is_attached_to() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("one", session_timeout=TIMEOUT, network=aliases) as client:
            client.update_hosts("two")
            assert await client.four_letter_word("ruok") == "imok"
            assert [host for _, host in aliases.opened] == ["one", "one"]
            there.server.drop_connections()
            assert "Mode: " in await client.four_letter_word("srvr"), "it waits for a server"
            assert aliases.opened[-1][1] == "two"
            for wrong in ("ruokk", "RUOK", "r uk", "\u0261abc", b"ruok"):
                with pytest.raises(ValueError, match=re.escape(f"not {wrong!r}")):
                    await client.four_letter_word(wrong)  # type: ignore[arg-type]
            there.network.refuse()
            with pytest.raises(zk.ConnectionLossError, match=r"refused\) before ruok was answered"):
                await client.four_letter_word("ruok")
            there.network.heal()
