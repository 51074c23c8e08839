"""Records that messages share and calls return: `Stat`, `ACL`, `Id`, `Node` and others.

They are the `data` module of ZooKeeper's jute file (`zookeeper.jute`, read at 3.9), field for field.
"""

from __future__ import annotations

from typing import final

from zkrecipes.codec.jute import Buffer, Int, Long, Record, UString

__all__ = ["ACL", "ClientInfo", "Id", "Node", "Stat", "StatPersisted"]


@final
class Id(Record, tuple[str, str]):
    """The identity that an ACL entry permits.

    Fields: `scheme` (`world`, `digest`, `ip`, `auth`, `sasl`, `x509`) and `id` in that scheme's form.
    """

    scheme: UString
    id: UString


@final
class ACL(Record, tuple[int, Id]):
    """One entry of an access control list: the permissions (`Perms`) of an identity (`Id`)."""

    perms: Int
    id: Id


@final
class Stat(Record, tuple[int, int, int, int, int, int, int, int, int, int, int]):
    """A znode's metadata, as the server keeps it.

    Fields: `czxid`, `mzxid`, `pzxid` are the zxids of its creation, its last change of data and the last
    change of its list of children; `ctime` and `mtime` are milliseconds since 1970; `version`, `cversion`
    and `aversion` count changes of data, children and ACL; `ephemeral_owner` is the session id of an
    ephemeral znode's owner and 0 otherwise; `data_length` is in bytes; `num_children` is a count.
    """

    czxid: Long
    mzxid: Long
    ctime: Long
    mtime: Long
    version: Int
    cversion: Int
    aversion: Int
    ephemeral_owner: Long
    data_length: Int
    num_children: Int
    pzxid: Long


@final
class StatPersisted(Record, tuple[int, int, int, int, int, int, int, int, int]):
    """A `Stat` as snapshots store it: without the fields that can be computed."""

    czxid: Long
    mzxid: Long
    ctime: Long
    mtime: Long
    version: Int
    cversion: Int
    aversion: Int
    ephemeral_owner: Long
    pzxid: Long


@final
class Node(Record, tuple[bytes | None, Stat]):
    """A znode's data and `Stat`, as `Client.get` returns it (jute: `GetDataResponse`).

    Fields: `data`, None if the znode was created with null data; `stat`.
    """

    data: Buffer
    stat: Stat


@final
class ClientInfo(Record, tuple[str, str]):
    """One identity of a session, as `whoAmI` lists it."""

    auth_scheme: UString
    user: UString
