"""Uploads to a real HTTP server in all its weather: what is sent, what is there afterwards, what is said."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from drive_faults import (
    Fault,
    corrupted,
    internal_error,
    lost_answer,
    rate_limited,
    refused,
    reset,
    session_gone,
    short_range,
    stall,
    too_many,
    unauthorized,
    unavailable,
)
from drive_server import DriveServer, serving_drive
from drive_state import DriveState
from drives import CHUNK, DAY, HASTY, QUICK, Place, noise, put_zip
from soon import soon
from tracewatchd.cli.command import status_of
from tracewatchd.cli.upload import EXITS
from tracewatchd.edges.claiming import Claim
from tracewatchd.edges.drive import Drive
from tracewatchd.edges.drive_auth import ServiceAccount
from tracewatchd.model.drive import DriveFile, Identity, UploadResult
from tracewatchd.model.errors import PermanentError, PoisonError, TracewatchError, TransientError
from tracewatchd.model.events import UploadFailed, UploadFinished
from tracewatchd.model.project_day import ProjectDay

NAME = "2026-11-20.zip"


async def upload(place: Place, **options: Any) -> UploadResult:
    async with place.uploads() as uploads:
        return await uploads.carry_out(DAY, **options)


def held(server: DriveServer) -> list[bytes]:
    """What the files of the day's name on Drive hold."""
    return [file.content for file in server.drive.named(NAME) if file.revisions and not file.trashed]


def finished(place: Place) -> bool:
    """Whether all that is remembered is which file was brought, and no way to write into it."""
    (left,) = (path for path in place.state_dir.rglob("*.*") if path.is_file())
    return left == place.hint and json.loads(left.read_bytes())["session"] == ""


async def test_a_zip_is_brought_to_drive(tmp_path: Path) -> None:
    """The zip lies in the project's folder, byte for byte, with its identity as properties; no hint is left."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        path, manifest = place.put()
        result = await upload(place)
        (file,), (folder,) = server.drive.named(NAME), server.drive.named("support-bot")
        assert server.drive.content(file.id) == path.read_bytes()
        assert (result.what, result.file_id, result.duplicates) == ("created", file.id, ())
        assert result.sent_bytes == result.size_bytes == server.uploaded_bytes == path.stat().st_size
        assert result.zip_sha256 == sha256(path.read_bytes()).hexdigest()
        assert file.parents == [folder.id]
        assert file.app_properties == {
            "archive": server.drive.root_id,
            "kind": "tracewatchd.day-zip",
            "project": "support-bot",
            "day": "2026-11-20",
            "day_digest": manifest.day_digest,
            "zip_sha256": result.zip_sha256,
        }
        assert finished(place)
        (told,) = place.events
        assert isinstance(told, UploadFinished)
        assert (told.what, told.sent_bytes) == ("created", result.sent_bytes)


async def test_the_same_day_is_not_sent_again(tmp_path: Path) -> None:
    """Where Drive holds this day digest nothing is uploaded, whatever the file is called now and wherever it lies."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        place.put()
        first = await upload(place)
        server.drive.files[first.file_id].name = "renamed"
        server.drive.files[first.file_id].parents = [server.drive.root_id]
        again = await upload(place)
        assert (again.what, again.file_id, again.sent_bytes) == ("unchanged", first.file_id, 0)
        assert server.uploaded_bytes == first.size_bytes
        assert again.zip_sha256 == first.zip_sha256


@pytest.mark.parametrize("why", ["forced", "another digest", "changed on Drive"])
async def test_another_revision(tmp_path: Path, why: str) -> None:
    """Force, another day digest or bytes that somebody put there make a revision of the same file, not a twin."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        path, manifest = place.put()
        first = await upload(place)
        if why == "another digest":
            path, manifest = place.put(seed=2)
        elif why == "changed on Drive":
            server.drive._revise(server.drive.files[first.file_id], b"something else")
        second = await upload(place, force=why == "forced")
        (file,) = server.drive.named(NAME)
        assert (second.what, second.file_id) == ("updated", first.file_id)
        assert server.drive.content(file.id) == path.read_bytes()
        assert file.app_properties["day_digest"] == manifest.day_digest
        assert len(server.drive.revisions(file.id)) == (3 if why == "changed on Drive" else 2)


async def test_two_files_that_say_they_are_the_day(tmp_path: Path) -> None:
    """The oldest is everyone's choice, the other one is told and left; a file of the same name alone is a stranger."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        place.put()
        stranger = server.drive.add_file(NAME, b"not ours")
        first = await upload(place)
        twin = server.drive.add_file(
            "copy", b"x", app_properties={**server.drive.files[first.file_id].app_properties, "day_digest": "0" * 64}
        )
        place.put(seed=2)
        second = await upload(place)
        assert (second.what, second.file_id, second.duplicates) == ("updated", first.file_id, (twin.id,))
        assert (server.drive.content(stranger.id), server.drive.content(twin.id)) == (b"not ours", b"x")


