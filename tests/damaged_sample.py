"""A sample that was loaded, then damaged in many ways, then swept: what its report is shown with."""

from __future__ import annotations

import os
from pathlib import Path

from one_shot import Desk, rows

RUNS = 1_500
SWEEP = ("reconcile", "--once", "--no-repair", "--depth", "deep", "--detailed")


def report_of_damage(desk: Desk) -> Path:
    """Load a sample, damage files and rows by hand, and let a deep sweep write its page."""
    assert desk.run("sample", "--runs", str(RUNS), "--seed", "5", str(desk.root)).returncode == 0
    assert desk.run("archive", "to-db", "--all").returncode == 0
    paths = sorted(desk.root.glob("*/*/*.json"))
    _damage_files(paths)
    _damage_rows(desk, [str(path.relative_to(desk.root)) for path in paths])
    page = desk.directory / "report.html"
    swept = desk.run(*SWEEP, "--report", str(page), TRACEWATCHD_SWEEP__FINDINGS_TOLD="500")
    assert swept.returncode == 1, swept.stdout + swept.stderr
    return page


def _damage_files(paths: list[Path]) -> None:
    for path in paths[100:104]:
        path.unlink()
    for path in paths[300:303]:
        os.truncate(path, path.stat().st_size // 2)
    for path in paths[500:502]:
        other_day = path.parent.with_name("2026-11-12")
        other_day.mkdir(exist_ok=True)
        path.rename(other_day / path.name)


def _damage_rows(desk: Desk, paths: list[str]) -> None:
    def change(sql: str, chosen: list[str]) -> None:
        named = ", ".join(f"'{path}'" for path in chosen)
        runs = f"(SELECT run_id FROM ledger WHERE path IN ({named}))"  # noqa: S608 - the sample's own names
        rows(desk.database, sql.format(runs=runs))

    change("DELETE FROM runs WHERE run_id IN {runs} RETURNING 1", paths[700:702])
    change("UPDATE runs SET total_tokens = 1481, status = 'error' WHERE run_id IN {runs} RETURNING 1", paths[900:902])
    change(
        """UPDATE runs SET data = jsonb_set(data, '{{name}}', '"Another name"') WHERE run_id IN {runs} RETURNING 1""",
        paths[1100:1103],
    )
    rows(
        desk.database,
        "INSERT INTO runs (run_id, trace_id, project, run_date, data, file_mtime_ns, file_sha256, rules)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'elsewhere', '2026-11-18', '{}', 1, sha256(''), 1) RETURNING 1",
    )
