"""One-shot commands in a place of their own: roots, a database, and what they did to it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postgres import run_now, statement
from run_files import put, run_id, run_path
from running import command, environment


def body(number: int, *, day: int = 1, text: str = "hello") -> bytes:
    """An enveloped run that was extracted on this day of a month long ago: no clock calls it from the future."""
    run = {"id": str(run_id(number)), "name": "agent", "start_time": "2024-11-20T06:44:12.622037", "text": text}
    return json.dumps({"metadata": {"extracted_at": f"2025-01-{day:02d}T00:00:00+00:00"}, "trace": run}).encode()


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """What a query says right now."""
    return [tuple(row) for row in run_now(statement(dsn, query))]


@dataclass
class Desk:
    """Where commands are run: a working directory with one root, and the settings that lead to a database."""

    directory: Path
    database: str
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)

    @property
    def root(self) -> Path:
        """The one root, unless a test configures others."""
        return self.directory / "traces"

    @property
    def env(self) -> dict[str, str]:
        """The environment of its commands: quick second looks, nothing of the machine's own settings."""
        given = {
            "TRACEWATCHD_DATABASE__URL": self.database,
            "TRACEWATCHD_WATCH__ROOTS": str(self.root),
            "TRACEWATCHD_WATCH__SETTLE_S": "0",
            "TRACEWATCHD_SWEEP__CONFIRM_S": "0",
            "TRACEWATCHD_SWEEP__GRACE_S": "0",
            "TRACEWATCHD_SECRETS_DIR": str(self.directory / "no-secrets"),
            "HOME": str(self.directory),
        }
        return {name: value for name, value in environment(**(given | self.settings)).items() if value}

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return command(*arguments, env=self.env | settings, cwd=self.directory)

    def json(self, *arguments: str, status: Any = 0, **settings: str) -> Any:
        """What a command prints with --json: exactly one document on one line."""
        result = self.run(*arguments, "--json", **settings)
        assert result.returncode == status, result.stdout + result.stderr
        (line,) = result.stdout.splitlines()
        return json.loads(line)

    def put(self, number: int, content: bytes | None = None, *, second: int = 0) -> Path:
        """A run file in the root; without content it is a good one."""
        return put(self.root, run_path(number, second), body(number) if content is None else content)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query says right now."""
        return rows(self.database, query)

    def written(self) -> list[tuple[Any, ...]]:
        """Which version of which row there is: any write, even one that changes nothing, shows."""
        return self.rows(
            "SELECT 'run', run_id::text, xmin::text, ctid::text FROM runs"
            " UNION ALL SELECT 'file', source || path, xmin::text, ctid::text FROM ledger ORDER BY 1, 2"
        )
