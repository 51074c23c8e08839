"""Values instead of bytes: JSON, msgspec, pydantic, or any format that two functions convert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar, Unpack, final

from zkrecipes.client.client import Client, check_client
from zkrecipes.client.create_options import CreateOptions
from zkrecipes.codec.records import Stat

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

    It is a view: the client, its session and its errors are the same. Use `ConfigWatch` for a value that you
    watch, or that several clients update concurrently.

    Args:
        client: the client.
        decode: turns data into a value; null data is passed as empty.
        encode: turns a value into data; a string is encoded in UTF-8.
    """

    def __init__(
        self, client: Client, *, decode: Callable[[bytes], V], encode: Callable[[V], bytes | str]
    ) -> None:
        check_client(client)
        self._client = client
        self._decode = decode
        self._encode = encode

    async def get(self, path: str) -> TypedNode[V]:
        """Read a znode's value and stat.

        Raises:
            NoNodeError: the znode does not exist.
            Exception: an error of `decode`, with a note that names the znode and its version.
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
            NoNodeError: the znode does not exist.
            BadVersionError: the znode has another version.
            ConnectionLossError: it is unknown whether the value was replaced.
            Exception: an error of `encode`; nothing was sent.
        """
        return await self._client.set(path, self._data_of(value), version=version)

    async def create(
        self,
        path: str,
        value: V,
        *,
        make_parents: bool = False,
        **options: Unpack[CreateOptions],
    ) -> str:
        """Create a znode with a value, as `Client.create` does, and return its path.

        Raises:
            NodeExistsError: the znode exists already.
            NoNodeError: its parent does not exist.
            ConnectionLossError: it is unknown whether the znode was created.
            Exception: an error of `encode`; nothing was sent.
        """
        return await self._client.create(path, self._data_of(value), make_parents=make_parents, **options)

    def _data_of(self, value: V) -> bytes:
        data = self._encode(value)
        return data.encode() if isinstance(data, str) else data