async def test_what_would_be_done(tmp_path: Path) -> None:
    """Foreseeing says what an upload would do and writes nothing, neither there nor here."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        path, _ = place.put()
        async with place.uploads() as uploads:
            foreseen = await uploads.foresee(DAY)
            assert {request.method for request in server.requests} == {"GET", "POST"}
            assert {request.path for request in server.requests if request.method == "POST"} == {"/token"}
            assert (foreseen.what, foreseen.sent_bytes) == ("created", path.stat().st_size)
            assert not place.state_dir.exists()
            await uploads.carry_out(DAY)
            assert (await uploads.foresee(DAY)).what == "unchanged"
            assert (await uploads.foresee(DAY, force=True)).what == "updated"


async def test_a_shared_drive(tmp_path: Path) -> None:
    """In a shared drive all works the same, in a service account's name too: searches look into it."""
    with serving_drive(DriveState()) as server:
        shared = server.drive.add_shared_drive("team")
        place = Place(tmp_path, server, folder=server.drive.add_folder("archive", shared.id).id)
        place.put()
        grant = ServiceAccount(server.oauth.service_account(), tmp_path)
        for what in ("created", "unchanged"):
            async with place.uploads(grant) as uploads:
                assert (await uploads.carry_out(DAY)).what == what
        assert len(server.drive.named("support-bot")) == 1
        for search in server.asked("files.list"):
            assert (search.query["corpora"], search.query["driveId"]) == ("drive", shared.id)


async def test_a_service_account_has_no_storage(tmp_path: Path) -> None:
    """Outside of a shared drive a service account can keep nothing, and is told what to use instead."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        place.put()
        async with place.uploads(ServiceAccount(server.oauth.service_account(), tmp_path)) as uploads:
            with pytest.raises(PermanentError, match="storageQuotaExceeded") as failed:
                await uploads.carry_out(DAY)
        assert "use a shared drive, or `tracewatchd archive drive login`" in failed.value.hint


async def test_a_folder_that_is_not_shown(tmp_path: Path) -> None:
    """A folder that the account does not see, that is none or that lies in the bin is told by its id."""
    with serving_drive(DriveState()) as server:
        file = server.drive.add_file("file", b"")
        binned = server.drive.add_folder("old")
        binned.trashed = True
        for folder, told in (("nobody", "shows this account no"), (file.id, "is no folder"), (binned.id, "in the bin")):
            place = Place(tmp_path, server, folder=folder)
            place.put()
            with pytest.raises(PermanentError, match=told) as failed:
                await upload(place)
            assert folder in str(failed.value)


async def test_projects_that_share_a_long_name(tmp_path: Path) -> None:
    """Names longer than a property may be are told apart all the same, and nothing is refused as too long."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        days = [ProjectDay("é" * 100 + end, DAY.day) for end in "ab"]
        async with place.uploads() as uploads:
            for number, day in enumerate(days):
                put_zip(place.zip_dir, {"a_000000.json": noise(100, number)}, day)
                assert (await uploads.carry_out(day)).what == "created"
            assert [(await uploads.carry_out(day)).what for day in days] == ["unchanged"] * 2


