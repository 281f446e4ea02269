"""Killed in the middle of repair and rollback: journal, rows and ledger agree, and the next one ends clean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from damage import digest
from one_shot import Desk
from repairs import workshop
from run_files import run_body, run_id
from running import COMMAND, PATIENCE_S
from stores import Plain, plainly, until
from tracewatchd.model.fixes import FixKind
from tracewatchd.store.statements import statement

RUNS = 12
FOUR = (1, RUNS // 3, RUNS // 2, RUNS)
"""The runs at which a process is killed, at each point: 56 times in all."""
LOCK = 7
HURT = "UPDATE runs SET extracted_at = '2099-01-01', data = data || '{\"text\": \"hurt\"}', file_sha256 = sha256('x')"

REPAIRING = ("reconcile", "--once", "--fix", "mismatch", "--yes")
REPAIR_POINTS = {
    "the entry is begun": "BEFORE INSERT ON fixes",
    "the row leaves": "BEFORE DELETE ON runs",
    "the row has left": "AFTER DELETE ON runs",
    "the row is written": "BEFORE INSERT ON runs",
    "the ledger is written": "BEFORE INSERT ON ledger",
    "the entry is finished": "BEFORE UPDATE ON fixes",
    "the transaction commits": "AFTER INSERT ON fixes DEFERRABLE INITIALLY DEFERRED",
}
ROLLBACK_POINTS = {
    "the row leaves": "BEFORE DELETE ON runs",
    "the row has left": "AFTER DELETE ON runs",
    "the row comes back": "BEFORE INSERT ON runs",
    "the ledger row leaves": "BEFORE DELETE ON ledger",
    "the ledger row comes back": "BEFORE INSERT ON ledger",
    "the entry changes its state": "BEFORE UPDATE ON fixes",
    "the transaction commits": "AFTER UPDATE ON fixes DEFERRABLE INITIALLY DEFERRED",
}
_LAST_WORDS = """
SELECT DISTINCT ON (run_id) run_id, run_after_sha256, ledger_after::text FROM fixes
WHERE state = 'applied' ORDER BY run_id, number DESC
"""


@dataclass(frozen=True)
class Patient:
    """Runs whose rows were hurt, and what they were then."""

    desk: Desk
    plain: Plain
    hurt: Any
    each: dict[UUID, str]

    async def agree(self) -> None:
        """See that row and ledger row of every run are what the newest applied fix left, or as they were hurt."""
        words = await self.plain.fetch(_LAST_WORDS)
        now = await _each(self.plain)
        rows = await self.plain.fetch(statement("fix_digests", "public"), list(self.each))
        digests = {row["run_id"]: row["digest"] for row in rows}
        rows = await self.plain.fetch("SELECT run_id, jsonb_build_array(to_jsonb(l))::text AS image FROM ledger l")
        ledger = {row["run_id"]: row["image"] for row in rows}
        for run, after, ledger_after in words:
            assert (digests[run], ledger[run]) == (after, ledger_after)
        for run in self.each.keys() - {run for run, _, _ in words}:
            assert now[run] == self.each[run]

    async def repair(self) -> UUID:
        """A repair to its end: nothing stays as it was hurt. Says under which id the last fix is kept."""
        process = await self.start(*REPAIRING)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        assert await self.plain.fetchval("SELECT count(*) FROM runs WHERE data ->> 'text' = 'hello'") == RUNS
        await self.agree()
        return UUID(str(await self.plain.fetchval("SELECT repair_id FROM fixes ORDER BY number DESC LIMIT 1")))

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        """Start a command of ours."""
        return await asyncio.create_subprocess_exec(
            COMMAND, *command, env=self.desk.env, stdout=asyncio.subprocess.DEVNULL, cwd=self.desk.directory
        )

    async def roll_back(self) -> None:
        """Everything that is applied is put back, and all is as it was hurt."""
        async with workshop(self.desk.root, self.desk.database, {FixKind.MISMATCH}) as shop:
            await shop.roll_all_back()
            async for fix in shop.store.fixes(state="rolled_back"):
                await shop.store.release(fix.fix_id)
        await self.plain.execute("DELETE FROM fixes")
        assert await digest(self.plain) == self.hurt


async def _each(plain: Plain) -> dict[UUID, str]:
    """Row and ledger row of every run, over all columns."""
    query = "SELECT run_id, md5(r::text || l::text) AS digest FROM runs r JOIN ledger l USING (run_id)"
    return {row["run_id"]: row["digest"] for row in await plain.fetch(query)}


@pytest.fixture
async def patient(tmp_path: Path, database: str) -> AsyncIterator[Patient]:
    # Whoever is killed leaves a lease, which the next one waits out.
    desk = Desk(tmp_path, database, {"TRACEWATCHD_DATABASE__LEASE_TTL_S": "1"})
    for number in range(1, RUNS + 1):
        desk.put(number, run_body(number))
    assert desk.run("archive", "to-db", "--all").returncode == 0
    async with plainly(database) as plain:
        await plain.execute(HURT)
        await plain.execute(
            f"CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" PERFORM pg_advisory_xact_lock({LOCK}); RETURN coalesce(NEW, OLD); END $$"
        )
        yield Patient(desk, plain, await digest(plain), await _each(plain))


@asynccontextmanager
async def waiting(patient: Patient, point: str, number: int, *command: str) -> AsyncIterator[tuple[Any, int]]:
    """A command of which the statement at this point, about this run, waits; gives its process and its backend."""
    timing = "CONSTRAINT TRIGGER" if "DEFERRABLE" in point else "TRIGGER"
    row = "OLD" if "DELETE" in point else "NEW"
    await patient.plain.execute(
        f"CREATE {timing} waits {point} FOR EACH ROW"
        f" WHEN ({row}.run_id = '{run_id(number)}') EXECUTE FUNCTION wait_here()"
    )
    table = point.split()[3]
    await patient.plain.execute("SELECT pg_advisory_lock($1)", LOCK)
    process = await patient.start(*command)
    try:
        backend = await _backend_that_waits(patient)
        yield process, backend
    finally:
        await patient.plain.execute("SELECT pg_advisory_unlock($1)", LOCK)
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        await until(lambda: _nobody(patient), patience_s=PATIENCE_S)
        await patient.plain.execute(f"DROP TRIGGER waits ON {table}")


async def _backend_that_waits(patient: Patient) -> int:
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    await until(lambda: patient.plain.fetchval(query), patience_s=PATIENCE_S)
    return int(await patient.plain.fetchval(query))


async def _nobody(patient: Patient) -> bool:
    return not await patient.plain.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def _rolling_back(repair_id: UUID) -> tuple[str, ...]:
    return "archive", "fixes", "rollback", "--repair-id", str(repair_id), "--yes"


@pytest.mark.parametrize("point", REPAIR_POINTS.values(), ids=REPAIR_POINTS)
async def test_killed_in_a_repair(patient: Patient, point: str) -> None:
    """At each named point: of each run all is done, journal included, or nothing; the next repair does the rest."""
    for number in FOUR:
        async with waiting(patient, point, number, *REPAIRING) as (process, _):
            process.kill()
        await patient.agree()
        await patient.repair()
        await patient.roll_back()


@pytest.mark.parametrize("point", ROLLBACK_POINTS.values(), ids=ROLLBACK_POINTS)
async def test_killed_in_a_rollback(patient: Patient, point: str) -> None:
    """At each named point: of each run all is put back, journal included, or nothing; the next rollback ends it."""
    for number in FOUR:
        repair_id = await patient.repair()
        async with waiting(patient, point, number, *_rolling_back(repair_id)) as (process, _):
            process.kill()
        await patient.agree()
        await patient.roll_back()


@pytest.mark.parametrize("point", REPAIR_POINTS.values(), ids=REPAIR_POINTS)
async def test_a_repair_that_loses_its_backend_goes_on(patient: Patient, point: str) -> None:
    """A server that ends the connection costs a retry: the same command ends clean, with one fix for each run."""
    async with waiting(patient, point, 3, *REPAIRING) as (process, backend):
        await patient.plain.execute("SELECT pg_terminate_backend($1)", backend)
    assert process.returncode == 0
    await patient.agree()
    assert await patient.plain.fetchval("SELECT count(*) FROM fixes") == RUNS
    await patient.roll_back()


@pytest.mark.parametrize("point", ROLLBACK_POINTS.values(), ids=ROLLBACK_POINTS)
async def test_a_rollback_that_loses_its_backend_goes_on(patient: Patient, point: str) -> None:
    """The same for a rollback: it ends with everything put back, exactly."""
    repair_id = await patient.repair()
    async with waiting(patient, point, 3, *_rolling_back(repair_id)) as (process, backend):
        await patient.plain.execute("SELECT pg_terminate_backend($1)", backend)
    assert process.returncode == 0
    assert await digest(patient.plain) == patient.hurt


@pytest.mark.parametrize("seed", range(6))
async def test_killed_at_any_moment(patient: Patient, seed: int) -> None:
    """After any number of fixes, in repair and in rollback: nothing is half done, and what follows ends clean."""
    random = Random(seed)
    await _killed_when(patient, "applied", random.randint(1, RUNS - 1), *REPAIRING)
    await patient.repair()
    every = [str(row["fix_id"]) for row in await patient.plain.fetch("SELECT fix_id FROM fixes")]
    await _killed_when(
        patient, "rolled_back", random.randint(1, RUNS - 1), "archive", "fixes", "rollback", *every, "--yes"
    )
    await patient.roll_back()


async def _killed_when(patient: Patient, state: str, count: int, *command: str) -> None:
    process = await patient.start(*command)
    query = "SELECT count(*) >= $2 FROM fixes WHERE state = $1"
    await until(lambda: patient.plain.fetchval(query, state, count), patience_s=PATIENCE_S)
    process.kill()
    await process.wait()
    await until(lambda: _nobody(patient), patience_s=PATIENCE_S)
    await patient.agree()
