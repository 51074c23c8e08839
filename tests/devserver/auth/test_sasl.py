"""SASL authentication, as a secured ensemble requires it."""

from __future__ import annotations

from typing import Any

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.devserver.auth.sasl import SaslExchange, SaslUsers
from zkrecipes.errors import AuthFailedError

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

USERS = {"bob": "open-sesame", "zoë": "größer"}
BOB = zk.DigestMD5("bob", "open-sesame")


def _locked(*, required: bool = False) -> Any:
    return world(sasl_users=USERS, sasl_required=required)


@pytest.mark.parametrize("name", sorted(USERS))
async def test_a_user_with_the_right_password_authenticates(name: str) -> None:
    async with (
        _locked(required=True) as there,
        there.connect("a", sasl=zk.DigestMD5(name, USERS[name])) as client,
    ):
        await client.create("/mine", b"", acl=[zk.ACL(zk.Perms.ALL, zk.Id("sasl", name))])
        assert (await client.get_acl("/mine"))[0][0].id == zk.Id("sasl", name)
        assert zk.Id("sasl", name) in await client.whoami()


async def test_others_may_not_touch_what_is_a_users() -> None:
    async with _locked() as there, there.connect("a", sasl=BOB) as bob, there.connect("b") as anyone:
        await bob.create("/mine", b"", acl=zk.CREATOR_ALL_ACL)
        with pytest.raises(zk.NoAuthError):
            await anyone.get("/mine")
        assert await bob.get("/mine")


async def test_the_identity_is_restored_on_each_connection() -> None:
    async with _locked(required=True) as there, there.connect("a", sasl=BOB) as client:
        await client.create("/mine", b"", acl=zk.CREATOR_ALL_ACL)
        there.server.drop_connections()
        assert await client.get("/mine")


@pytest.mark.parametrize(
    "user", [zk.DigestMD5("bob", "wrong"), zk.DigestMD5("nobody", "open-sesame")], ids=["password", "user"]
)
async def test_a_wrong_password_and_an_unknown_user_are_refused_in_the_same_way(user: zk.DigestMD5) -> None:
    async with _locked() as there:
        with pytest.raises(zk.AuthFailedError) as caught:
            async with there.connect("a", sasl=user):
                pass
    assert "open-sesame" not in str(caught.value)


async def test_a_client_without_sasl_is_refused_if_sasl_is_required() -> None:
    async with _locked(required=True) as there:
        with pytest.raises(zk.AuthFailedError, match="requires clients to authenticate"):
            async with there.connect("a") as client:
                await client.exists("/")


async def test_a_server_without_users_answers_no_sasl() -> None:
    async with world() as there:
        with pytest.raises(zk.AuthFailedError, match="SASL is not configured there"):
            async with there.connect("a", sasl=BOB):
                pass


def test_required_sasl_without_users_is_refused() -> None:
    with pytest.raises(ValueError, match="sasl_required needs sasl_users"):
        zk.DevServer(sasl_required=True)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"garbage",
        b'username="bob"',
        b'username="bob",nonce="other",nc=00000001,cnonce="c",digest-uri="u",response=0',
        b'username="bob",nonce="n",nc=00000002,cnonce="c",digest-uri="u",response=0',
        b'username="bob",nonce="n",nc=00000001,cnonce="c",digest-uri="u",response=0',
        b'charset=utf-8,username="\xff",nonce="n",nc=00000001,cnonce="c",digest-uri="u",response=0',
        b"\x00" * 5000,
    ],
)
def test_what_is_no_proof_is_refused(token: bytes) -> None:
    exchange = SaslExchange(SaslUsers(USERS, is_required=False), b"n")
    exchange.answer(b"")
    with pytest.raises(AuthFailedError):
        exchange.answer(token)
    assert exchange.username is None


def test_the_first_token_must_be_empty() -> None:
    with pytest.raises(AuthFailedError, match="the first token must be empty"):
        SaslExchange(SaslUsers(USERS, is_required=False), b"n").answer(b'username="bob"')
