"""The scheme `digest` on servers that are not configured as most are."""

from __future__ import annotations

import pytest

import zkrecipes as zk
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

CREDENTIAL = ("digest", "bob:open-sesame")


def _server(setting: str, value: str) -> ApacheServer:
    properties = {f"zookeeper.DigestAuthenticationProvider.{setting}": value}
    return ApacheServer(properties=properties, java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"))


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA3-512"])
async def test_a_server_with_another_algorithm_keeps_the_identity_that_we_make(algorithm: str) -> None:
    bob = zk.digest_id("bob", "open-sesame", algorithm=algorithm)
    async with (
        _server("digestAlg", algorithm) as server,
        zk.connect(server.connect_string, auth=[CREDENTIAL]) as client,
        zk.connect(server.connect_string) as nobody,
    ):
        await client.create("/from-auth", b"1", acl=zk.CREATOR_ALL)
        assert (await client.get_acl("/from-auth"))[0] == [zk.ACL(zk.Perms.ALL, bob)]
        await nobody.create("/from-id", b"2", acl=[zk.ACL(zk.Perms.ALL, bob)])
        assert (await client.get("/from-id")).data == b"2"
        with pytest.raises(zk.NoAuthError):
            await nobody.get("/from-id")


async def test_a_server_without_the_scheme_refuses_it() -> None:
    """Case 63."""
    async with _server("enabled", "false") as server:
        with pytest.raises(zk.AuthFailedError, match="the server refused the credentials"):
            async with zk.connect(server.connect_string, auth=[CREDENTIAL]):
                raise AssertionError("attached")