async def test_more_zips_than_a_page_holds(tmp_path: Path) -> None:
    """Every page of a list is read: of 1,101 zips each one is found."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        properties = {"archive": server.drive.root_id, "kind": "tracewatchd.day-zip"}
        for number in range(1_101):
            server.drive.add_file(NAME, b"x", app_properties=properties | {"project": str(number)})
        async with place.drive() as drive:
            found = await drive.zips()
        assert sorted(int(file.app_properties["project"]) for file in found) == list(range(1_101))
        assert len(server.asked("files.list")) == 2


# ---------------------------------------------------------------------------------------------------------------------
# Weather that heals


HEALS: dict[str, Sequence[Fault]] = {
    "a chunk is answered 503": [unavailable(on="upload.chunk")],
    "a chunk is answered 503 and is there": [unavailable(on="upload.chunk", keep_bytes=CHUNK)],
    "a chunk is answered 500": [internal_error(on="upload.chunk")],
    "a chunk is answered 429": [too_many(on="upload.chunk")],
    "a chunk is too much for the rate": [rate_limited(on="upload.chunk")],
    "the last chunk is answered 503": [unavailable(on="upload.last")],
    "a chunk is reset at its begin": [reset(0, on="upload.chunk")],
    "a chunk is reset in the middle": [reset(CHUNK // 2, on="upload.chunk")],
    "a chunk is reset and its begin is there": [reset(CHUNK // 2, keep_bytes=CHUNK // 4, on="upload.chunk")],
    "the answer to a chunk is lost": [lost_answer(on="upload.chunk")],
    "a part of a chunk is kept": [short_range(CHUNK // 2, skip=1)],
    "nothing of a chunk is kept": [short_range(0)],
    "a chunk is not answered": [stall(on="upload.chunk")],
    "a question about the state fails": [unavailable(on="upload.chunk"), internal_error(on="upload.query")],
    "the token ends in the middle": [unauthorized(on="upload.chunk", skip=1)],
    "the token ends before": [unauthorized(on="files.list")],
    "a list fails": [
        unavailable(on="files.list"),
        too_many(on="files.list"),
        rate_limited(user=False, on="files.list"),
    ],
    "a session cannot be had": [unavailable(on="upload.start")],
    "the answer with the session is lost": [lost_answer(on="upload.start")],
    "the answer to a new folder is lost": [lost_answer(on="files.create")],
    "no id is given": [internal_error(on="files.generateIds")],
    "no token is given": [unavailable(on="oauth.token")],
    "a list breaks off": [reset(0, on="files.list")],
    "the session is gone (404)": [session_gone(status=404, skip=1)],
    "the session is gone (410)": [session_gone(status=410, skip=2)],
    "the session is gone when it is asked": [unavailable(on="upload.chunk"), session_gone(on="upload.query")],
}


@pytest.mark.parametrize("name", HEALS)
async def test_weather_that_heals(tmp_path: Path, name: str) -> None:
    """The upload ends well: one file, the same sha256, and at most a chunk is sent twice for each fault.

    A session that is gone took what it had with it.
    """
    faults = [Fault(**vars(fault)) for fault in HEALS[name]]
    with serving_drive(DriveState(), faults=faults) as server:
        place = Place(tmp_path, server, timeout_s=0.5)
        path, _ = place.put()
        result = await upload(place)
        (content,) = held(server)
        assert sha256(content).hexdigest() == result.zip_sha256 == sha256(path.read_bytes()).hexdigest()
        assert server.faults.left == []
        lost = 2 * CHUNK if "gone (4" in name else 0
        assert server.uploaded_bytes <= result.sent_bytes <= result.size_bytes + len(faults) * CHUNK + lost
        assert len(server.drive.named("support-bot")) == 1
        assert finished(place)


async def test_the_answer_to_the_last_chunk_is_lost(tmp_path: Path) -> None:
    """Drive is asked what it has, and not one byte is sent twice."""
    with serving_drive(DriveState(), faults=[lost_answer()]) as server:
        place = Place(tmp_path, server)
        place.put()
        result = await upload(place)
        assert server.uploaded_bytes == result.sent_bytes == result.size_bytes
        assert len(server.asked("upload.query")) == 1


async def test_a_hundred_mebibytes_through_twenty_faults(tmp_path: Path) -> None:
    """At most size + one chunk per fault is sent, the sha256 is the same, and no request hangs."""
    kinds: list[Fault] = [
        unavailable(on="upload.chunk"),
        reset(100_000, on="upload.chunk"),
        rate_limited(on="upload.chunk"),
        unauthorized(on="upload.chunk"),
        lost_answer(on="upload.chunk"),
        too_many(on="upload.chunk"),
        internal_error(on="upload.chunk"),
        short_range(CHUNK, on="upload.chunk"),
        stall(on="upload.chunk"),
        unavailable(keep_bytes=CHUNK, on="upload.chunk"),
    ]
    faults = [Fault(**{**vars(fault), "skip": skip}) for skip in (1, 2) for fault in kinds]
    chunk = 8 * CHUNK
    with serving_drive(DriveState(), faults=faults) as server:
        place = Place(tmp_path, server, chunk_bytes=chunk, timeout_s=2)
        place.put(100 << 20)
        async with asyncio.timeout(60):
            result = await upload(place)
        (content,) = held(server)
        assert server.faults.happened == 20
        assert sha256(content).hexdigest() == result.zip_sha256
        assert result.size_bytes > 100 << 20
        assert result.size_bytes <= result.sent_bytes <= result.size_bytes + 20 * chunk


# ---------------------------------------------------------------------------------------------------------------------
# Weather that does not

FAILS: dict[str, tuple[Fault, type[TracewatchError], str, str, int, str]] = {
    "quota, before": (
        refused("storageQuotaExceeded", on="upload.start"),
        PermanentError, "did not begin an upload: storageQuotaExceeded", "Free space", 70, "nothing",
    ),
    "quota, in the middle": (
        refused("storageQuotaExceeded", on="upload.chunk", skip=1),
        PermanentError, "did not take a part of the upload: storageQuotaExceeded", "shared drive", 70, "resumable",
    ),
    "permission": (
        refused("insufficientFilePermissions", on="upload.start"),
        PermanentError, "insufficientFilePermissions", "editor", 70, "nothing",
    ),
    "full shared drive": (
        refused("teamDriveFileLimitExceeded", on="upload.start"),
        PermanentError, "teamDriveFileLimitExceeded", "use another one", 70, "nothing",
    ),
    "400": (
        refused("badRequest", on="upload.start"),
        PermanentError, "badRequest (status 400)", "what this account may do", 70, "nothing",
    ),
    "wrong bytes": (
        corrupted(),
        PermanentError, "Google Drive holds other bytes than were sent", "Run the same command again", 70, "wrong",
    ),
    "rate, for ever": (
        rate_limited(on="upload.chunk", times=10_000),
        TransientError, "userRateLimitExceeded", "750 GB a day", 75, "resumable",
    ),
    "429, for longer than we wait": (
        too_many(retry_after_s=3_600, on="files.list"),
        TransientError, "(status 429)", "Try again later", 75, "nothing",
    ),
    "503, for ever": (
        unavailable(on="upload.chunk", times=10_000),
        TransientError, "no reason given (status 503)", "goes on from there", 75, "resumable",
    ),
    "silence": (
        stall(on="upload.chunk", times=10_000),
        TransientError, "did not answer within 0.2 s", "", 75, "resumable",
    ),
    "resets": (
        reset(0, on="files.list", times=10_000),
        TransientError, "no answer from 127.0.0.1", "See whether it can be reached", 75, "nothing",
    ),
    "a chunk that is never kept": (
        short_range(0, times=10_000),
        TransientError, "kept nothing of a chunk", "", 75, "resumable",
    ),
    "sessions that never last": (
        session_gone(times=10_000),
        PermanentError, "ended 6 sessions of one upload", "begins anew", 70, "nothing",
    ),
    "a token that is never taken": (
        unauthorized(times=10_000, on="files.list"),
        PermanentError, "authError (status 401)", "archive drive login", 70, "nothing",
    ),
}  # fmt: skip
"""Fault -> its class, what the sentence says, what the hint says, the exit status, and what is there afterwards."""


@pytest.mark.parametrize("name", FAILS)
async def test_weather_that_does_not_heal(tmp_path: Path, name: str) -> None:
    """Each fault ends with its own class, sentence, hint and exit status, is told, and the next run makes it good."""
    fault, kind, sentence, hint, status, after = FAILS[name]
    with serving_drive(DriveState(), faults=[Fault(**vars(fault))]) as server:
        place = Place(tmp_path, server, patience=HASTY if kind is TransientError else QUICK, timeout_s=0.2)
        path, _ = place.put()
        with pytest.raises(kind) as failed:
            await upload(place)
        assert sentence in str(failed.value)
        assert hint in failed.value.hint
        assert status_of(failed.value, EXITS) == status
        told = place.events[-1]
        assert isinstance(told, UploadFailed)
        assert (told.error, told.hint) == (str(failed.value), failed.value.hint)
        assert (place.hint.exists() and not finished(place)) == (after == "resumable")
        assert len(held(server)) == (after == "wrong")
        _no_secret_in(server, str(failed.value), repr(failed.value), str(told))
        server.faults._faults.clear()
        place.timeout_s = 5
        await upload(place)
        assert held(server) == [path.read_bytes()]


def _no_secret_in(server: DriveServer, *texts: str) -> None:
    secrets = [*server.sessions, *server.oauth._access, *server.oauth._refresh]
    assert [secret for secret in secrets for text in texts if secret in text] == []


async def test_a_revoked_login(tmp_path: Path) -> None:
    """Exit status 70 and the command that makes it good; nothing is on Drive."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        place.put()
        server.oauth.revoke()
        with pytest.raises(PermanentError, match="does not accept these credentials any more: invalid_grant") as failed:
            await upload(place)
        assert failed.value.hint == "Log in with `tracewatchd archive drive login`."
        assert held(server) == []


