"""SIGHUP: the configuration is read again, and what can change while the daemon runs counts from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from tracewatchd.model.errors import ConfigError
from tracewatchd.model.events import ConfigRejected, ConfigReloaded, DaemonReloading, Tell
from tracewatchd.settings import RELOADED, SETTINGS, Settings, contradictions

_OF_COMMANDS = ("archive", "langsmith", "drive")
"""Sections that the daemon does not use: each command reads them for itself."""


class Reload:
    """Reads the configuration when it is asked to, and keeps the old one where the new one is wrong.

    Args:
        settings: what counts now.
        read: reads every place again; raises ConfigError.
        take_over: makes the running daemon use these settings, of which only what may change has changed.
        tell: hears what was taken over and what was not, by name, never by value.
    """

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], take_over: Callable[[Settings], None], tell: Tell
    ) -> None:
        self._settings = settings
        self._read = read
        self._take_over = take_over
        self._tell = tell
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Read again soon; asked twice before it begins is once."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload whenever it is asked for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._reload()

    async def _reload(self) -> None:
        self._tell(DaemonReloading(cause="SIGHUP"))
        try:
            read = await asyncio.to_thread(self._read)
            merged = merge(self._settings, read)
        except ConfigError as error:
            self._tell(ConfigRejected(faults=error.faults, hint=error.hint))
            return
        taken_over = tuple(changed(self._settings, merged))
        self._settings = merged
        self._take_over(merged)
        self._tell(ConfigReloaded(taken_over=taken_over, needs_restart=tuple(changed(merged, read))))


def merge(current: Settings, read: Settings) -> Settings:
    """What counts from now on: of what was read, that which can change while the daemon runs.

    Raises:
        ConfigError: it contradicts what only a restart changes.
    """
    sections: dict[str, dict[str, object]] = {}
    for key in RELOADED:
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = getattr(getattr(read, section), name)
    merged = current.model_copy(
        update={section: getattr(current, section).model_copy(update=values) for section, values in sections.items()}
    )
    if faults := [f"{key}: {text}" for key, text in contradictions(merged)]:
        raise ConfigError(*faults, hint="Restart the daemon: this goes together with a setting that only that changes.")
    return merged


def changed(before: Settings, now: Settings) -> Iterator[str]:
    """The settings of the daemon that differ, by name."""
    old, new = _values(before), _values(now)
    return (key for key in SETTINGS if old[key] != new[key] and not key.startswith(_OF_COMMANDS))


def _values(settings: Settings) -> Mapping[str, object]:
    sections = settings.model_dump(by_alias=True)
    return {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}
