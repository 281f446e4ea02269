"""Looks at the places of a project-day, and the certificate that they agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeAlias

import asyncpg
import msgspec
import pytest

from run_files import DIRECTORY, put, run_body, run_id, run_path
from sweeps import SOURCE, Source, source
from tracewatchd.archive import views
from tracewatchd.archive.certify import Look, certificate_path, compare, write_beside
from tracewatchd.archive.pack import Packing, zip_path
from tracewatchd.model.certificate import Agreement, Certificate, Location, View
from tracewatchd.model.drive import DriveFile
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.manifest import Manifest
from tracewatchd.model.project_day import ProjectDay
from zips import onward

DAY = ProjectDay.of(DIRECTORY)
NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True)
class Bench:
    """A day of three runs in files, zip and database."""

    here: Source
    packing: Packing
    connection: Connection

    @property
    def files(self) -> Manifest:
        """What lies on disk now."""
        return self.packing.manifest(DAY, onward)

    @property
    def zip(self) -> Path:
        """Where the zip lies."""
        return zip_path(self.packing.zip_dir, DAY)

    async def db(self) -> View:
        """One look at the database."""
        return await views.of_db(self.here.assembly.database, SOURCE, DAY, self.files)

    def zipped(self) -> View:
        """One look at the zip."""
        return views.of_zip(self.zip, self.files)


@pytest.fixture
async def bench(root: Path, database: str, connection: Connection, tmp_path: Path) -> AsyncIterator[Bench]:
    packing = Packing(source=SOURCE, root=root, zip_dir=tmp_path / "zips", max_file_bytes=1 << 20, tell=lambda _: None)
    async with source(root, database) as here:
        here.put_runs(3)
        await here.sweep()
        packing.carry_out(DAY, onward)
        yield Bench(here, packing, connection)


def name(number: int) -> str:
    return run_path(number).rpartition("/")[2]


async def test_places_that_hold_the_same_agree(bench: Bench) -> None:
    """Zip and database against the files, with counts."""
    assert bench.zipped() == View(location=Location.ZIP, state="agrees", runs=3, files=3)
    assert await bench.db() == View(location=Location.DB, state="agrees", runs=3, files=3)


async def test_the_database_lacks_what_has_no_row_or_another(bench: Bench) -> None:
    """A row that is gone, a row of other bytes that nobody knows, and a file that was never loaded."""
    await bench.connection.execute("DELETE FROM runs WHERE run_id = $1", run_id(1))
    await bench.connection.execute("UPDATE runs SET file_sha256 = sha256('x') WHERE run_id = $1", run_id(2))
    put(bench.here.root, run_path(4), run_body(4))
    view = await bench.db()
    assert (view.state, view.files, view.runs) == ("differs", 1, 1)
    assert set(view.differences) == {f"{name(1)}: missing", f"{name(2)}: missing", f"{name(4)}: missing"}


async def test_the_database_lacks_what_is_in_quarantine(bench: Bench) -> None:
    """A quarantined file is known, and held by nobody but the files."""
    put(bench.here.root, f"{DIRECTORY}/bad.json", b"[]")
    await bench.here.sweep()
    view = await bench.db()
    assert (view.state, list(view.differences)) == ("differs", ["bad.json: missing"])


async def test_a_row_of_a_newer_file_of_the_run_is_as_good(bench: Bench) -> None:
    """A superseded file is what promise 1 calls held: the row is the newer version that another file brought."""
    other = f"{DIRECTORY.partition('/')[0]}/2026-11-30/{name(1)}"
    put(bench.here.root, other, run_body(1, age_days=0, text="newer"))
    await bench.here.sweep()
    assert (await bench.db()).state == "agrees"


async def test_a_database_that_knows_more_files_differs(bench: Bench) -> None:
    """A file that was removed from disk is still acknowledged in the ledger."""
    (bench.here.root / run_path(1)).unlink()
    view = await bench.db()
    assert list(view.differences) == [f"{name(1)}: not among the files"]


async def test_zips_that_are_missing_damaged_or_of_another_state(bench: Bench) -> None:
    """Each is told as what it is."""
    put(bench.here.root, run_path(4), run_body(4))
    assert list(bench.zipped().differences) == [f"{name(4)}: missing"]
    content = bench.zip.read_bytes()
    bench.zip.write_bytes(content[: len(content) // 2])
    damaged = bench.zipped()
    assert damaged.state == "differs"
    assert str(bench.zip) in damaged.detail or "zip" in damaged.detail
    bench.zip.unlink()
    assert bench.zipped().state == "absent"


class DriveOf:
    """An archive on Drive that holds these files of every day."""

    def __init__(self, *files: DriveFile) -> None:
        self._files = list(files)

    async def find(self, _: ProjectDay) -> list[DriveFile]:
        return self._files


def on_drive(day_digest: str, *, sha256: str = "aa", checksum: str = "aa") -> DriveFile:
    return DriveFile(id="1", sha256_checksum=checksum, app_properties={"day_digest": day_digest, "zip_sha256": sha256})


async def test_drive_is_compared_without_download(bench: Bench) -> None:
    """By the day digest that was uploaded and Drive's own checksum; duplicates are told."""
    files = bench.files
    good, old = on_drive(files.day_digest), on_drive("00")
    changed = on_drive(files.day_digest, checksum="bb")
    unsummed = on_drive(files.day_digest, checksum="")

    async def look(*there: DriveFile) -> tuple[str, str]:
        view = await views.of_drive(DriveOf(*there), DAY, files)
        return view.state, view.detail

    assert await look() == ("absent", "Drive has no zip of the day")
    assert await look(good) == await look(unsummed) == ("agrees", "")
    assert await look(good, old) == ("agrees", "1 more zips on Drive say that they are this day's")
    assert await look(old) == ("differs", "the zip on Drive is of another state of the day")
    assert await look(changed) == ("differs", "the file was changed on Drive after it was uploaded")


