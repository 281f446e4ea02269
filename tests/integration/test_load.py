"""``archive to-db`` below its command: what is found, offered page by page, foreseen, and counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lines import SOURCE, Bench, in_a_thread
from memory_store import MemoryStore
from run_files import put, run_body, run_id, run_path
from tracewatchd.archive.load import Load, LoadProgress, find
from tracewatchd.edges.folder import Folder, Outline
from tracewatchd.model.errors import NotCheckedError, PermanentError
from tracewatchd.model.events import FileUnreadable
from tracewatchd.model.ledger import LedgerRow
from tracewatchd.model.results import LoadResult
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.model.stamp import Stamp

DAYS = ("bot/2026-11-20", "bot/2026-11-21", "other bot/2026-11-20")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def put_in(root: Path, directory: str, first: int, count: int) -> None:
    for number in range(first, first + count):
        put(root, f"{directory}/{run_id(number)}_064412.json", run_body(number))


def load_of(bench: Bench, directories: Sequence[str]) -> Load:
    found = Outline(directories=list(directories))
    return Load(SOURCE, Folder(bench.root), found, offload=in_a_thread, tell=bench.told.append)


async def load(
    bench: Bench,
    directories: Sequence[str],
    *,
    overwrite: bool = True,
    progress: Callable[[LoadProgress], None] = lambda _: None,
) -> LoadResult:
    made = load_of(bench, directories)
    return await made.run(bench.line(overwrite=overwrite), progress)


async def foresee(bench: Bench, directories: Sequence[str]) -> LoadResult:
    made = load_of(bench, directories)
    return await made.foresee(bench.store, bench.rules)


def counted(result: LoadResult) -> dict[str, int]:
    return {name: count for name, count in asdict(result).items() if count}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, list(DAYS)),
        (Selection(folder="bot"), list(DAYS[:2])),
        (Selection(first=date(2026, 11, 21)), [DAYS[1]]),
        (Selection(last=date(2026, 11, 20)), [DAYS[0], DAYS[2]]),
        (Selection(folder="nobody"), []),
    ],
)
def test_the_selected_directories_are_found(tmp_path: Path, selection: Selection, expected: list[str]) -> None:
    """Folder and days choose directories; entries outside the layout are counted whatever is chosen."""
    for directory in DAYS:
        put_in(tmp_path, directory, 1, 1)
    put(tmp_path, "bot/notes.txt", b"")
    put(tmp_path, "shallow.json", b"{}")
    assert find(Folder(tmp_path), selection) == Outline(directories=expected, ignored=2)


def test_a_root_that_cannot_be_listed_was_not_checked(tmp_path: Path) -> None:
    """A missing root is no empty root."""
    with pytest.raises(NotCheckedError, match=r"cannot list .*nowhere: No such file") as caught:
        find(Folder(tmp_path / "nowhere"), EVERYTHING)
    assert caught.value.hint == "mount it, or give this user permission to read it"


def deny(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let nobody open this one name: root may read what permissions forbid."""
    genuine = os.open

    def guarded(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == name.encode():
            raise PermissionError(13, "Permission denied")
        return genuine(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)


def test_a_closed_folder_matters_to_those_who_chose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is told to a load that it belongs to, and to no other."""
    for directory in DAYS:
        put_in(tmp_path, directory, 1, 1)
    deny(monkeypatch, "other bot")
    for selection in (EVERYTHING, Selection(folder="other bot")):
        assert find(Folder(tmp_path), selection).unreadable == {"other bot": "Permission denied"}
    assert find(Folder(tmp_path), Selection(folder="bot")) == Outline(directories=list(DAYS[:2]))


async def test_every_file_of_every_page_is_loaded(bench: Bench) -> None:
    """Files are offered in pages, at most a few of them open, and each file is counted once."""
    put_in(bench.root, DAYS[0], 0, 2_300)
    put_in(bench.root, DAYS[1], 5_000, 40)
    seen: list[LoadProgress] = []
    result = await load(bench, DAYS[:2], progress=seen.append)
    assert counted(result) == {"loaded": 2_340}
    assert result.files == len(bench.store.rows) == 2_340
    assert [progress.done for progress in seen] == [*range(200, 2_201, 200), 2_300, 2_340]
    assert seen[-1] == LoadProgress(done=2_340, found=2_340)
    assert all(progress.done <= progress.found for progress in seen)


async def test_a_second_load_finds_everything_loaded(bench: Bench) -> None:
    """Known files are counted as such, and nothing is written."""
    put_in(bench.root, DAYS[0], 0, 5)
    await load(bench, DAYS[:1])
    attempts = len(bench.store.attempts)
    assert counted(await load(bench, DAYS[:1])) == {"already_loaded": 5}
    assert len(bench.store.attempts) == attempts


async def test_every_outcome_has_its_count(bench: Bench) -> None:
    """Quarantined, left, superseded and ignored files are told apart; nothing is told twice."""
    put(bench.root, run_path(1, 1), run_body(1, age_days=9))
    await load(bench, DAYS[:1])
    put(bench.root, run_path(1, 2), run_body(1, age_days=1, text="newer"))
    put(bench.root, run_path(1, 3), run_body(1, age_days=12, text="older"))
    put(bench.root, run_path(2), b"[]")
    put(bench.root, run_path(3), run_body(3))
    put(bench.root, f"{DAYS[0]}/_summary.json", b"{}")
    put(bench.root, f"{DAYS[0]}/deeper/x.json", b"{}")
    result = await load(bench, DAYS[:1], overwrite=False)
    assert counted(result) == {
        "loaded": 1, "left": 1, "superseded": 1, "quarantined": 1, "already_loaded": 1, "ignored": 2,
    }  # fmt: skip
    assert result.files == 5
    assert counted(await load(bench, DAYS[:1])) == {
        "updated": 1, "already_loaded": 3, "already_quarantined": 1, "ignored": 2,
    }  # fmt: skip


async def test_files_that_cannot_be_looked_at_are_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreadable in the listing or at the reading: both are counted, and the others are loaded."""
    put_in(bench.root, DAYS[0], 0, 3)
    names = [f"{run_id(number)}_064412.json" for number in range(3)]
    deny(monkeypatch, names[1])
    genuine = os.stat

    def guarded(name: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if name in {names[2], names[2].encode()}:
            raise PermissionError(13, "Permission denied")
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(os, "stat", guarded)
    result = await load(bench, DAYS[:1])
    assert counted(result) == {"loaded": 1, "unreadable": 2}
    assert counted(await foresee(bench, DAYS[:1])) == {"already_loaded": 1, "pending": 1, "unreadable": 1}


async def test_a_day_that_cannot_be_listed_costs_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day is told and counted as unreadable, and the other days are loaded."""
    put_in(bench.root, DAYS[0], 0, 3)
    put_in(bench.root, DAYS[1], 3, 2)
    deny(monkeypatch, "2026-11-20")
    assert counted(await load(bench, DAYS[:2])) == {"loaded": 2, "unreadable": 1}
    assert [event for event in bench.told if isinstance(event, FileUnreadable)] == [
        FileUnreadable(source=SOURCE, path="bot/2026-11-20", error="Permission denied")
    ]
    assert counted(await foresee(bench, DAYS[:2])) == {"already_loaded": 2, "unreadable": 1}


async def test_a_day_that_went_away_is_empty(bench: Bench) -> None:
    """Between finding a directory and listing it, it may be archived."""
    assert counted(await load(bench, ["bot/2026-11-29"])) == {}


async def test_a_store_that_fails_for_good_ends_the_load(bench: Bench) -> None:
    """Nobody waits for receipts of a line that has ended."""
    put_in(bench.root, DAYS[0], 0, 3)
    bench.store.fault = lambda _: PermanentError("permission denied for table runs")
    with pytest.raises(ExceptionGroup) as caught:
        await load(bench, DAYS[:1])
    assert caught.group_contains(PermanentError, match="permission denied")


@dataclass
class ReadOnly(MemoryStore):
    """A store that only answers questions."""

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a dry run writes nothing")


def quarantined(root: Path, path: str, setting: str | None) -> LedgerRow:
    return LedgerRow(
        path=path,
        stamp=Stamp.of((root / path).stat()),
        state="quarantined",
        file_sha256=None,
        run_id=None,
        reason=None,
        detail="refused",
        setting=setting,
        rules=1,
    )


async def test_a_dry_run_foresees_what_a_load_would_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """New, changed and again admissible files are pending, the others are what the ledger says; no file is opened."""
    put_in(bench.root, DAYS[0], 0, 2)
    await load(bench, DAYS[:1])
    put_in(bench.root, DAYS[0], 2, 2)
    os.utime(bench.root / DAYS[0] / f"{run_id(1)}_064412.json")
    for number, setting in ((7, "sanitize=reject"), (8, None)):
        put(bench.root, run_path(number), b"[]")
        bench.store.ledger[SOURCE, run_path(number)] = quarantined(bench.root, run_path(number), setting)
    put(bench.root, f"{DAYS[0]}/_summary.json", b"{}")
    bench.store = ReadOnly(ledger=bench.store.ledger)
    genuine = os.open

    def watched(name: Any, *args: Any, **kwargs: Any) -> int:
        assert not os.fsencode(name).endswith(b".json")
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", watched)
    assert counted(await foresee(bench, DAYS[:1])) == {
        "already_loaded": 1, "pending": 4, "already_quarantined": 1, "ignored": 1,
    }  # fmt: skip


async def test_a_dry_run_asks_page_by_page(bench: Bench) -> None:
    """However large a directory is, one question is about a page of it."""
    put_in(bench.root, DAYS[0], 0, 401)
    assert counted(await foresee(bench, DAYS[:1])) == {"pending": 401}
    assert [len(paths) for paths in bench.store.asked] == [200, 200, 1]


async def test_a_small_inbox_holds_a_load_back_without_stopping_it(bench: Bench) -> None:
    """Offers wait for room, so that a load of any size needs little memory."""
    bench.limits = replace(bench.limits, inbox_paths=7, batch_rows=5)
    put_in(bench.root, DAYS[0], 0, 100)
    assert counted(await load(bench, DAYS[:1])) == {"loaded": 100}
    assert max(len(attempt) for attempt in bench.store.attempts) == 5
