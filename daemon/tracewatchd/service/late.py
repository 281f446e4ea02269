"""A database that is reached when it is first needed: without one, everything else is done all the same."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Assembly
from tracewatchd.service.memory import give_back_memory

_PATIENCE_S = 60.0


class LateAssembly:
    """An assembly for the length of a block, opened when it is first asked for; ``create`` makes tables and servers."""

    def __init__(self, archiving: Archiving, *, create: bool) -> None:
        self._archiving = archiving
        self._create = create
        self._opening = asyncio.Lock()
        self._assembly: Assembly | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._assembly:
            await self._assembly.close()

    async def get(self) -> Assembly:
        """The assembly, with the roots claimed where it may load.

        Raises:
            TransientError, PermanentError: the database cannot be reached or used; the next one who asks tries again.
        """
        async with self._opening:
            if self._assembly is None:
                self._assembly = await self._opened()
            return self._assembly

    async def _opened(self) -> Assembly:
        archiving = self._archiving
        assembly = Assembly(archiving.settings, archiving.tell, create=self._create, patience_s=_PATIENCE_S)
        give_back_memory()  # what loads freed must not lie there while zips are made
        opened = False
        try:
            await assembly.open(migrate=self._create)
            if self._create:
                await assembly.claim(assembly.places)
            opened = True
        finally:
            if not opened:
                await assembly.close()
        return assembly
