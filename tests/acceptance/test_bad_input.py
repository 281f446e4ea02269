"""The installed daemon among bad input: each entry comes to its expected state, and every healthy run is loaded."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bad_input import CLOSED_DIRECTORY, COMPLETES_AFTER_S, DIRECTORY, MAX_FILE_BYTES, TABLE, Row, document, file_of
from postgres import Server, run_now
from run_files import put
from running import Running, environment, eventually, running
from tracewatchd.model.layout import encode_path

HEALTHY = [*range(101, 181), *range(1_001, 1_041)]
"""Numbers of healthy runs: some in the directory of the table, some in one of their own."""

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def bound_by_permissions() -> None:
    """Give up root's power over permissions for good; an ordinary user has none to give up."""
    if os.geteuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


@pytest.fixture
def env(database: str, server: Server) -> dict[str, str]:
    server.directory.chmod(0o711)  # whoever is bound by permissions must get at the socket all the same
    return environment(
        TRACEWATCHD_DATABASE__URL=database,
        TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="1",
        TRACEWATCHD_INGEST__MAX_FILE_BYTES=str(MAX_FILE_BYTES),
        TRACEWATCHD_SERVICE__SHUTDOWN_S="10",
    )


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "traces"
    made.mkdir()
    yield made
    if (made / CLOSED_DIRECTORY).exists():
        (made / CLOSED_DIRECTORY).chmod(0o755)  # so that pytest can clear it away


def lay(root: Path, when: str) -> None:
    for row in TABLE:
        if row.when == when:
            row.make(root / row.path)


def lay_healthy(root: Path) -> None:
    for number in HEALTHY:
        directory = DIRECTORY if number < 1_000 else "healthy/2026-11-20"
        put(root, file_of(number, directory=directory), document(number))


def mend(root: Path, rows: list[Row]) -> None:
    for row in rows:
        assert row.mend
        row.mend(root / row.path)


def ledger_path(row: Row) -> str:
    return encode_path(os.fsencode(row.path))


def run_files() -> Counter[str]:
    """The run files of the table and beside it, by the state in which they must end."""
    return Counter(row.state for row in TABLE if row.state != "ignored") + Counter(loaded=len(HEALTHY))


async def rows_of(database: str) -> dict[str, dict[str, Any]]:
    """Each file with its state and its run's row, by path."""
    query = """
        SELECT f.path, f.state, f.reason, f.detail, r.data, r.metadata::text AS metadata, r.name, r.project, r.run_type,
            r.run_date, r.start_time, r.total_cost, r.total_tokens, r.sanitized
        FROM files f LEFT JOIN runs r ON r.run_id = f.run_id
    """
    connection = await asyncpg.connect(database)
    try:
        return {row["path"]: dict(row) for row in await connection.fetch(query)}
    finally:
        await connection.close()


async def text_at(database: str, path: str, place: str) -> str | None:
    connection = await asyncpg.connect(database)
    try:
        query = "SELECT r.data #>> $2 FROM files f JOIN runs r ON r.run_id = f.run_id WHERE f.path = $1"
        text: str | None = await connection.fetchval(query, path, place.split(","))
        return text
    finally:
        await connection.close()


def first_sweep(daemon: Running, root: Path) -> dict[str, Any]:
    """Let the first sweep meet everything that is there, and files that change meanwhile."""
    completing = [row for row in TABLE if row.mend and not row.first]
    whole = threading.Timer(COMPLETES_AFTER_S, mend, (root, completing))
    daemon.wait_for("daemon.ready")
    whole.start()
    lay(root, "during")
    sweep = daemon.wait_for("sweep.finished")
    whole.join()
    return sweep


