"""The steps of an upload against scripted answers, those too that no honest Drive gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracewatchd.edges.drive_calls import Question
from tracewatchd.edges.drive_http import Answer, BusyError, Patience, RefusedError
from tracewatchd.edges.transfer import Hints, Parcel, Source, Transfer
from tracewatchd.model.drive import Content
from tracewatchd.model.errors import PermanentError, TransientError

ENDPOINT = "https://drive.example"
SESSION = f"{ENDPOINT}/upload?upload_id=secret"
BEGUN = Answer(200, {"Location": SESSION}, b"{}")
DONE = Answer(200, {}, b"{}")


def kept(upto: int) -> Answer:
    """So many bytes are there."""
    return Answer(308, {"Range": f"bytes=0-{upto - 1}"} if upto else {}, b"")


async def _no_wait(_: float) -> None:
    """Time stands still."""


class Script:
    """Drive, that gives these answers and no other ones."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.endpoint = ENDPOINT
        self.patience = Patience(patience_s=1_000, first_s=0, sleep=_no_wait)
        self.asked: list[Question] = []
        self._answers = list(answers)

    def address(self, path: str, **parameters: str) -> str:
        return f"{ENDPOINT}{path}"

    async def once(self, question: Question, *statuses: int, **how: Any) -> Answer:
        self.asked.append(question)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def ranges(self) -> list[str]:
        """What was said of every part."""
        return [question.headers["Content-Range"] for question in self.asked if "Content-Range" in question.headers]


@pytest.fixture
def send(tmp_path: Path) -> Callable[..., Any]:
    """Send ten bytes in chunks of four to a script; gives the transfer."""
    path = tmp_path / "day.zip"
    path.write_bytes(b"0123456789")

    async def run(script: Script, *, is_update: bool = False) -> Transfer:
        with Source(path) as source:
            parcel = Parcel(
                content=source.content(), file_id="id", is_update=is_update, metadata={"name": "n", "parents": ["p"]}
            )
            hints = Hints(tmp_path / "hint.json")
            calls: Any = script
            transfer = Transfer(calls, source, parcel, hints, chunk_bytes=4, progress=lambda _: None)
            assert await transfer.run() == "id"
        assert script._answers == []
        return transfer

    return run


async def test_chunk_after_chunk(send: Callable[..., Any]) -> None:
    """Each chunk says which bytes it holds of how many, and none is sent twice."""
    script = Script(BEGUN, kept(4), kept(8), DONE)
    transfer = await send(script)
    assert script.ranges == ["bytes 0-3/10", "bytes 4-7/10", "bytes 8-9/10"]
    assert b"".join(question.body or b"" for question in script.asked[1:]) == b"0123456789"
    assert transfer.sent_bytes == 10


async def test_what_drive_has_is_what_counts(send: Callable[..., Any]) -> None:
    """After a fault Drive is asked, and sending goes on from what it has, be it less or more than we thought."""
    script = Script(BEGUN, kept(2), BusyError("503"), kept(5), BusyError("reset"), kept(9), DONE)
    transfer = await send(script)
    assert script.ranges == [
        "bytes 0-3/10", "bytes 2-5/10", "bytes */10", "bytes 5-8/10", "bytes */10", "bytes 9-9/10",
    ]  # fmt: skip
    assert transfer.sent_bytes == 4 + 4 + 4 + 1


@pytest.mark.parametrize("said", ["bytes=3-9", "bytes=0-10", "words"])
async def test_a_session_that_talks_nonsense_is_given_up(send: Callable[..., Any], said: str) -> None:
    """A range that cannot be is not believed: another session is begun from the first byte."""
    script = Script(BEGUN, Answer(308, {"Range": said}, b""), BEGUN, kept(4), kept(8), DONE)
    await send(script)
    assert script.ranges == ["bytes 0-3/10", "bytes 0-3/10", "bytes 4-7/10", "bytes 8-9/10"]


