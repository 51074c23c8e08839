"""The directory of a recipe: made when it is missing, and never so that it fails when others make it too."""

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
    """Make a recipe's directory, under persistent parents.

    Args:
        client: who makes it.
        directory: its path.
        container: make it a container where the server has them. Only this level is one: a user's `/config`
            above it must not be reaped when it is empty.
    """
    container = container and await recipe_api(client).has_containers()
    try:
        await client.ensure_path(parent_of(directory))
        await client.create(directory, b"", container=container)
        created_by_us(recipe_api(client), directory)
    except NodeExistsError:
        return
    except NoNodeError:
        logger.debug("the parent of %s went while it was made", directory, extra={"path": directory})
