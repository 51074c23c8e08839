"""Creates a znode together with the missing znodes above it: `ensure_path`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from zkrecipes.codec.records import ACL, Stat
from zkrecipes.errors import ConnectionLossError, NoAuthError, NodeExistsError, NoNodeError
from zkrecipes.paths import check_path, parent_of

__all__ = ["Creator", "ensure_path"]


class Creator(Protocol):
    """The part of a client that this module uses."""

    async def create(self, path: str, data: bytes | None = b"", *, acl: Sequence[ACL] | None = None) -> str:
        """Create a znode."""

    async def exists(self, path: str) -> Stat | None:
        """Read a znode's stat; None if it does not exist."""


async def ensure_path(client: Creator, path: str, *, acl: Sequence[ACL] | None = None) -> None:
    """Create the znode at `path` and the missing znodes above it, persistent and empty.

    Other clients may create or delete the same znodes at the same time. If the znode or its parent exists,
    this takes one request. A request whose outcome a broken connection leaves unknown is repeated.
    """
    check_path(path)
    missing = [path]
    while missing:
        try:
            await client.create(missing[-1], b"", acl=acl)
        except NodeExistsError:
            missing.pop()
        except NoAuthError:
            # The server checks the parent's ACL before it checks whether the znode exists.
            if await client.exists(missing[-1]) is None:
                raise
            missing.pop()
        except NoNodeError:
            missing.append(parent_of(missing[-1]))
        except ConnectionLossError:
            continue  # the next attempt shows whether it was created
        else:
            missing.pop()