async def test_all_is_there_and_not_finished(send: Callable[..., Any]) -> None:
    """Where Drive has every byte but does not say that it is done it is asked again; nothing is sent."""
    script = Script(BEGUN, kept(4), kept(8), kept(10), kept(10), DONE)
    transfer = await send(script)
    assert script.ranges[2:] == ["bytes 8-9/10", "bytes */10", "bytes */10"]
    assert transfer.sent_bytes == 10


async def test_a_session_elsewhere_gets_nothing(send: Callable[..., Any]) -> None:
    """A session at another place, or none, is refused before a token or a byte goes there."""
    for headers in ({}, {"Location": "https://elsewhere.example/upload"}, {"Location": "http://drive.example/upload"}):
        script = Script(Answer(200, headers, b""))
        with pytest.raises(PermanentError, match="at another place") as failed:
            await send(script)
        assert "upload" in str(failed.value)
        assert "elsewhere" not in str(failed.value)
        assert len(script.asked) == 1


def exists() -> RefusedError:
    return RefusedError("exists", status=409, reason="fileIdInUse")


def file(content: Content | None) -> Answer:
    told: dict[str, Any] = {"id": "id"}
    told |= {"size": str(content.size), "sha256Checksum": content.sha256} if content else {"size": "1"}
    return Answer(200, {}, json.dumps(told).encode())


async def test_the_file_is_there_already(send: Callable[..., Any], tmp_path: Path) -> None:
    """Where the id is in use and Drive holds these bytes under it nothing is sent."""
    with Source(tmp_path / "day.zip") as source:
        content = source.content()
    script = Script(BEGUN, RefusedError("gone", status=404, reason=""), exists(), file(content))
    assert (await send(script)).sent_bytes == 4


async def test_something_else_is_there(send: Callable[..., Any]) -> None:
    """Where other bytes are under the id they get another revision, which keeps its folder."""
    script = Script(exists(), file(None), BEGUN, kept(4), kept(8), DONE)
    await send(script)
    assert [question.method for question in script.asked[:3]] == ["POST", "GET", "PATCH"]
    assert json.loads(script.asked[2].body or b"") == {"name": "n"}


@pytest.mark.parametrize(("is_update", "status"), [(True, 409), (False, 403)])
async def test_a_session_that_is_refused(send: Callable[..., Any], is_update: bool, status: int) -> None:  # noqa: FBT001 - a case
    """Any other refusal is told as it is."""
    with pytest.raises(RefusedError, match="no"):
        await send(Script(RefusedError("no", status=status, reason="")), is_update=is_update)


async def test_an_address_that_was_damaged(send: Callable[..., Any]) -> None:
    """A remembered session that Drive does not understand is given up like one that is gone; a bad chunk is told."""
    broken = Script(BEGUN, kept(4), BusyError("503"))
    broken.patience = Patience(patience_s=0, first_s=0, sleep=_no_wait)
    with pytest.raises(TransientError, match="503"):
        await send(broken)
    bad = RefusedError("bad request", status=400, reason="")
    assert (await send(Script(bad, BEGUN, kept(4), kept(8), DONE))).sent_bytes == 10
    with pytest.raises(RefusedError, match="bad request"):
        await send(Script(BEGUN, kept(4), bad))


async def test_a_hint_is_for_one_file(send: Callable[..., Any], tmp_path: Path) -> None:
    """A session for a new file is not continued as a revision; for the same kind it is, under its own id."""
    stuck = Patience(patience_s=0, first_s=0, sleep=_no_wait)
    broken = Script(BEGUN, kept(4), BusyError("503"))
    broken.patience = stuck
    with pytest.raises(TransientError, match="503"):
        await send(broken)
    await send(Script(BEGUN, kept(4), kept(8), DONE), is_update=True)
    again = Script(BEGUN, kept(4), BusyError("503"))
    again.patience = stuck
    with pytest.raises(TransientError, match="503"):
        await send(again)
    script = Script(kept(4), kept(8), DONE)
    assert (await send(script)).resumed_at_bytes == 4
    assert script.ranges[0] == "bytes */10"
