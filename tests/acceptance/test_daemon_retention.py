"""The installed daemon warns of days that LangSmith will soon delete."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemons import daemon, query
from one_shot import Desk
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
    verified = "INSERT INTO project_days VALUES ('{}', 'safe/{}', 'full', now(), 'consistent', 1, '{{}}')"
    query(database, verified.format(tmp_path, due))
    with daemon(tmp_path, env=env) as found:
        first = found.wait_for("day.due")
        assert found.stop() == 0
    assert first["days_left"] in {0, 1}  # midnight may have passed meanwhile
    del first["days_left"]
    wanted = {"project": "Bot", "day": due, "level": "warning", "source": str(tmp_path), "why": "nothing was loaded"}
    assert first.items() >= wanted.items()
    assert ("safe", due) not in {(event["project"], event["day"]) for event in found.named("day.due")}


def test_reconcile_says_it_too(tmp_path: Path, database: str) -> None:
    """The command's text has a line that says how many days will be deleted; the verdict is not changed by it."""
    desk = Desk(tmp_path, database)
    desk.put(1)
    first = (datetime.now(UTC) - timedelta(days=RETENTION_DAYS - 2)).date().isoformat()
    project = {"project": "Bot", "retention_days": RETENTION_DAYS, "first_day": first}
    desk.settings["TRACEWATCHD_RETENTION__PROJECTS"] = json.dumps([project])
    result = desk.run("reconcile", "--once")
    assert result.returncode == 0
    assert "will be deleted upstream within" in result.stdout
