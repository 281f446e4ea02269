"""``db``: making, migrating, describing and reaching the database, embedded or not."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from one_shot import Desk, rows
from running import running

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


@pytest.fixture
def embedded() -> Iterator[Desk]:
    """A place with no database but the embedded one, below a path that leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        settings = {"TRACEWATCHD_DATABASE__EMBEDDED_DIR": str(directory / "state")}
        yield Desk(directory, "", settings)


@pytest.fixture
def bare(tmp_path: Path, empty_database: str) -> Desk:
    """A place whose database holds no tables."""
    return Desk(tmp_path, empty_database)


@pytest.mark.parametrize("verb", ["init", "migrate"])
def test_tables_are_made_once(bare: Desk, verb: str) -> None:
    """The first call makes the tables, a second changes nothing; both tell versions and which database this is."""
    first = bare.json("db", verb)
    assert first["schema_version"] == first["newest_version"] >= 1
    assert rows(bare.database, TABLES)[0][0] > 5
    assert bare.json("db", verb) == first
    assert bare.json("db", "status") == first


def test_an_empty_database_is_told_what_to_run(bare: Desk) -> None:
    """Status could not check: exit 3, one hint, and no table is made by looking."""
    result = bare.run("db", "status")
    assert (result.returncode, result.stdout) == (3, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: there are no tables of ours in schema public")
    assert hint == "hint: run `tracewatchd db migrate`"
    assert rows(bare.database, TABLES) == [(0,)]


def test_a_schema_of_its_own(bare: Desk) -> None:
    """With database.schema everything lies in that schema, and public stays empty."""
    own = {"TRACEWATCHD_DATABASE__SCHEMA": "traces"}
    bare.put(1)
    assert bare.json("db", "init", **own)["schema"] == "traces"
    assert bare.run("archive", "to-db", "--all", **own).returncode == 0
    assert rows(bare.database, "SELECT count(*) FROM traces.runs") == [(1,)]
    assert rows(bare.database, TABLES) == [(0,)]


def test_a_table_of_somebody_else(bare: Desk) -> None:
    """A foreign table called runs is refused with exit 70 and the way out, and left as it is."""
    rows(bare.database, "CREATE TABLE runs (theirs int)")
    result = bare.run("db", "init")
    assert (result.returncode, result.stdout) == (70, "")
    assert "belongs to another program" in result.stderr
    assert "hint: let tracewatchd have a schema of its own: database.schema" in result.stderr
    assert rows(bare.database, TABLES) == [(1,)]


def test_status_counts(tmp_path: Path, database: str) -> None:
    """Status tells how many files are acknowledged and quarantined, a line for each thing it knows."""
    desk = Desk(tmp_path, database)
    desk.put(1)
    desk.put(2, b"this is a note, not a run\n")
    desk.run("archive", "to-db", "--all")
    told = desk.json("db", "status")
    assert (told["files_acknowledged"], told["files_quarantined"]) == (1, 1)
    lines = dict(line.split("  ", 1) for line in desk.run("db", "status").stdout.splitlines())
    assert list(lines) == [name.replace("_", " ") for name in told]
    assert lines["files quarantined"].strip() == "1"


def test_url_of_a_configured_database(tmp_path: Path, database: str, wheel: Path) -> None:
    """`db url` prints the address whole, the password too, as psql takes it, whatever place it was given in."""
    desk = Desk(tmp_path, database.replace("tracewatchd@", "tracewatchd:pa%20ss@"))
    assert desk.run("db", "url").stdout == desk.database + "\n"
    assert desk.json("db", "url") == {"url": desk.database, "psql": f"psql '{desk.database}'"}
    name, _, host = database.partition("@/")[2].partition("?host=")
    desk.database = ""
    variables = {"PGHOST": host.replace("%2F", "/"), "PGDATABASE": name, "PGUSER": "tracewatchd", "PGPASSWORD": "pa ss"}
    url = desk.run("db", "url", **variables).stdout.strip()
    assert "password=pa%20ss" in url  # psql takes a + as it is
    assert desk.json("db", "status", **variables)["database"] == name
    assert _psql(wheel, url, "SELECT current_database() || current_user") == name + "tracewatchd"


def _psql(programs: Path, url: str, query: str) -> str:
    asked = [str(programs / "psql"), url, "--no-psqlrc", "-Atc", query]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30, env={}).stdout.strip()


def test_the_embedded_database_from_nothing(embedded: Desk, wheel: Path) -> None:
    """Init makes cluster and tables; while a daemon owns the server, psql reaches it by `db url`, and so do others."""
    embedded.put(1)
    first = embedded.json("db", "init")
    url = embedded.run("db", "url").stdout.strip()
    with running("run", env=embedded.env, cwd=embedded.directory) as daemon:
        daemon.wait_for("batch.committed")
        assert _psql(wheel, url, "SELECT count(*) FROM runs") == "1"
        assert embedded.json("db", "init")["identity"] == first["identity"]
        assert embedded.json("db", "status")["files_acknowledged"] == 1
        assert daemon.stop() == 0
    assert embedded.json("reconcile", "--once")["states"] == {"loaded": 1}
    assert embedded.run("db", "url").stdout.strip() == url


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("db", "status"), 3),
        (("reconcile", "--once"), 3),
        (("quarantine", "list"), 3),
        (("db", "migrate"), 70),
        (("db", "url"), 70),
        (("config", "check"), 0),
    ],
)
def test_looking_makes_no_cluster(embedded: Desk, arguments: tuple[str, ...], status: int) -> None:
    """Where there is no embedded database yet, only init, run and loading make one; the others say what does."""
    result = embedded.run(*arguments)
    assert result.returncode == status
    assert not (embedded.directory / "state").exists()
    if status:
        error, hint = result.stderr.splitlines()
        assert str(embedded.directory / "state") in error
        assert hint.startswith("hint: ")
