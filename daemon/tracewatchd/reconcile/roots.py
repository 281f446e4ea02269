"""Whether a root is the one that was swept before, and whether what is missing from it can be believed to be gone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Protocol

from tracewatchd.edges.folder import Folder, Outline, RootIdentity

SHRUNK_BY_AT_LEAST = 100
"""Fewer files than that may go at once without anyone asking whether something is not mounted."""


class RootStore(Protocol):
    """Postgres, as far as roots are concerned."""

    async def source_root(self, source: str) -> tuple[int, int] | None:
        """Device and inode of a source's root when it was last swept."""
        ...

    async def remember_root(self, source: str, device: int, inode: int) -> None:
        """Remember which directory a source's root is."""
        ...

    async def known_below(self, source: str, folder: str, limit: int) -> int:
        """How many files below a folder are known and not told as gone, counted no further than the limit."""
        ...


class RootWatch:
    """One source's root, as far as this sweep may trust it."""

    def __init__(
        self, source: str, folder: Folder, store: RootStore, *, accepted: Collection[str], may_write: bool
    ) -> None:
        self._source = source
        self._folder = folder
        self._store = store
        self._accepted = accepted
        self._may_write = may_write

    def accepts(self, directory: str) -> bool:
        """Whether whatever is missing from a directory is said to be gone."""
        return bool({"", directory, directory.partition("/")[0]} & set(self._accepted))

    async def distrust(self, identity: RootIdentity, outline: Outline, remembered: Sequence[str]) -> str | None:
        """Why nothing in the root can be checked, if so; a root that is believed is remembered."""
        before = await self._store.source_root(self._source)
        if not self.accepts("") and remembered:
            present = len(set(remembered) & set(outline.directories))
            if not outline.directories:
                return f"{self._folder.root}: empty, but the ledger knows files in it"
            if before not in {None, tuple(identity)} and present * 2 < len(remembered):
                return (
                    f"{self._folder.root}: another directory than before, with {present} of {len(remembered)}"
                    " directories that the ledger knows"
                )
        if before != tuple(identity) and self._may_write:
            await self._store.remember_root(self._source, *identity)
        return None

    async def emptied(self, outline: Outline, remembered: Sequence[str]) -> dict[str, str]:
        """Project folders that are there but hold none of the days that the ledger knows, and why not to believe it."""
        there = {directory.partition("/")[0] for directory in outline.directories}
        suspects = sorted({directory.partition("/")[0] for directory in remembered} & (outline.projects - there))
        return {
            project: f"{project}: no day is left in it, but the ledger knows at least {SHRUNK_BY_AT_LEAST} files there"
            for project in suspects
            if not self.accepts(project)
            and await self._store.known_below(self._source, project, SHRUNK_BY_AT_LEAST) >= SHRUNK_BY_AT_LEAST
        }


def below(project: str, directories: Sequence[str]) -> Sequence[str]:
    """Those of some directories, in byte order, that lie in a project's folder."""
    return directories[bisect_left(directories, f"{project}/") : bisect_left(directories, f"{project}0")]
