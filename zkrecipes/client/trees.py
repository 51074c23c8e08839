"""What takes several requests: ensure_path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from zkrecipes.codec.records import ACL, Stat
from zkrecipes.errors import ConnectionLossError, NoAuthError, NodeExistsError, NoNodeError
from zkrecipes.paths import check_path, parent_of

__all__ = ["Creator", "ensure_path"]


class Creator(Protocol):
    """A client, as far as it is needed here."""

    async def create(self, path: str, data: bytes | None = b"", *, acl: Sequence[ACL] | None = None) -> str:
        """Make a znode."""

    async def exists(self, path: str) -> Stat | None:
        """A znode's stat, or None."""


async def ensure_path(client: Creator, path: str, *, acl: Sequence[ACL] | None = None) -> None:
    """Make the znode at `path` and what is missing above it, persistent and empty.

    Others may make or remove the same znodes at the same time. Where it exists already, or all but the last
    is there, this is one request. What a broken connection leaves unknown is tried again.
    """
    check_path(path)
    missing = [path]
    while missing:
        try:
            await client.create(missing[-1], b"", acl=acl)
        except NodeExistsError:
            missing.pop()
        except NoAuthError:
            # The server looks at the parent's ACL first, and only then whether there is anything to create.
            if await client.exists(missing[-1]) is None:
                raise
            missing.pop()
        except NoNodeError:
            missing.append(parent_of(missing[-1]))
        except ConnectionLossError:
            continue  # made or not: the next try tells
        else:
            missing.pop()