def swept_clean(daemon: Running, after: int) -> Callable[[], dict[str, Any] | None]:
    """The newest sweep after those, when it found every run file in the state in which it must end."""

    def newest() -> dict[str, Any] | None:
        sweeps = daemon.named("sweep.finished")[after:]
        return sweeps[-1] if sweeps and Counter(sweeps[-1]["states"]) == run_files() else None

    return newest


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table."""
    lines = [("file", "expected state", "state", "reason")]
    for row in TABLE:
        stands = found.get(ledger_path(row), {"state": "ignored", "reason": None, "sanitized": None})
        state = "sanitised and loaded" if stands["sanitized"] else stands["state"]
        lines.append((row.name, row.expected, state, stands["reason"] or ""))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())  # noqa: T201 - the table is what this test is for


async def check(row: Row, found: Mapping[str, Mapping[str, Any]], database: str) -> list[str]:
    """What is not as the table says, one sentence each."""
    stands = found.get(ledger_path(row))
    if row.state == "ignored":
        return [f"{row.name}: in the ledger"] if stands else []
    if stands is None:
        return [f"{row.name}: not in the ledger"]
    expected = {"state": row.state, "reason": row.reason or None, **row.columns}
    if row.state == "loaded":
        expected["sanitized"] = list(row.sanitized) if row.sanitized else None
    wrong = [
        f"{row.name}: {column} is {stands[column]!r}, not {value!r}"
        for column, value in expected.items()
        if stands[column] != value
    ]
    for place, text in row.holds.items():
        if (holds := await text_at(database, ledger_path(row), place)) != text:
            wrong.append(f"{row.name}: {place} is {holds!r}, not {text!r}")
    return wrong


def test_the_table_is_sound() -> None:
    """Each path and each name stands in it once, and everything that is not ignored is expected to be in the ledger."""
    assert len({row.path for row in TABLE}) == len({row.name for row in TABLE}) == len(TABLE)
    assert all((row.state == "quarantined") == bool(row.reason) for row in TABLE)
    assert all((row.state == "ignored") == bool(row.ignored) for row in TABLE)


async def test_bad_input_costs_only_itself(root: Path, env: dict[str, str], database: str) -> None:
    """Everything comes to its expected state, all healthy runs are loaded, and the states of the sweep add up."""
    lay_healthy(root)
    lay(root, "before")
    closed = [row for row in TABLE if row.first == "unreadable"]
    told = sorted([ledger_path(closed[0]), CLOSED_DIRECTORY])
    with running("run", str(root), env=env, preexec_fn=bound_by_permissions) as daemon:
        sweep = first_sweep(daemon, root)
        assert sweep["states"]["unreadable"] == 1, "the file; nobody can count what is in a closed directory"
        assert sweep["findings"]["unreadable"] == 2
        assert sorted(event["path"] for event in daemon.named("file.unreadable")) == told
        lay(root, "after")
        mend(root, closed)
        swept = len(daemon.named("sweep.finished"))
        last = eventually(swept_clean(daemon, swept), why=lambda: (run_files(), daemon.tail()))
        assert daemon.stop() == 0
    found = await rows_of(database)
    show(found)
    assert [wrong for row in TABLE for wrong in await check(row, found, database)] == []
    assert last["files"] == sum(run_files().values()) == len(found)
    assert last["ignored"] == sum(row.ignored for row in TABLE)
    assert last["verdict"] == "consistent"
    assert sorted(event["path"] for event in daemon.named("file.readable")) == told
    assert len(daemon.named("file.unreadable")) == len(told), "told when it begins, not by each sweep"
    loaded = {path for path, file in found.items() if file["state"] == "loaded"}
    assert {file_of(n, directory=DIRECTORY if n < 1_000 else "healthy/2026-11-20") for n in HEALTHY} <= loaded


async def test_what_is_quarantined_says_where_and_never_what(root: Path, env: dict[str, str], database: str) -> None:
    """A detail is a sentence for an operator: it names places and sizes and quotes no content."""
    secret = b"hunter2-is-the-password"
    spoiled = [secret, b'{"id": "' + secret + b'"}', b'["' + secret, b'{"' + secret + b'": \xff}']
    for number, body in enumerate(spoiled):
        put(root, file_of(number), body)
    poisoned = document(9, run={"name": f'"{secret.decode()}"', "inputs": '{"n": 1e200000}'})
    put(root, file_of(9), poisoned)
    with running("run", str(root), env=env | {"TRACEWATCHD_WATCH__SETTLE_S": "0"}) as daemon:
        assert daemon.wait_for("sweep.finished")["states"] == {"quarantined": 5}
        assert daemon.stop() == 0
    found = await rows_of(database)
    assert len(found) == 5
    said = [file["detail"] for file in found.values()] + [str(event) for event in daemon.events]
    assert not [text for text in said if secret.decode() in text]


def test_ten_thousand_files_in_one_directory(root: Path, env: dict[str, str], database: str) -> None:
    """A directory of any size is one page after the other: all of it is loaded, and the next sweep agrees."""
    for number in range(10_000):
        (root / DIRECTORY).mkdir(parents=True, exist_ok=True)
        (root / file_of(number)).write_bytes(document(number))
    with running("run", str(root), env=env) as daemon:
        assert daemon.wait_for("sweep.finished", patience_s=60)["states"] == {"loaded": 10_000}
        assert daemon.wait_for("sweep.finished", count=2)["states"] == {"loaded": 10_000}
        assert daemon.stop() == 0
    assert sum(event["files"] for event in daemon.named("batch.committed")) == 10_000
    assert run_now(_count(database)) == 10_000


async def _count(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM runs"))
    finally:
        await connection.close()
