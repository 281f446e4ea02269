"""Lines of one source at work in a test, on a real folder and a store of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_none

from memory_store import MemoryStore
from tracewatchd.edges.folder import Folder
from tracewatchd.ingest.budget import ByteBudget
from tracewatchd.ingest.line import Line, LineLimits, Surroundings
from tracewatchd.ingest.read import ReadRules
from tracewatchd.model.errors import TransientError
from tracewatchd.model.events import Event
from tracewatchd.model.results import Outcome

SOURCE = "here"
PATIENCE_S = 20.0
MIB = 1024 * 1024
RULES = ReadRules(max_file_bytes=MIB, batch_bytes=8 * MIB, sanitize="replace")
LIMITS = LineLimits(
    batch_rows=50,
    linger_s=0.0,
    writers=2,
    inbox_paths=1_000,
    settle_s=0.3,
    settle_limit_s=60.0,
    stamp_grain_s=0.0,
)

T = TypeVar("T")
E = TypeVar("E", bound=Event)


def impatient(before_sleep: Callable[[RetryCallState], None]) -> AsyncRetrying:
    """A policy that never waits and gives up after ten attempts."""
    return AsyncRetrying(
        wait=wait_none(),
        stop=stop_after_attempt(10),
        retry=retry_if_exception_type(TransientError),
        before_sleep=before_sleep,
        reraise=True,
    )


async def in_a_thread(work: Callable[[], T], /) -> T:
    """Runs blocking work as the daemon does."""
    return await asyncio.to_thread(work)


@dataclass
class Bench:
    """Everything that a line needs, to be changed before `line` is called."""

    root: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    told: list[Event] = field(default_factory=list)
    limits: LineLimits = LIMITS
    rules: ReadRules = RULES
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(64 * MIB))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def limit(self, **limits: Any) -> None:
        """Set some of the line's limits."""
        self.limits = replace(self.limits, **limits)

    def line(self, *, overwrite: bool = True) -> Line:
        """A line on all this; nobody works on it yet."""
        around = Surroundings(
            store=self.store,
            budget=self.budget,
            offload=in_a_thread,
            retrying=impatient,
            tell=self.told.append,
            now=self.now,
        )
        return Line(SOURCE, Folder(self.root), around, limits=self.limits, rules=self.rules, overwrite=overwrite)

    def named(self, kind: type[E]) -> list[E]:
        """What was told of one kind."""
        return [event for event in self.told if isinstance(event, kind)]

    def states(self) -> dict[str, str | None]:
        """What the ledger says, by path."""
        return {path: self.store.state(source, path) for source, path in self.store.ledger}


@asynccontextmanager
async def at_work(line: Line) -> AsyncIterator[Line]:
    """Work on the line for the length of the block, then to its end."""
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(line.run())
        yield line
        line.close()


async def outcomes(line: Line, paths: Sequence[str], *, reread: bool = False) -> dict[str, Outcome]:
    """Offer paths to a line that is being worked on, and wait for what becomes of them."""
    return await (await line.offer(paths, reread=reread)).wait()


async def until(condition: Callable[[], object]) -> None:
    """Let others work until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is looked at, and has no event of its own
            await asyncio.sleep(0.005)