def failing(error: Exception) -> Look:
    async def look(_: Manifest) -> View:
        raise error

    return look


async def agreed(bench: Bench, **looks: Look) -> Agreement:
    async def db(files: Manifest) -> View:
        return await views.of_db(bench.here.assembly.database, SOURCE, DAY, files)

    chosen: dict[Location, Look] = {Location.DB: db, **{Location(key): look for key, look in looks.items()}}
    return await compare(SOURCE, bench.files, chosen, checked_at=NOW)


async def test_a_certificate_is_kept_in_the_database_and_beside_the_zip(bench: Bench) -> None:
    """Each is one more of the day; the last one counts, and the day digest is the files'."""
    agreement = await agreed(bench)
    assert (agreement.verdict, agreement.is_certifiable) == ("consistent", True)
    certificate = Certificate.of(agreement)
    store = bench.here.assembly.database
    for _ in range(2):
        await store.certify(certificate)
        write_beside(bench.zip, certificate)
    assert await store.certificates(SOURCE) == {DIRECTORY: certificate}
    assert await bench.connection.fetchval("SELECT count(*) FROM certificates") == 2
    lines = certificate_path(bench.zip).read_bytes().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [
        {
            "source": SOURCE,
            "project": DAY.folder,
            "date": str(DAY.day),
            "certified_at": "2026-11-25T12:00:00.123456+00:00",
            "locations": ["files", "db"],
            "runs": 3,
            "files": 3,
            "day_digest": bench.files.day_digest,
        }
    ] * 2


async def test_a_place_that_fails_is_unchecked_and_the_others_are_looked_at(bench: Bench) -> None:
    """The sentence of what failed and what to do stands in its view; nothing is certified."""
    agreement = await agreed(
        bench,
        drive=failing(TransientError("Drive did not answer", hint="try again later")),
        langsmith=failing(PermanentError("refused")),
    )
    assert (agreement.verdict, agreement.is_certifiable) == ("not_checked", False)
    assert {view.location: (view.state, view.detail) for view in agreement.views} == {
        Location.FILES: ("agrees", ""),
        Location.DB: ("agrees", ""),
        Location.DRIVE: ("not_checked", "Drive did not answer; try again later"),
        Location.LANGSMITH: ("not_checked", "refused"),
    }


def test_a_project_day_is_a_directory() -> None:
    """And the other way round."""
    assert ProjectDay.of("support-bot/2026-11-20") == ProjectDay("support-bot", date(2026, 11, 20))