async def test_nobody_listens(tmp_path: Path) -> None:
    """A server that is not there is told as one that can heal, by its address alone."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server, patience=HASTY)
        place.put()
    with pytest.raises(TransientError, match=r"no answer from 127\.0\.0\.1") as failed:
        await upload(place)
    assert "files" not in str(failed.value)


# ---------------------------------------------------------------------------------------------------------------------
# Going on


async def broken_off(place: Place, *, after_chunks: int = 2) -> None:
    """An upload that is cut off after some chunks, as by a kill."""
    async with place.uploads() as uploads:
        task = asyncio.ensure_future(uploads.carry_out(DAY))
        await soon(lambda: place.hint.exists() and len(place.server.asked("upload.chunk")) > after_chunks)
        task.cancel()
        await asyncio.wait([task])


async def test_a_broken_upload_goes_on(tmp_path: Path) -> None:
    """The session is remembered for our eyes alone, and the next upload sends only what is missing."""
    with serving_drive(DriveState(), faults=[stall(on="upload.chunk", skip=2)]) as server:
        place = Place(tmp_path, server)
        place.put()
        await broken_off(place)
        assert stat.S_IMODE(place.hint.stat().st_mode) == 0o600
        result = await upload(place)
        assert (result.what, result.resumed_at_bytes) == ("created", 2 * CHUNK)
        assert result.sent_bytes == result.size_bytes - 2 * CHUNK
        assert len(server.sessions) == 1


@pytest.mark.parametrize("change", ["another zip", "no JSON", "another place", "gone session", "http elsewhere"])
async def test_a_hint_that_does_not_fit(tmp_path: Path, change: str) -> None:
    """A hint that is lost, damaged, of other bytes or of another place costs time only: a new session is begun.

    The address in it never gets a token unless it leads to Drive.
    """
    with serving_drive(DriveState(), faults=[stall(on="upload.chunk", skip=2)]) as server:
        place = Place(tmp_path, server)
        path, _ = place.put()
        await broken_off(place)
        hint = json.loads(place.hint.read_text())
        if change == "another zip":
            path, _ = place.put(seed=2)
        elif change == "no JSON":
            place.hint.write_text("{")
        elif change == "another place":
            place.hint.write_text(json.dumps(hint | {"endpoint": "https://elsewhere"}))
        elif change == "http elsewhere":
            place.hint.write_text(json.dumps(hint | {"session": "http://127.0.0.1:9/x"}))
        else:
            server.end_sessions()
        result = await upload(place)
        assert result.resumed_at_bytes == 0
        assert len(server.sessions) == 2
        assert held(server) == [path.read_bytes()]


async def test_killed_after_the_last_chunk(tmp_path: Path) -> None:
    """A file that had arrived whole when we were killed is found, and nothing is sent."""
    with serving_drive(DriveState(), faults=[stall(on="files.get", skip=2)]) as server:
        place = Place(tmp_path, server)
        path, _ = place.put()
        async with place.uploads() as uploads:
            task = asyncio.ensure_future(uploads.carry_out(DAY))
            await soon(lambda: held(server) and server.faults.happened)
            task.cancel()
            await asyncio.wait([task])
        assert (await upload(place)).what == "unchanged"
        assert server.uploaded_bytes == path.stat().st_size


async def test_a_search_that_lags_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip that Drive's search does not show yet is known by its id: no twin is made, in a later process neither."""

    async def nothing_yet(drive: Drive, identity: Identity) -> list[DriveFile]:
        return []

    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        place.put()
        monkeypatch.setattr(Drive, "_found", nothing_yet)
        first = await upload(place)
        assert (await upload(place)).what == "unchanged"
        place.put(seed=2)
        assert (await upload(place)).file_id == first.file_id
        changes: list[dict[str, object]] = [{"trashed": True}, {"app_properties": {}}]
        for change in changes:
            vars(server.drive.files[first.file_id]).update(change)
            first = await upload(place)
            assert first.what == "created"
        del server.drive.files[first.file_id]
        assert (await upload(place)).what == "created"


