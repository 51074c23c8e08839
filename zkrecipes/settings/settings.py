"""Settings: what a program has read about its connection to ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from zkrecipes.codec.secret import hides_arguments
from zkrecipes.settings.entries import Entry, shown_key
from zkrecipes.settings.errors import SettingsError
from zkrecipes.settings.given import GivenSettings
from zkrecipes.settings.options import ConnectOptions, connect_options, connect_string
from zkrecipes.settings.sasl import SaslSource, sasl_source

__all__ = ["Settings"]


@final
class Settings:
    """Connection settings that are valid, as `read_settings` returns them.

    They do not change: read the file again to see a change of it. Their `repr` shows no secret.

    Attributes:
        enabled: the value of `zookeeper.enabled`, by default True. In Flink's files: whether
            `high-availability.type` is `zookeeper`, by default False if only Flink's keys name the hosts.
        source: the path of the file, or `environment`, or both.
        connect_string: the hosts with the chroot, as `connect` takes them; None if no hosts are given.
    """

    def __init__(
        self, given: GivenSettings, entries: Iterable[Entry], *, source: str, with_flink: bool
    ) -> None:
        self._given: GivenSettings = given
        self._entries: dict[str, Entry] = {entry.key: entry for entry in entries}
        self._options: ConnectOptions = connect_options(given)
        self._sasl: SaslSource | None = sasl_source(given, with_flink=with_flink)
        self.source: str = source
        self.connect_string: str | None = connect_string(given)
        self.enabled: bool = _is_enabled(given)

    def __repr__(self) -> str:
        shown = [
            f"{shown_key(entry.key)}={value if each.key.is_shown else '***'}"
            for each in self._given
            for entry, value in zip(each.entries, each.values, strict=True)
        ]
        return f"<Settings from {', '.join([self.source, *shown])}>"

    @hides_arguments
    def connect_options(self) -> ConnectOptions:
        """Return the options of `connect` that are given, without the hosts. They may contain secrets.

        Raises:
            OSError: the JAAS file cannot be read.
            ValueError: the JAAS file is not valid.
            ModuleNotFoundError: the settings require Kerberos, and the package `gssapi` is missing.
        """
        options = self._options.copy()
        if self._sasl is not None:
            options["sasl"] = self._sasl()
        return options

    def text(self, key: str) -> str | None:
        """Return the text of any key, including those of other programs; None if it is not given.

        Args:
            key: the whole key, as the file or the environment spells it.
        """
        entry = self._entries.get(key)
        return None if entry is None else entry.value.strip()

    def error(self, key: str, reason: str) -> SettingsError:
        """Return an error with the place of a key, for programs that read further keys with `text`."""
        entry = self._entries.get(key)
        return SettingsError(reason, source=self.source, key=key) if entry is None else entry.error(reason)


def _is_enabled(given: GivenSettings) -> bool:
    enabled = given.value("enabled")
    if enabled is not None:
        return enabled is True
    # Flink's default for `high-availability.type` is NONE.
    hosts = given.items("connection-string")
    return not (hosts and hosts[0][0].key.startswith("high-availability."))
