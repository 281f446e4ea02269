"""Fetches from a stand-in of LangSmith, in this process: what they did, said and left on disk."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from langsmith_runs import DAY
from langsmith_server import Server
from tracewatchd.archive.fetch import FetchSetting
from tracewatchd.archive.fetch_days import FetchDays
from tracewatchd.cli.command import status_of
from tracewatchd.cli.fetch import EXITS
from tracewatchd.edges.langsmith import LangSmith
from tracewatchd.edges.langsmith_http import Access
from tracewatchd.edges.pace import Pace
from tracewatchd.model.errors import TracewatchError
from tracewatchd.model.events import Event
from tracewatchd.model.exits import Exit
from tracewatchd.model.fetching import FetchProgress, FetchResult
from tracewatchd.model.project_day import folder_of

PROJECT = "support bot"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FASTER = 50.0
"""How many times faster than documented limits pass, here and (`Tiers.faster`) in the stand-in."""


@dataclass(frozen=True)
class Outcome:
    """How a fetch ended: as the command would, and with what sentence."""

    exit: Exit
    sentence: str
    result: FetchResult | None


@dataclass
class Fetching:
    """Fetches into a root of their own."""

    directory: Path
    server: Server
    patience_s: float = 20.0
    request_timeout_s: float = 10.0
    answer_bytes: int = 1 << 25
    attachment_bytes: int | None = 1 << 20
    pending_days: int = 7
    faster: float = FASTER
    now: datetime = NOW
    key: str = ""
    endpoint: str = ""
    told: list[Event] = field(default_factory=list)
    shown: list[FetchProgress] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Where run files go."""
        return self.directory / "root"

    @property
    def state(self) -> Path:
        """Where hints go."""
        return self.directory / "state"

    @asynccontextmanager
    async def langsmith(self) -> AsyncIterator[LangSmith]:
        """The stand-in as fetches see it."""
        access = Access(
            endpoint=self.endpoint or self.server.url,
            api_key=self.key or self.server.key,
            workspace_id=self.server.tenant,
            request_timeout_s=self.request_timeout_s,
            patience_s=self.patience_s,
            answer_bytes=self.answer_bytes,
        )
        faster = self.faster
        pace = Pace(clock=lambda: time.monotonic() * faster, sleep=lambda for_s: asyncio.sleep(for_s / faster))
        async with LangSmith(access, pace, self.told.append) as langsmith:
            yield langsmith

    async def fetch(
        self, *days: date, project: str = PROJECT, renewed: dict[date, list[str]] | None = None
    ) -> FetchResult:
        """Fetch these days, usually one; of others only some runs."""
        async with self.langsmith() as langsmith:
            setting = FetchSetting(
                langsmith=langsmith,
                source="traces",
                root=self.root,
                state=self.state,
                tell=self.told.append,
                now=lambda: self.now,
                clock=time.monotonic,
                pending_days=self.pending_days,
                attachment_bytes=self.attachment_bytes,
                progress=self.shown.append,
            )
            wanted = days or (() if renewed else (DAY,))
            return await FetchDays(project, folder_of(project), setting).run(wanted, renewed or {})

    async def outcome(self, *days: date, project: str = PROJECT) -> Outcome:
        """Fetch, and say how the command would end."""
        try:
            result = await self.fetch(*days, project=project)
        except TracewatchError as error:
            return Outcome(status_of(error, EXITS), str(error), None)
        return Outcome(Exit.OK if result.is_whole else Exit.FOUND, "; ".join(result.failed), result)

    def files(self, day: date = DAY, project: str = PROJECT) -> dict[str, bytes]:
        """The day's run files by run id."""
        directory = self.root / folder_of(project) / day.isoformat()
        return {path.name[:36]: path.read_bytes() for path in sorted(directory.glob("[!_.]*.json"))}

    def documents(self, day: date = DAY) -> dict[str, dict[str, Any]]:
        """The same, parsed."""
        return {run_id: json.loads(content) for run_id, content in self.files(day).items()}

    def states(self) -> dict[str, int]:
        """How many of the day's files say what of their feedback."""
        counts: dict[str, int] = {}
        for document in self.documents().values():
            state = document["metadata"]["feedback"]
            counts[state] = counts.get(state, 0) + 1
        return counts

    def errors(self, day: date = DAY) -> list[dict[str, str]]:
        """The day's list of runs that cannot become files."""
        path = self.root / folder_of(PROJECT) / day.isoformat() / "_errors.json"
        listed: list[dict[str, str]] = json.loads(path.read_bytes()) if path.exists() else []
        return listed

    def everything(self) -> bytes:
        """All bytes of all files, hints included, and all that was told."""
        files = [path.read_bytes() for path in sorted(self.directory.rglob("*")) if path.is_file()]
        return b"\n".join([*files, *(repr(event).encode() for event in self.told)])
