"""A project in LangSmith, an empty Drive, a database, and commands that know all three."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from drive_server import DriveServer, serving_drive
from drive_state import DriveState
from langsmith_forms import Run
from langsmith_runs import DAY, made_runs, started_on
from langsmith_server import Server, serving
from langsmith_upstream import Upstream
from one_shot import Desk

PROJECT = "Support Bot"
FOLDER = "support-bot"
DAYS = [DAY + timedelta(days=number) for number in range(3)]
OLD_DAYS = [day - timedelta(days=400) for day in DAYS]
"""Days that LangSmith may have deleted, whenever a test runs."""


@dataclass(frozen=True)
class World:
    """All five places of project-days, and a desk from which commands work on them."""

    desk: Desk
    langsmith: Server
    drive: DriveServer

    def sweep(self, *words: str, status: int = 0, **settings: str) -> list[dict[str, Any]]:
        """A full sweep of all days, and what it says of each."""
        days = ("--start-date", str(DAYS[0]), "--end-date", str(DAYS[-1]))
        found: list[dict[str, Any]] = self.desk.json(
            "archive", "full-sweep", "--project", PROJECT, *days, *words, status=status, **settings
        )
        return found

    def expected(self, day: date) -> list[Run]:
        """The runs that started on a day."""
        return [run for run in self.langsmith.upstream.runs(PROJECT) if started_on(run) == day]

    @property
    def runs(self) -> int:
        """Runs of all days."""
        return sum(len(self.expected(day)) for day in DAYS)


@contextmanager
def world(
    directory: Path, database: str, runs: int, *, days: Sequence[date] = DAYS, api: Any = "v2", **serving_options: Any
) -> Iterator[World]:
    """Three days of one project, so many runs in all (a few of them on the day after the last one)."""
    upstream = Upstream()
    for number, day in enumerate(days):
        share = runs // len(days) + (number < runs % len(days))
        upstream.add_runs(PROJECT, made_runs(share, seed=number + 1, day=day))
    with serving(upstream, api, **serving_options) as langsmith, serving_drive(DriveState()) as drive:
        login = directory / "login.json"
        login.write_text(json.dumps(drive.oauth.user_credentials()))
        settings = {
            "TRACEWATCHD_ARCHIVE__ZIP_DIR": str(directory / "zips"),
            "TRACEWATCHD_ARCHIVE__STATE_DIR": str(directory / "state"),
            "TRACEWATCHD_DRIVE__ENDPOINT": drive.url,
            "GOOGLE_APPLICATION_CREDENTIALS": str(login),
            "LANGSMITH_ENDPOINT": langsmith.url,
            "LANGSMITH_API_KEY": langsmith.key,
        }
        yield World(Desk(directory, database, settings), langsmith, drive)


def steps(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A day's steps by their names."""
    return {step["step"]: step for step in result["steps"]}


def states(result: dict[str, Any]) -> dict[str, str]:
    """A day's steps and what became of them."""
    return {name: step["state"] for name, step in steps(result).items()}
