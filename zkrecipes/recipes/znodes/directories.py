"""Creates the directory of a recipe if it is missing, even while other clients create it."""

from __future__ import annotations

import logging

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.errors import NodeExistsError, NoNodeError
from zkrecipes.paths import parent_of
from zkrecipes.recipes.znodes.delete_permission import created_by_us

__all__ = ["make_directory"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")


async def make_directory(client: Client, directory: str, *, container: bool = True) -> None:
    """Create a recipe's directory, under persistent parents.

    Args:
        client: the client that creates it.
        directory: its path.
        container: create a container, if the server has containers. Only this level is a container: the
            server must not remove a user's `/config` above it when that is empty.
    """
    container = container and await recipe_api(client).has_containers()
    try:
        await client.ensure_path(parent_of(directory))
        await client.create(directory, b"", container=container)
        created_by_us(recipe_api(client), directory)
    except NodeExistsError:
        return
    except NoNodeError:
        logger.debug(
            "the parent of %s was deleted while %s was created (the caller tries again)",
            directory,
            directory,
            extra={"path": directory},
        )
