"""``kill -9`` at random moments of a full sweep: with --resume everything comes out as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from archive_world import DAYS, PROJECT, World, world
from fixed_clock import PROGRAM
from postgres import Server
from running import PATIENCE_S
from zips import snapshot

_RUNS = 180
_KILLS = 30
_CHUNK = 262_144
_SWEEP = ("archive", "full-sweep", "--project", PROJECT, "--start-date", str(DAYS[0]), "--end-date", str(DAYS[-1]))
_ROWS = "SELECT run_id::text, encode(file_sha256, 'hex'), file_mtime_ns, md5(data::text) FROM runs ORDER BY 1"


@dataclass(frozen=True)
class Outcome:
    """What a full sweep left everywhere, and what it took."""

    files: dict[str, Any]
    zips: dict[str, str]
    drive: dict[str, bytes]
    rows: list[Any]
    pages: int
    sent_bytes: int


@pytest.fixture
def place(tmp_path: Path, server: Server, template: str) -> Iterator[World]:
    database = server.create_database(template)
    with world(tmp_path, database, _RUNS) as made:
        made.desk.settings["TRACEWATCHD_DRIVE__CHUNK_BYTES"] = str(_CHUNK)
        yield made
    server.drop_database(database)


def sweep(here: World, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *_SWEEP, *words],
        env=here.desk.env | {"PYTHONPATH": os.fspath(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(here: World) -> Outcome:
    zips = here.desk.directory / "zips"
    # What a killed writer left under a temporary name is removed by a fetch that finds it an hour later.
    files = {name: seen for name, seen in snapshot(here.desk.root).items() if "/." not in name}
    return Outcome(
        files=files,
        zips={str(path.relative_to(zips)): sha256(path.read_bytes()).hexdigest() for path in zips.rglob("*.zip")},
        drive={file.name: file.content for file in here.drive.drive.files.values() if file.name.endswith(".zip")},
        rows=here.desk.rows(_ROWS),
        pages=here.langsmith.count("POST", "/v2/runs/query"),
        sent_bytes=here.drive.uploaded_bytes,
    )


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, server: Server, template: str
) -> Iterator[tuple[Outcome, float]]:
    """What comes of a sweep that nobody kills, and how long it takes."""
    database = server.create_database(template)
    with world(tmp_path_factory.mktemp("undisturbed"), database, _RUNS) as here:
        here.desk.settings["TRACEWATCHD_DRIVE__CHUNK_BYTES"] = str(_CHUNK)
        began = time.monotonic()
        process = sweep(here)
        said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        yield outcome(here), time.monotonic() - began
    server.drop_database(database)


@pytest.mark.parametrize("number", range(_KILLS))
def test_a_killed_sweep_is_resumed_to_the_same_end(
    number: int, place: World, undisturbed: tuple[Outcome, float]
) -> None:
    """Files, zips, Drive and rows are the same to the byte; at most a page a day and a chunk a day are done twice."""
    expected, takes_s = undisturbed
    process = sweep(place)
    moment_s = Random(number).uniform(0.1, 1.1) * takes_s
    try:
        process.communicate(timeout=moment_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
    resumed = sweep(place, "--resume", "--json")
    said, complaints = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, (said, complaints)
    found = outcome(place)
    assert found.files == expected.files
    assert (found.zips, found.drive, found.rows) == (expected.zips, expected.drive, expected.rows)
    assert found.pages <= expected.pages + len(DAYS)
    assert found.sent_bytes <= expected.sent_bytes + len(DAYS) * _CHUNK
