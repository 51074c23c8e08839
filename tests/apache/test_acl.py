"""The ACLs of `docs/how-to/acls.md`, and `digest` on servers with an unusual configuration."""

from __future__ import annotations

import re
import sys
from typing import Any

import anyio
import anyio.to_thread
import kazoo.security
import pytest
from kazoo.client import KazooClient

import zkrecipes as zk
from tests.apache.server_versions import version_of_server
from tests.house.source_tree import ROOT
from zkrecipes.ensemble import ApacheServer
from zkrecipes.enums import ServerVersion

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

PAGE = ROOT / "docs" / "how-to" / "acls.md"
CREDENTIAL = ("digest", "bob:open-sesame")
BOB = zk.digest_id(*CREDENTIAL[1].split(":"))


def _server(setting: str, value: str) -> ApacheServer:
    properties = {f"zookeeper.DigestAuthenticationProvider.{setting}": value}
    return ApacheServer(properties=properties, java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"))


def _blocks_of_the_page(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


async def test_the_program_of_the_page_runs_against_the_server_of_the_page() -> None:
    (line,) = _blocks_of_the_page("properties")
    setting, _, value = line.strip().partition("=")
    async with ApacheServer(settings={setting: value}) as server:
        program = re.sub("zk1.*2181", server.connect_string, _blocks_of_the_page("python")[0])
        done = await anyio.run_process([sys.executable, "-W", "error", "-c", program], check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode().splitlines() == [
            "b'for all'",
            "not permitted by the ACL: /app/secret",
            "nobody else can remove this lock",
        ]
        async with (
            zk.connect(server.connect_string, auth=[("digest", "super:change-me")]) as above_all,
            zk.connect(server.connect_string) as anonymous,
        ):
            await _share_a_directory(above_all)
            assert (await above_all.get("/app/secret")).data == b"hers"
            for path in ("/app", "/app/lock", "/locks"):
                with pytest.raises(zk.NoAuthError):
                    await anonymous.create(f"{path}/mine")


async def _share_a_directory(client: zk.Client) -> None:
    """Run the second block of the page."""
    body = "".join(f"    {line}\n" for line in _blocks_of_the_page("python")[1].splitlines())
    names: dict[str, Any] = {"zk": zk}
    exec(f"async def share(client):\n{body}", names)
    await names["share"](client)
    users = [zk.digest_id("alice", "open-sesame"), zk.digest_id("bob", "swordfish")]
    assert [entry.id for entry in (await client.get_acl("/locks"))[0]] == users


@pytest.mark.parametrize(
    "entry",
    [
        zk.ACL(zk.Perms.ALL, zk.Id("nonsense", "bob")),
        zk.ACL(zk.Perms.ALL, zk.Id("digest", "bob")),
        zk.ACL(zk.Perms.ALL, zk.Id("ip", "here")),
        *zk.CREATOR_ALL_ACL,
    ],
)
async def test_an_acl_that_the_server_refuses_is_named(
    apache_server: ApacheServer, fresh_path: str, entry: zk.ACL
) -> None:
    async with zk.connect(apache_server.connect_string) as client:
        for refused in (
            lambda: client.create(fresh_path, acl=[entry]),
            lambda: client.create(f"{fresh_path}/a/b", make_parents=True, acl=[entry]),
            lambda: zk.Mutex(client, "/", acl=[entry]).acquire().__aenter__(),
        ):
            with pytest.raises(
                zk.InvalidACLError, match="unknown scheme or id, or `auth` without an identity"
            ):
                await refused()


async def test_kazoo_with_the_same_password_is_the_same_user(
    apache_server: ApacheServer, fresh_path: str
) -> None:
    async with zk.connect(
        apache_server.connect_string, auth=[CREDENTIAL], default_acl=zk.CREATOR_ALL_ACL
    ) as client:
        await client.create(fresh_path, b"ours")

    def read() -> tuple[bytes, list[zk.ACL]]:
        made = [kazoo.security.make_digest_acl("bob", "open-sesame", all=True)]
        other = KazooClient(apache_server.connect_string, auth_data=[CREDENTIAL], default_acl=made)
        other.start(10)
        try:
            other.create(f"{fresh_path}/kazoos")
            return bytes(other.get(fresh_path)[0]), other.get_acls(fresh_path)[0]
        finally:
            other.stop()
            other.close()

    data, [entry] = await anyio.to_thread.run_sync(read)
    assert data == b"ours"
    assert zk.Id(entry.id.scheme, entry.id.id) == BOB
    async with zk.connect(apache_server.connect_string, auth=[CREDENTIAL]) as client:
        assert (await client.get_acl(f"{fresh_path}/kazoos"))[0] == [zk.ACL(zk.Perms.ALL, BOB)]


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA3-512"])
async def test_a_server_with_another_algorithm_keeps_our_identity(algorithm: str) -> None:
    async with (
        _server("digestAlg", algorithm) as server,
        zk.connect(server.connect_string, auth=[CREDENTIAL]) as client,
        zk.connect(server.connect_string) as anonymous,
    ):
        knows_others = version_of_server(server) >= ServerVersion.V3_7
        bob = zk.digest_id("bob", "open-sesame", algorithm=algorithm) if knows_others else BOB
        await client.create("/from-auth", b"1", acl=zk.CREATOR_ALL_ACL)
        assert (await client.get_acl("/from-auth"))[0] == [zk.ACL(zk.Perms.ALL, bob)]
        await anonymous.create("/from-id", b"2", acl=[zk.ACL(zk.Perms.ALL, bob)])
        assert (await client.get("/from-id")).data == b"2"
        with pytest.raises(zk.NoAuthError):
            await anonymous.get("/from-id")


async def test_a_server_without_the_scheme_refuses_it() -> None:
    """Case 63. Servers before 3.7 ignore the setting."""
    async with _server("enabled", "false") as server:
        if version_of_server(server) < ServerVersion.V3_7:
            async with zk.connect(server.connect_string, auth=[CREDENTIAL]):
                return
        with pytest.raises(zk.AuthFailedError, match="the server refused the credentials"):
            async with zk.connect(server.connect_string, auth=[CREDENTIAL]):
                raise AssertionError("attached")


async def test_a_directory_without_delete_is_reported_before_anything_is_created_there() -> None:
    """A transaction that is rolled back shows it, because each operation sees the effects of earlier ones."""
    async with ApacheServer() as server, zk.connect(server.connect_string) as client:
        for path in ("/mutex", "/group", "/semaphore", "/semaphore-__lock__"):
            await client.create(path, acl=[zk.ACL(zk.Perms.ALL & ~zk.Perms.DELETE, zk.ANYONE_ID)])
        for entered in (
            zk.Mutex(client, "/mutex"),
            zk.Group(client, "/group").join("a"),
            zk.Semaphore(client, "/semaphore", limit=1),
        ):
            with pytest.raises(zk.NoAuthError, match="must permit DELETE"):
                await entered.__aenter__()
        for path in ("/mutex", "/group", "/semaphore", "/semaphore-__lock__"):
            assert await client.get_children(path) == []
        await client.create("/open")
        async with zk.Mutex(client, "/open") as hold:  # the probe and the contender, in one transaction
            assert hold.fencing_token == (await client.get(hold.path)).stat.czxid
            assert await client.get_children("/open") == [hold.path.removeprefix("/open/")]