async def test_one_at_a_time(tmp_path: Path) -> None:
    """A day that another process uploads right now is left to it: two would spoil each other's session."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        place.put()
        place.hint.parent.mkdir(parents=True)
        with Claim(place.hint.with_suffix(".claim")), pytest.raises(TransientError, match="another process"):
            await upload(place)
        assert (await upload(place)).what == "created"


@pytest.mark.parametrize("rounds", range(3))
async def test_two_that_begin_at_once_share_one_folder(tmp_path: Path, rounds: int) -> None:
    """Whoever makes a project's folder second takes the first one's, and puts its own into the bin."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        async with place.drive() as one, place.drive() as other:
            folders = await asyncio.gather(one.project_folder("bot"), other.project_folder("bot"))
            assert folders[0] == folders[1]
            assert await one.project_folder("bot") == folders[0]
        assert [folder.id for folder in server.drive.named("bot") if not folder.trashed] == [folders[0]]
        assert len(server.drive.named("bot")) == 2


async def test_a_folder_that_is_used_already_stays(tmp_path: Path) -> None:
    """A folder that came second is not thrown away when something lies in it."""
    drive = DriveState()
    with serving_drive(drive) as server:
        place = Place(tmp_path, server)
        async with place.drive() as one:
            archive = (await one.archive()).id
            properties = {"archive": archive, "kind": "tracewatchd.project-folder", "project": "bot"}
            made: list[str] = []

            async def make(identity: Any, name: str) -> str:
                older, ours = drive.add_folder("bot", by_app=True), drive.add_folder("bot", by_app=True)
                older.app_properties = ours.app_properties = properties
                drive.add_file("zip", b"x", ours.id)
                made.append(older.id)
                return ours.id

            one._make_folder = make  # type: ignore[method-assign]  # somebody was quick
            assert await one.project_folder("bot") == made[0]
        assert [folder.trashed for folder in drive.named("bot")] == [False, False]


