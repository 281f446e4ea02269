"""docs/database.md: its statements do what it says, with roles of their own, and its table names every column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from doc_sql import DOCS, sql_of, statements
from one_shot import Desk
from postgres import Server, run_now, statement
from run_files import run_id
from running import running

(CREATE, GRANT, LIMITS) = sql_of("database.md")["Roles and grants"]
(FORGET,) = sql_of("security.md")["What is left to you"]
(INDEX,) = sql_of("database.md")["Indexes and sizes"]


class Traces:
    """The database of the page, as each of its roles reaches it."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server, self._directory = server, directory
        run_now(statement(server.dsn("postgres"), *statements(CREATE)))

    def dsn(self, role: str) -> str:
        """Where a role finds it."""
        return f"postgresql://{role}@/traces?host={quote(str(self._server.directory), safe='')}"

    def desk(self, role: str) -> Desk:
        """Where a role runs commands, on the one root that all share."""
        return Desk(self._directory, self.dsn(role))


@pytest.fixture(scope="module")
def traces(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    """Roles, database, tables and grants as the page says, on a server of their own, since roles belong to servers."""
    with Server(wheel) as server:
        made = Traces(server, tmp_path_factory.mktemp("roles"))
        assert made.desk("traces_owner").run("db", "migrate").returncode == 0
        run_now(statement(made.dsn("traces_owner"), *statements(GRANT)))
        run_now(statement(server.dsn("postgres"), *statements(LIMITS)))
        yield made


def test_the_writer_can_do_everything_but_change_tables(traces: Traces) -> None:
    """Loading, sweeping, repairing, undoing, and the daemon itself, with the role that the page grants."""
    desk = traces.desk("traces_writer")
    desk.put(1)
    desk.put(2, b"this is a note, not a run\n")
    assert desk.run("archive", "to-db", "--all").returncode == 1
    run_now(statement(traces.dsn("traces_writer"), "UPDATE runs SET name = 'another'"))
    repaired = desk.run("reconcile", "--once", "--depth", "deep", "--fix", "mismatch", "--yes")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    (fix,) = desk.json("archive", "fixes", "list")
    assert desk.run("archive", "fixes", "rollback", fix["fix_id"], "--yes").returncode == 0
    with running("run", env=desk.env, cwd=desk.directory) as daemon:
        daemon.wait_for("daemon.ready")
        desk.put(3)
        daemon.wait_for("batch.committed")
        assert daemon.stop() == 0
    for forbidden in ("DROP TABLE runs", "ALTER TABLE runs ADD x int", "DELETE FROM identity", "CREATE TABLE mine ()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            run_now(statement(traces.dsn("traces_writer"), forbidden))


def test_the_reader_can_look_and_no_more(traces: Traces) -> None:
    """Commands that only read work for it; no statement of it writes, and none runs for ever."""
    traces.desk("traces_owner").run("archive", "to-db", "--all")
    desk = traces.desk("traces_reader")
    for words in (["traces", "list"], ["db", "status"], ["quarantine", "list"], ["archive", "fixes", "list"]):
        result = desk.run(*words)
        assert (result.returncode, result.stderr) == (0, ""), words
    assert desk.run("traces", "show", str(run_id(1))).returncode == 0
    for forbidden in ("DELETE FROM runs", "BEGIN READ WRITE; DELETE FROM runs"):
        with pytest.raises(asyncpg.PostgresError, match=r"read-only|permission denied"):
            run_now(statement(traces.dsn("traces_reader"), *forbidden.split("; ")))
    assert run_now(statement(traces.dsn("traces_reader"), "SHOW statement_timeout"))[0][0] == "1min"


def test_tables_of_later_versions_are_granted_too(traces: Traces) -> None:
    """What the owner makes after the grants is open to both without another word."""
    run_now(statement(traces.dsn("traces_owner"), "CREATE TABLE later (number integer)"))
    run_now(statement(traces.dsn("traces_writer"), "INSERT INTO later VALUES (1)"))
    assert run_now(statement(traces.dsn("traces_reader"), "SELECT number FROM later"))[0][0] == 1
    run_now(statement(traces.dsn("traces_owner"), "DROP TABLE later"))


def test_a_writer_cannot_migrate(wheel: Path, tmp_path: Path) -> None:
    """Where tables are missing, a role that may not make them ends with exit 70 and is told what helps."""
    with Server(wheel) as own:
        desk = Traces(own, tmp_path).desk("traces_writer")
        desk.put(1)
        result = desk.run("archive", "to-db", "--all")
    assert result.returncode == 70
    assert "hint: grant the role what it lacks, or let its owner run `tracewatchd db migrate`" in result.stderr


def test_the_index_of_ones_own_disturbs_nothing(traces: Traces) -> None:
    """It can be made while the tables are in use, and the daemon's checks do not mind it."""
    run_now(statement(traces.dsn("traces_owner"), *statements(INDEX)))
    assert traces.desk("traces_writer").run("db", "status").returncode == 0


def test_every_column_of_runs_is_described(database: str) -> None:
    """The page's table has the columns of the table, with their types, and no other."""
    text = (DOCS / "database.md").read_text()
    rows = re.findall(r"(?m)^\| ((?:`\w+`(?:, )?)+) \| ([\w\[\]]+) \|", text)
    described = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    asked = (
        "SELECT attname, replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz')"
        " FROM pg_attribute WHERE attrelid = 'runs'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    assert described == {row[0]: row[1] for row in run_now(statement(database, asked))}


def test_every_index_of_runs_is_described(database: str) -> None:
    """The page's table of indexes has those that there are, with their columns."""
    text = (DOCS / "database.md").read_text()
    described = {
        name: re.findall(r"`(\w+)`", columns) for name, columns in re.findall(r"(?m)^\| `(runs_\w+)` \(([^)]*)\)", text)
    }
    asked = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'runs'"
    there = {row[0]: re.findall(r"\w+", row[1].rpartition("(")[2]) for row in run_now(statement(database, asked))}
    assert described == there


def test_an_older_state_catches_up(server: Server, template: str, tmp_path: Path) -> None:
    """A database that was put back to an earlier state has every row again after a full sweep, and says so."""
    desk = Desk(tmp_path, server.create_database(template))
    desk.put(1)
    assert desk.run("archive", "to-db", "--all").returncode == 0
    older = desk.database.partition("@/")[2].partition("?")[0]
    desk.put(2)
    backup = Desk(tmp_path, server.create_database(older))
    assert desk.run("archive", "to-db", "--all").returncode == 0
    assert backup.rows("SELECT count(*) FROM runs") == [(1,)]
    assert backup.run("reconcile", "--once", "--depth", "full").returncode == 0
    assert backup.rows("SELECT run_id FROM runs ORDER BY 1") == [(run_id(1),), (run_id(2),)]


def test_the_journal_forgets(server: Server, template: str, tmp_path: Path) -> None:
    """Removed rows stay in the journal until the statement of docs/security.md has been run; fresh ones are kept."""
    desk = Desk(tmp_path, server.create_database(template))
    for number in (1, 2):
        desk.put(number).touch()
    assert desk.run("archive", "to-db", "--all").returncode == 0
    desk.put(1).unlink()
    swept = desk.run("reconcile", "--once", "--fix", "gone-rows", "--yes")
    assert (swept.returncode, desk.rows("SELECT count(*) FROM runs")) == (0, [(1,)]), swept.stdout
    kept = "SELECT count(run_before) FROM fixes"
    run_now(statement(desk.database, FORGET))
    assert desk.rows(kept) == [(1,)]
    run_now(statement(desk.database, "UPDATE fixes SET applied_at = applied_at - interval '8 days'", FORGET))
    assert desk.rows(kept) == [(0,)]
