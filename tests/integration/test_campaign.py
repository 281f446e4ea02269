"""The corruption campaign: random damage is found, all of it and nothing else, put right, and the repair undone."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeAlias
from uuid import uuid4

import pytest

from damage import DAMAGES, UNLOADED, Victim, World, digest, moved, victim
from postgres import Server
from run_files import put
from stores import plainly
from sweeps import SOURCE, Source, source
from tracewatchd.model.findings import ERRORS, Depth, Kind, VerificationResult
from tracewatchd.model.fixes import FixKind, Journal
from tracewatchd.reconcile.plan import SweepPlan

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3_600)]

_TABLE = Path(__file__).parents[2] / "docs" / "damage.md"
_FIRST = int(os.environ.get("CAMPAIGN_FIRST", "1"))
_SEEDS = int(os.environ.get("CAMPAIGN_SEEDS", "300"))
_CHUNK = int(os.environ.get("CAMPAIGN_CHUNK", "25"))
_DEPTHS: tuple[Depth, ...] = ("quick", "full", "deep")
_RUNS = 40
_DAMAGED = 14
_KIND_AND_PLACE = re.compile(r"`(\w+)`(?: (at the new place|of the run))?")

Told: TypeAlias = tuple[Kind, str]


class Expected(NamedTuple):
    """One line of the table, as it is written there."""

    cells: dict[Depth, str]

    def of(self, hurt: Victim, depth: Depth) -> list[Told]:
        """The findings that damage to this victim must give at a depth."""
        subjects = {"": hurt.path, "at the new place": moved(hurt), "of the run": str(hurt.run_id)}
        return [(Kind(kind), subjects[place]) for kind, place in _KIND_AND_PLACE.findall(self.cells[depth])]


def table() -> dict[str, Expected]:
    """The table of docs/damage.md, by the name of the damage."""
    rows = [line.strip("| \n").split(" | ") for line in _TABLE.read_text(encoding="utf-8").splitlines()]
    return {
        row[0].strip("`"): Expected(dict(zip(_DEPTHS, row[2:], strict=True)))
        for row in rows
        if len(row) == 5 and row[0].startswith("`")
    }


class Score:
    """Findings over all seeds, by kind: rightly told, wrongly told, and not told."""

    def __init__(self) -> None:
        self._right: Counter[Kind] = Counter()
        self._wrong: Counter[Kind] = Counter()
        self._missed: Counter[Kind] = Counter()
        self.faults: list[str] = []

    def add(self, where: str, expected: Iterable[Told], told: Iterable[Told]) -> None:
        """Compare what one sweep told with what it had to tell."""
        due, got = Counter(expected), Counter(told)
        self._right.update(kind for kind, _ in (due & got).elements())
        self._wrong.update(kind for kind, _ in (got - due).elements())
        self._missed.update(kind for kind, _ in (due - got).elements())
        self.faults += [f"{where}: not told: {kind} {subject}" for kind, subject in (due - got).elements()]
        self.faults += [f"{where}: wrongly told: {kind} {subject}" for kind, subject in (got - due).elements()]

    def __str__(self) -> str:
        kinds = sorted(self._right.keys() | self._wrong.keys() | self._missed.keys())
        return "\n".join(["kind         found  precision  recall", *map(self._line, kinds)])

    def _line(self, kind: Kind) -> str:
        right = self._right[kind]
        precision = right / max(1, right + self._wrong[kind])
        recall = right / max(1, right + self._missed[kind])
        return f"{kind:<12} {right:>5}  {precision:>9.3f}  {recall:>6.3f}"


def _told(result: VerificationResult) -> list[Told]:
    assert result.counts.total() == len(result.findings), "every finding is kept"
    return [(finding.kind, finding.path or str(finding.run_id)) for finding in result.findings]


async def _load(here: Source) -> list[Told]:
    """Forty runs, a tenth of them in an older version too, and a file that cannot be stored; what stands from then."""
    for number in range(1, _RUNS + 1):
        put(here.root, victim(number).path, victim(number).body())
    for number in range(_RUNS + 1, _RUNS + 5):
        twin = victim(number)
        put(here.root, twin.path.replace("_064400", "_000001"), twin.body(days=-3))
        put(here.root, twin.path, twin.body())
    poison = victim(_RUNS + 5).path
    put(here.root, poison, b"[]")
    loaded = await here.carry_out(SweepPlan(fixes=frozenset({FixKind.MISSING})))
    assert loaded.verdict == "consistent", loaded
    return [(Kind.QUARANTINED, poison)]


def _choose(random: Random) -> list[tuple[str, Victim]]:
    """Damage of random kinds, each to a run of its own."""
    names = random.choices(sorted(DAMAGES), k=_DAMAGED)
    loaded = random.sample(range(1, _RUNS + 1), _DAMAGED)
    return [
        (name, victim(number + 1_000 if name in UNLOADED else number))
        for name, number in zip(names, loaded, strict=True)
    ]


async def _detect(
    here: Source, chosen: list[tuple[str, Victim]], standing: list[Told], score: Score, seed: int
) -> None:
    lines = table()
    for depth in _DEPTHS:
        expected = [told for name, hurt in chosen for told in lines[name].of(hurt, depth)]
        result = await here.carry_out(SweepPlan(depth=depth, dry_run=True))
        score.add(f"seed {seed}, {depth}", [*standing, *expected], _told(result))


async def _repair(here: Source, random: Random, seed: int) -> Journal:
    """Put everything right, deeply; a sweep after it finds nothing bad."""
    journal = Journal(repair_id=uuid4(), default=FixKind.MISSING)
    wanted = frozenset(FixKind) - {random.choice([FixKind.GONE, FixKind.GONE_ROWS])}
    await here.carry_out(SweepPlan(depth="deep", fixes=wanted), journal=journal)
    # What is lost can only be forgotten: neither file nor row is left to make it from.
    await here.carry_out(SweepPlan(fixes=frozenset({FixKind.GONE_ROWS})), journal=journal)
    after = await here.carry_out(SweepPlan(depth="deep", dry_run=True))
    assert not after.found(ERRORS), (seed, after.findings)
    assert after.verdict == "consistent", (seed, after)
    return journal


async def _undo(here: Source, journal: Journal) -> None:
    database = here.assembly.database
    done = [fix async for fix in database.fixes(source=SOURCE, repair_id=journal.repair_id)]
    for fix in sorted(done, key=lambda fix: fix.number, reverse=True):
        undone = await database.roll_back(fix.fix_id)
        assert undone.refused is None, undone


async def _one_seed(seed: int, root: Path, dsn: str, score: Score) -> None:
    random = Random(seed)
    async with (
        source(root, dsn, {"sweep.findings_told": 1_000, "watch.settle_s": 0.01}) as here,
        plainly(dsn) as database,
    ):
        standing = await _load(here)
        world = World(root, database, random)
        chosen = _choose(random)
        for name, hurt in chosen:
            await DAMAGES[name](world, hurt)
        await _detect(here, chosen, standing, score, seed)
        before = await digest(database)
        journal = await _repair(here, random, seed)
        await _undo(here, journal)
        assert await digest(database) == before, seed


@pytest.mark.parametrize("first", range(_FIRST, _FIRST + _SEEDS, _CHUNK))
async def test_damage_is_found_put_right_and_the_repair_undone(
    first: int, tmp_path: Path, server: Server, template: str
) -> None:
    """Sweeps tell exactly what docs/damage.md says, at each depth; repair leaves nothing bad; rollback gives back all.

    The same digest over all columns of both tables stands before the repair and after its rollback.
    """
    score = Score()
    for seed in range(first, min(first + _CHUNK, _FIRST + _SEEDS)):
        dsn = server.create_database(template)
        root = tmp_path / str(seed)
        root.mkdir()
        await _one_seed(seed, root, dsn, score)
        server.drop_database(dsn)
    # Shown by `make campaign`.
    print(f"\nseeds {first} to {min(first + _CHUNK, _FIRST + _SEEDS) - 1}\n{score}")  # noqa: T201 - the campaign's result
    assert score.faults == []


def test_the_table_and_the_damage_name_the_same_things() -> None:
    """Each line of docs/damage.md is a damage of the campaign, and the other way round."""
    assert sorted(table()) == sorted(DAMAGES)
