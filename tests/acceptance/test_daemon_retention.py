"""The installed daemon warns of days that LangSmith will soon delete."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemons import daemon, query
from running import environment

RETENTION_DAYS = 14


def test_a_day_that_is_due_is_told(tmp_path: Path, database: str) -> None:
    """Of a project that has no folder a day that is soon deleted is told, of one that is verified it is not."""
    due = (datetime.now(UTC) - timedelta(days=RETENTION_DAYS - 1)).date().isoformat()
    settings = {"retention_days": RETENTION_DAYS, "first_day": due}
    env = environment(
        TRACEWATCHD_DATABASE__URL=database,
        TRACEWATCHD_RETENTION__WARN_DAYS="1",
        TRACEWATCHD_RETENTION__PROJECTS=json.dumps([settings | {"project": name} for name in ("safe", "Bot")]),
    )
    verified = f"INSERT INTO project_days VALUES ('{tmp_path}', 'safe/{due}', 'full', now(), 'consistent', 1, '{{}}')"
    query(database, verified)
    with daemon(tmp_path, env=env) as found:
        first = found.wait_for("day.due")
        assert found.stop() == 0
    assert first["days_left"] in {0, 1}  # midnight may have passed meanwhile
    del first["days_left"]
    wanted = {"project": "Bot", "day": due, "level": "warning", "source": str(tmp_path), "why": "nothing was loaded"}
    assert first.items() >= wanted.items()
    assert ("safe", due) not in {(event["project"], event["day"]) for event in found.named("day.due")}
