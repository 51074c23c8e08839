"""connect_from(): settings in, a running client out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Unpack

from zkrecipes.client.client import Client
from zkrecipes.client.connect import connect
from zkrecipes.client.recipe_api import async_block
from zkrecipes.settings.errors import SettingsError
from zkrecipes.settings.options import ConnectOptions
from zkrecipes.settings.settings import Settings

__all__ = ["connect_from"]


@async_block("zk.connect_from(…)", "client")
async def connect_from(
    settings: Settings, *, hosts: str | None = None, **overrides: Unpack[ConnectOptions]
) -> AsyncIterator[Client]:
    """Connect as `connect` does, with the options of the settings.

        async with zk.connect_from(zk.read_settings("application.properties")) as client:
            data, stat = await client.get("/config")

    Options that the settings do not give have the defaults of `connect`.

    Args:
        settings: from `read_settings`.
        hosts: a connect string instead of that of the settings, including its chroot.
        overrides: options of `connect` that replace those of the settings.

    Raises:
        SettingsError: the settings are not enabled (ask `settings.enabled` first), or name no hosts.
        OSError: a file that the settings name cannot be read.
        ModuleNotFoundError: the settings require Kerberos, and the package `gssapi` is missing.
        ValueError: an override, the JAAS file or a file for TLS is not valid.

    All other errors are those of `connect`.
    """
    try:
        connect_string = _hosts(settings) if hosts is None else hosts
        block = connect(connect_string, **(settings.connect_options() | overrides))
    finally:
        # Errors pass through this frame, and crash reporters show local variables.
        del settings, hosts, overrides
    async with block as client:
        yield client


def _hosts(settings: Settings) -> str:
    if not settings.enabled:
        reason = "ZooKeeper must be enabled to connect (check settings.enabled before)"
    elif settings.connect_string is None:
        reason = "the hosts must be given, for example zookeeper.connection-string=zk1:2181,zk2:2181"
    else:
        return settings.connect_string
    raise SettingsError(reason, source=settings.source)
