"""A directory as one fingerprint: the walk and the database must come to the very same one, or differ for a reason."""

from __future__ import annotations

import os
from array import array
from hashlib import sha256
from pathlib import Path

import pytest

from run_files import DIRECTORY, put, run_body, run_path
from sweeps import SOURCE, source
from tracewatchd.edges.folder import Folder
from tracewatchd.edges.survey import Survey
from tracewatchd.model.findings import Depth, FileState
from tracewatchd.model.stamp import Seen
from tracewatchd.reconcile.plan import SweepPlan
from tracewatchd.reconcile.reading import batches
from tracewatchd.store.database import TraceDatabase

ODD = ["a\nb", "a\tb", "\n", "a", "B", "a b", "a%b", "\u00e9", "\U0001f600", "\udcff", "'", '"', "\\", "{}", "a\u2028b"]
LIMIT = 1 << 20


def put_odd(root: Path) -> None:
    for number, name in enumerate(ODD, 1):
        put(root, f"{DIRECTORY}/{name}.json", run_body(number))


@pytest.mark.parametrize("read_up_to", [None, LIMIT])
async def test_files_and_ledger_give_the_same_fingerprint_whatever_names_hold(
    read_up_to: int | None, root: Path, database: str
) -> None:
    """Spaces, line ends, quotes, percents and bytes that are no text are fingerprinted alike on both sides."""
    put_odd(root)
    async with source(root, database) as here:
        await here.sweep()
        survey = here.place.folder.survey(DIRECTORY, read_up_to=read_up_to)
        summary = await here.assembly.database.directory_summary(
            SOURCE, DIRECTORY, with_sha256=read_up_to is not None, without_told=True
        )
    assert len(survey.names) == summary.files == len(ODD)
    assert survey.fingerprint == summary.fingerprint
    assert survey.read_bytes == (0 if read_up_to is None else sum(path.stat().st_size for path in root.rglob("*.json")))


def test_a_survey_sees_what_looks_and_reads_see(root: Path) -> None:
    """Stamps, and where files are read sha256s, are those of single files, in byte order; the rest is counted."""
    put_odd(root)
    (root / DIRECTORY / "deeper").mkdir()
    put(root, f"{DIRECTORY}/deeper/a.json", b"{}")
    put(root, f"{DIRECTORY}/_summary.json", b"{}")
    (root / DIRECTORY / "link.json").symlink_to(root / DIRECTORY / "a.json")
    os.mkfifo(root / DIRECTORY / "fifo.json")
    folder = Folder(root)
    survey, read = folder.survey(DIRECTORY), folder.survey(DIRECTORY, read_up_to=LIMIT)
    assert survey.ignored == read.ignored == 4
    assert list(survey.paths()) == sorted(survey.paths(), key=str.encode) == list(read.paths())
    with folder.reader() as reader:
        assert survey.stamps() == {path: reader.stamp(path) for path in survey.paths()}
        assert survey.seen() == {path: reader.seen(path) for path in survey.paths()}
        for path, seen in read.seen().items():
            assert seen == reader.seen(path, read_up_to=LIMIT)
            assert seen.sha256 == sha256(reader.read(path, LIMIT).content).digest()  # type: ignore[union-attr] # it is there


def test_what_stands_in_one_name_is_not_taken_for_several(root: Path) -> None:
    """Other names, other stamps or other bytes make another fingerprint, whatever a name holds."""
    prints: set[bytes | None] = set()
    for names in (["a", "b"], ["a.json\nb"], ["a.jsonb"], ["ab"], ["b"], ["a", "b", "c"]):
        directory = f"bot{len(prints)}/2026-11-20"
        for name in names:
            os.utime(put(root, f"{directory}/{name}.json", b"{}"), ns=(0, 0))
        survey = Folder(root).survey(directory, read_up_to=LIMIT)
        survey.directory = DIRECTORY
        survey.numbers = array("q", [2, 0, 0] * len(names))
        survey.seal()
        prints.add(survey.fingerprint)
        survey.hashes[0] = None
        survey.seal()
        prints.add(survey.fingerprint)
    assert len(prints) == 12
    assert None not in prints


