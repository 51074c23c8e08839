"""Values in place of bytes: JSON, msgspec, pydantic, or whatever two functions make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, final

from zkrecipes.client.client import Client, check_client
from zkrecipes.codec.records import ACL, Stat

__all__ = ["TypedClient", "TypedNode"]

V = TypeVar("V")


@final
class TypedNode(NamedTuple, Generic[V]):
    """A znode's decoded value and its stat, as `TypedClient.get` returns them."""

    value: V
    stat: Stat


@final
class TypedClient(Generic[V]):
    """A client's znodes as values of one type.

        jobs = zk.TypedClient(client, decode=json.loads, encode=json.dumps)
        await jobs.create("/jobs/7", {"state": "new"})
        job, stat = await jobs.get("/jobs/7")
        await jobs.set("/jobs/7", {**job, "state": "done"}, version=stat.version)

    It is a view: the client, its session and its errors are the same. A value that is watched, or updated by
    several at once, is a `ConfigWatch`'s business.

    Args:
        client: whose znodes.
        decode: makes a value of the data; null data are empty.
        encode: makes data of a value; a string becomes UTF-8.
    """

    def __init__(
        self, client: Client, *, decode: Callable[[bytes], V], encode: Callable[[V], bytes | str]
    ) -> None:
        check_client(client)
        self._client = client
        self._decode = decode
        self._encode = encode

    async def get(self, path: str) -> TypedNode[V]:
        """A znode's value and stat.

        Raises:
            NoNodeError: there is no znode.
            Exception: what `decode` raises, with a note that names the znode and its version.
        """
        data, stat = await self._client.get(path)
        try:
            return TypedNode(self._decode(b"" if data is None else data), stat)
        except Exception as error:
            error.add_note(f"while decoding the data of {path}, version {stat.version}")
            raise

    async def set(self, path: str, value: V, *, version: int | None = None) -> Stat:
        """Replace a znode's value, as `Client.set` does, and return its new stat.

        Raises:
            NoNodeError: there is no znode.
            BadVersionError: it has another version.
            ConnectionLossError: it is unknown whether it was changed.
            Exception: what `encode` raises; nothing was sent.
        """
        return await self._client.set(path, self._data_of(value), version=version)

    async def create(
        self,
        path: str,
        value: V,
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
        make_parents: bool = False,
    ) -> str:
        """Make a znode with a value, as `Client.create` does, and return its path.

        Raises:
            NodeExistsError: there is one already.
            NoNodeError: there is no parent.
            ConnectionLossError: it is unknown whether it was made.
            Exception: what `encode` raises; nothing was sent.
        """
        return await self._client.create(
            path,
            self._data_of(value),
            ephemeral=ephemeral,
            sequential=sequential,
            container=container,
            ttl=ttl,
            acl=acl,
            make_parents=make_parents,
        )

    def _data_of(self, value: V) -> bytes:
        data = self._encode(value)
        return data.encode() if isinstance(data, str) else data
