"""A program that ends in an error, which its argument selects; its password is in `$SECRET`.

It logs everything, and prints its crash as crash reporters do: with the local variables of each frame of the
library. Its own frames contain the password, as the frames of any caller do.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

import anyio

import zkrecipes as zk

SECRET = os.environ.get("SECRET", "")
FOLDER = os.environ.get("FOLDER", "")
USERS = {"bob": "another password"}
NOBODY = "127.0.0.1:1"
LIBRARY = str(Path(zk.__file__).parent)


async def auth_is_refused() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string, auth=[("nonsense", SECRET)]):
        raise AssertionError("attached")


async def added_auth_is_refused() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        await client.add_auth("nonsense", SECRET)


async def sasl_is_refused() -> None:
    bob = zk.DigestMD5("bob", SECRET)
    async with zk.DevServer(sasl_users=USERS) as server, zk.connect(server.connect_string, sasl=bob):
        raise AssertionError("attached")


async def sasl_is_not_there() -> None:
    bob = zk.DigestMD5("bob", SECRET)
    async with zk.DevServer() as server, zk.connect(server.connect_string, sasl=bob):
        raise AssertionError("attached")


async def nobody_answers() -> None:
    bob, auth = zk.DigestMD5("bob", SECRET), [("digest", f"bob:{SECRET}")]
    async with zk.connect(NOBODY, sasl=bob, auth=auth, connect_timeout=0.05):
        raise AssertionError("attached")


async def the_block_has_a_bug() -> None:
    bob, auth = zk.DigestMD5("bob", SECRET), [("digest", f"bob:{SECRET}")]
    async with (
        zk.DevServer(sasl_users={"bob": SECRET}) as server,
        zk.connect(server.connect_string, sasl=bob, auth=auth) as client,
    ):
        await client.create("/mine", acl=[zk.ACL(zk.Perms.ALL, zk.digest_id("bob", SECRET))])
        await client.create("/mine")


async def the_session_expires() -> None:
    async with zk.DevServer() as server:
        auth = [("digest", f"bob:{SECRET}")]
        async with zk.connect(server.connect_string, auth=auth, renew=False) as client:
            server.expire(client.session.id)
            await anyio.sleep_forever()


async def a_key_is_not_opened() -> None:
    tls = zk.TLS(cert_file=f"{FOLDER}/me.pem", key_file=f"{FOLDER}/me.key", key_password=SECRET)
    async with zk.connect(NOBODY, tls=tls):
        raise AssertionError("attached")


async def a_key_stands_where_a_certificate_should() -> None:
    async with zk.connect(NOBODY, tls=zk.TLS(cert_file=f"{FOLDER}/secret-key.pem")):
        raise AssertionError("attached")


async def a_jaas_file_is_broken() -> None:
    zk.read_jaas(f"{FOLDER}/broken.jaas")


async def a_jaas_file_lacks_the_section() -> None:
    zk.read_jaas(f"{FOLDER}/whole.jaas", "Another")


WAYS: dict[str, Callable[[], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        *(auth_is_refused, added_auth_is_refused, sasl_is_refused, sasl_is_not_there, nobody_answers),
        *(the_block_has_a_bug, the_session_expires, a_key_is_not_opened),
        *(a_key_stands_where_a_certificate_should, a_jaas_file_is_broken, a_jaas_file_lacks_the_section),
    )
}


def report(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    """Print what a crash reporter keeps."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    _forget_callers(told)
    sys.stderr.write("\n".join(["".join(told.format()), str(error), repr(error), str(vars(error))]))


def _forget_callers(told: traceback.TracebackException) -> None:
    for frame in told.stack:
        if not frame.filename.startswith(LIBRARY):
            frame.locals = None
    for below in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if below is not None:
            _forget_callers(below)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    sys.excepthook = report
    anyio.run(WAYS[sys.argv[1]], backend="trio")