async def test_a_file_stamped_after_the_year_2262_is_a_file_like_others(root: Path, database: str) -> None:
    """What 64 bits of nanoseconds cannot hold counts as their end, in ledger and sweeps alike."""
    late = put(root, run_path(1), run_body(1))
    os.utime(late, (13_569_465_600, 13_569_465_600))
    put(root, run_path(2), run_body(2))
    async with source(root, database) as here:
        await here.sweep()
        for depth in ("quick", "full", "deep"):
            result = await here.carry_out(SweepPlan(depth=depth))
            assert (result.verdict, result.states) == ("consistent", {FileState.LOADED: 2})
        survey = here.place.folder.survey(DIRECTORY)
        summary = await here.assembly.database.directory_summary(
            SOURCE, DIRECTORY, with_sha256=False, without_told=True
        )
    assert survey.stamps()[run_path(1)].mtime_ns == 2**63 - 1
    assert survey.fingerprint == summary.fingerprint


async def test_files_too_large_to_be_read_and_empty_ones_have_no_sha256(root: Path) -> None:
    """The limit is that of the line; a large file below it is read in pieces and hashed whole."""
    large = os.urandom(3 << 20)
    put(root, f"{DIRECTORY}/empty.json", b"")
    put(root, f"{DIRECTORY}/large.json", large)
    folder = Folder(root)
    seen = folder.survey(DIRECTORY, read_up_to=len(large)).seen()
    digests = {path.rpartition("/")[2]: one.sha256 for path, one in seen.items()}
    assert digests == {"empty.json": sha256(b"").digest(), "large.json": sha256(large).digest()}
    assert folder.survey(DIRECTORY, read_up_to=len(large) - 1).seen()[f"{DIRECTORY}/large.json"].sha256 is None
    with folder.reader() as reader:
        unread = reader.seen(f"{DIRECTORY}/large.json", read_up_to=10)
    assert unread == Seen(seen[f"{DIRECTORY}/large.json"].stamp)


@pytest.mark.parametrize("path", ["../2026-11-20/a.json", "./2026-11-20/a.json", "bot/../a.json", "x", ""])
def test_nothing_outside_the_layout_is_looked_at(path: str, root: Path) -> None:
    """Whatever a database says, a sweep looks at no place where no run file can be."""
    put(root.parent, "2026-11-20/a.json", run_body(1))
    put(root, run_path(2), run_body(2))
    folder = Folder(root)
    with folder.reader() as reader:
        assert reader.seen(path) is None
    survey = folder.survey(path.rpartition("/")[0])
    assert (survey.exists, survey.names) == (False, [])


@pytest.mark.parametrize("depth", ["quick", "full"])
async def test_an_unchanged_directory_is_compared_without_its_rows(
    depth: Depth, root: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both fingerprints and both sums are equal no ledger row and no version is fetched, odd names or not."""
    put_odd(root)
    put(root, f"{DIRECTORY}/quarantined.json", b"[]")
    async with source(root, database) as here:
        await here.sweep()

        async def never(*_: object) -> None:
            raise AssertionError("a page was asked for")

        monkeypatch.setattr(TraceDatabase, "ledger_page", never)
        monkeypatch.setattr(TraceDatabase, "row_versions", never)
        result = await here.carry_out(SweepPlan(depth=depth))
    assert result.states == {FileState.LOADED: len(ODD), FileState.QUARANTINED: 1}


def test_a_survey_that_met_an_unreadable_file_has_no_fingerprint() -> None:
    """What was not looked at cannot be the same."""
    survey = Survey(DIRECTORY, unreadable={run_path(1): "Permission denied"})
    survey.seal()
    assert survey.fingerprint is None


def test_batches_are_bounded_by_files_and_by_bytes() -> None:
    """No batch has more than 200 files or 2 MiB, but for a file that is larger by itself; none is left out."""
    sizes = {str(number): 10 for number in range(450)} | {"large": 9 << 20, "small": 1}
    made = list(batches(sizes))
    assert [len(batch.paths) for batch in made] == [200, 200, 50, 1, 1]
    assert [path for batch in made for path in batch.paths] == list(sizes)
    assert made[3].share_bytes >= 9 << 20