# ---------------------------------------------------------------------------------------------------------------------
# The zip itself


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (None, PermanentError, "there is no zip"),
        (b"no zip at all", PoisonError, "zip"),
        ("another", PoisonError, "is the zip of support-bot/2026-11-21"),
    ],
)
async def test_a_zip_that_cannot_be_sent(
    tmp_path: Path, content: bytes | str | None, kind: type[TracewatchError], told: str
) -> None:
    """A zip that is missing, damaged or another day's is told by its path, and Drive is not asked for anything."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        path, _ = place.put()
        path.unlink()
        if content == "another":
            put_zip(place.zip_dir, {"a.json": b"{}"}, ProjectDay(DAY.folder, DAY.day.replace(day=21)))[0].rename(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        with pytest.raises(kind, match=told) as failed:
            await upload(place)
        assert str(path.parent) in str(failed.value)
        assert server.requests == []


async def test_a_zip_that_changes_on_its_way(tmp_path: Path) -> None:
    """Bytes that change after they were hashed are not called uploaded; the next upload brings them as they are."""
    with serving_drive(DriveState(), faults=[stall(on="upload.chunk", skip=1)]) as server:
        place = Place(tmp_path, server, timeout_s=0.5)
        path, _ = place.put()
        async with place.uploads() as uploads:
            task = asyncio.ensure_future(uploads.carry_out(DAY))
            await soon(lambda: len(server.asked("upload.chunk")) > 1)
            with path.open("r+b") as file:
                file.seek(-1_000_000 % path.stat().st_size)
                file.seek(path.stat().st_size // 2)
                file.write(b"changed")
            with pytest.raises(PermanentError, match="other bytes than were sent"):
                await task
        await upload(place)
        assert held(server) == [path.read_bytes()]
