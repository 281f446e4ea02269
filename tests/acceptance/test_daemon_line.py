"""The installed daemon on real input: files become rows, once, and stay what they are."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import asyncpg
import pytest

from running import Running, command, environment, eventually, running

RUNS = Path(__file__).parents[1] / "data" / "sdk-runs.tar.gz"
RUN_FILES = 798
SUMMARIES = 12


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with tarfile.open(RUNS) as archive:
        # Python before 3.11.4 has no filters, and ignores that one is set.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)  # noqa: S202 - an archive of our own
    return tmp_path / "data"


@pytest.fixture
def env(database: str) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database)


async def _writes(database: str) -> tuple[int, int]:
    """How often rows of ``runs`` were inserted and updated, once the server's statistics have settled."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        row = await connection.fetchrow("SELECT n_tup_ins, n_tup_upd FROM pg_stat_user_tables WHERE relname = 'runs'")
        assert row is not None
        return row["n_tup_ins"], row["n_tup_upd"]
    finally:
        await connection.close()


async def _fetch(database: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


def _first_sweep(daemon: Running) -> dict[str, object]:
    return daemon.wait_for("sweep.finished")


async def test_real_runs_are_loaded_once_and_ever_after_left_alone(
    root: Path, env: dict[str, str], database: str
) -> None:
    """798 files become 798 rows; a second start and a to-db write nothing; a touch rewrites no data."""
    with running("run", str(root), env=env) as daemon:
        sweep = _first_sweep(daemon)
        assert daemon.stop() == 0
    assert sweep["files"] == RUN_FILES
    assert sweep["states"] == {"loaded": RUN_FILES}
    assert sweep["ignored"] == SUMMARIES
    assert (await _fetch(database, "SELECT count(*) FROM runs"))[0][0] == RUN_FILES
    written = await _writes(database)

    with running("run", str(root), env=env) as daemon:
        assert _first_sweep(daemon)["states"] == {"loaded": RUN_FILES}
        assert daemon.stop() == 0
        assert not daemon.named("batch.committed")
    to_db = command("archive", "to-db", "--all", "--json", env=env | {"TRACEWATCHD_WATCH__ROOTS": str(root)})
    assert to_db.returncode == 0, to_db.stderr
    assert '"already_loaded": 798' in to_db.stdout
    assert await _writes(database) == written

    rows = "SELECT run_id, updated_at, pg_column_size(data) FROM runs ORDER BY 1"
    before = await _fetch(database, rows)
    for path in root.rglob("*.json"):
        os.utime(path)
    with running("run", str(root), env=env) as daemon:
        assert _first_sweep(daemon)["states"] == {"loaded": RUN_FILES}
        assert daemon.stop() == 0
    assert await _fetch(database, rows) == before


def test_a_file_copied_in_is_a_row_soon_after(root: Path, env: dict[str, str], tmp_path: Path) -> None:
    """A run file renamed into a watched directory is committed without waiting for a sweep."""
    watched = tmp_path / "watched"
    source = next(path for path in sorted(root.rglob("*.json")) if not path.name.startswith("_"))
    with running("run", str(watched), env=env) as daemon:
        daemon.wait_for("daemon.ready")
        target = watched / "support-bot" / "2026-11-20" / source.name
        target.parent.mkdir(parents=True)
        temporary = target.with_name(".arriving")
        temporary.write_bytes(source.read_bytes())
        temporary.rename(target)
        batch = daemon.wait_for("batch.committed")
        assert batch["outcomes"] == {"loaded": 1}
        assert daemon.stop() == 0
        assert daemon.named("daemon.stopped")[0]["exit_code"] == 0
        assert daemon.named("daemon.stopped")[0]["left_files"] == 0


def test_a_burst_of_new_directories_misses_nothing(env: dict[str, str], tmp_path: Path, root: Path) -> None:
    """Twenty directories made and filled at once give 200 of 200 rows within five seconds."""
    watched = tmp_path / "burst"
    watched.mkdir()
    sources = [path for path in sorted(root.rglob("*.json")) if not path.name.startswith("_")][:200]
    with running("run", str(watched), env=env) as daemon:
        daemon.wait_for("daemon.ready")
        for n in range(20):
            directory = watched / f"project-{n}" / "2026-11-20"
            directory.mkdir(parents=True)
            for source in sources[n * 10 : n * 10 + 10]:
                (directory / source.name).write_bytes(source.read_bytes())

        def loaded() -> int:
            return sum(event["outcomes"].get("loaded", 0) for event in daemon.named("batch.committed"))

        eventually(lambda: loaded() == 200, patience_s=5, why=loaded)
        assert daemon.stop() == 0
