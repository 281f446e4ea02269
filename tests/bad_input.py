"""The table of bad input: what lies in a trace directory, and what must become of it.

Every row is one entry on disk. What is expected was written down from the requirements, not from what the code does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from run_files import put, run_id

MAX_FILE_BYTES = 300_000
"""The limit that the daemon of the table is given."""

COMPLETES_AFTER_S = 3.0
"""When the file that is half written at first is whole."""

DAY = "2026-11-20"
DIRECTORY = f"bad input/{DAY}"
POISON = "1e200000"
"""A number that only Postgres refuses, with 22003."""

State = Literal["loaded", "superseded", "quarantined", "ignored"]
When = Literal["before", "during", "after"]
"""Before the daemon starts, while its first sweep runs, or after that sweep."""

Make = Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry: where it lies, how it is made there, and what is expected of it.

    ``columns`` are columns of its row in ``runs``, ``holds`` texts at places of its ``data``. ``first`` is the state
    that must be told before ``mend`` has been called. ``ignored`` is how many entries a sweep must count for it.
    """

    name: str
    path: str
    make: Make
    state: State
    reason: str = ""
    sanitized: tuple[str, ...] | None = None
    columns: Mapping[str, object] = field(default_factory=dict)
    holds: Mapping[str, str] = field(default_factory=dict)
    when: When = "before"
    first: str = ""
    mend: Make | None = None
    ignored: int = 0

    @property
    def expected(self) -> str:
        """The expected state as the printed table shows it."""
        changed = "sanitised and loaded" if self.sanitized else self.state
        return f"{self.first}, then {changed}" if self.first else changed


def document(number: int, *, run: Mapping[str, str] | None = None, metadata: str | None = None) -> bytes:
    """An envelope; the values of ``run`` and the whole ``metadata`` are JSON text, or what pretends to be JSON."""
    members = {
        "id": f'"{run_id(number)}"',
        "name": '"agent"',
        "start_time": '"2026-11-20T06:44:12.622037+00:00"',
        **(run or {}),
    }
    if metadata is None:
        metadata = '{"extracted_at": "2026-11-21T00:00:00+00:00"}'
    inner = ", ".join(f'"{name}": {value}' for name, value in members.items())
    return f'{{"metadata": {metadata}, "trace": {{{inner}}}}}'.encode()


def file_of(number: int, *, directory: str = DIRECTORY, second: int = 0) -> str:
    """Where a run's file lies."""
    return f"{directory}/{run_id(number)}_{second:06d}.json"


def written(body: bytes) -> Make:
    """A file with these bytes, there in one step."""
    return lambda place: void(put(place.parent, place.name, body))


def void(_: object) -> None:
    """Nothing, of anything."""


def extracted(day: int, project: str | None = None) -> str:
    """Metadata of an envelope that was extracted on this day of December."""
    named = "" if project is None else f', "project_name": {project}'
    return f'{{"extracted_at": "2026-12-{day:02d}T00:00:00Z"{named}}}'


# ---- loaded as they are


def _plain(number: int, name: str, run: Mapping[str, str], **expected: Mapping[str, object]) -> Row:
    made = written(document(number, run=run))
    columns, holds = expected.get("columns", {}), expected.get("holds", {})
    texts = {place: str(text) for place, text in holds.items()}
    return Row(name=name, path=file_of(number), make=made, state="loaded", columns=columns, holds=texts)


def _times() -> list[Row]:
    moment = datetime(2025, 8, 29, 6, 44, 12, 622037, tzinfo=UTC)
    second = moment.replace(microsecond=0)
    forms: list[tuple[str, datetime]] = [
        ('"2025-08-29 06:44:12.622037+00:00"', moment),
        ('"2025-08-29T08:44:12.622037+02:00"', moment),
        ('"2025-08-29T06:44:12.622037"', moment),
        ('"2025-08-29T06:44:12"', second),
        ('"2025-08-29T06:44:12.622037Z"', moment),
        (str(int(moment.timestamp() * 1000)), moment.replace(microsecond=622000)),
    ]
    return [
        _plain(
            20 + position,
            f"start_time {form}",
            {"start_time": form},
            columns={"start_time": expected, "run_date": date(2025, 8, 29)},
        )
        for position, (form, expected) in enumerate(forms)
    ]


def _projects() -> list[Row]:
    names = [
        ("with spaces", '"My  project "', "My  project "),
        ("with quotes", '"it\'s \\"quoted\\""', 'it\'s "quoted"'),
        ("with slashes", '"team/a\\\\b"', "team/a\\b"),
        ("of emoji", '"\\ud83d\\ude80 🧪"', "🚀 🧪"),
    ]
    enveloped = [
        Row(
            name=f"project name {name}",
            path=file_of(30 + position),
            make=written(document(30 + position, metadata=extracted(1, project))),
            state="loaded",
            columns={"project": expected},
        )
        for position, (name, project, expected) in enumerate(names)
    ]
    folder = 'it\'s a "folder" 100% 🚀'
    bare = Row(
        name="folder of spaces, quotes, percent and emoji",
        path=file_of(34, directory=f"{folder}/{DAY}"),
        make=written(f'{{"id": "{run_id(34)}", "run_type": "LLM"}}'.encode()),
        state="loaded",
        columns={"project": folder, "run_type": "llm", "run_date": date(2026, 11, 20)},
    )
    return [*enveloped, bare]


def _loaded() -> list[Row]:
    deep = b"[" * 5_000 + b"]" * 5_000
    return [
        _plain(1, "escaped backslash before u0000", {"inputs": r'{"t": "a\\u0000b"}'}, holds={"inputs,t": r"a\u0000b"}),
        _plain(2, "2^80 in the run", {"inputs": f'{{"n": {2**80}}}'}, holds={"inputs,n": str(2**80)}),
        _plain(3, "1e400 in the run", {"inputs": '{"n": 1e400}'}, holds={"inputs,n": "1" + "0" * 400}),
        _plain(4, "duplicate keys, the last wins", {"inputs": '{"k": 1, "k": 2}'}, holds={"inputs,k": "2"}),
        _plain(5, "5,000 levels deep", {"inputs": deep.decode()}),
        Row(
            name="byte order mark",
            path=file_of(6),
            make=written(b"\xef\xbb\xbf" + document(6)),
            state="loaded",
            columns={"name": "agent"},
        ),
        Row(
            name="empty metadata",
            path=file_of(7),
            make=written(document(7, metadata="{}")),
            state="loaded",
            columns={"project": "bad input", "metadata": "{}"},
        ),
        Row(
            name="file name of 250 bytes",
            path=f"{DIRECTORY}/{run_id(8)}_".ljust(len(DIRECTORY) + 1 + 245, "x") + ".json",
            make=written(document(8)),
            state="loaded",
        ),
        Row(
            name="file name that is not UTF-8",
            path=f"{DIRECTORY}/{run_id(9)}_" + os.fsdecode(b"caf\xe9") + ".json",
            make=written(document(9)),
            state="loaded",
        ),
        *_times(),
        *_projects(),
    ]


# ---- files that change, and files of one run


def _half(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(document(40)[:60])


def _whole(place: Path) -> None:
    with place.open("ab") as file:
        file.write(document(40)[60:])


def _replaced(place: Path) -> None:
    """Many versions, one after the other, each there in one step; the last is the newest."""
    for version in range(300):
        written(document(41, run={"inputs": f'{{"version": {version}}}'}))(place)


def _changing() -> list[Row]:
    return [
        Row(
            name="completes after 3 s",
            path=file_of(40),
            make=_half,
            mend=_whole,
            state="loaded",
            columns={"name": "agent"},
        ),
        Row(
            name="replaced again and again while it is read",
            path=file_of(41),
            make=_replaced,
            when="during",
            state="loaded",
            holds={"inputs,version": "299"},
        ),
    ]


def _twin(name: str, number: int, second: int, day: int, state: State, when: When = "before") -> Row:
    """One of several files of one run; the later it was extracted, the newer it is."""
    return Row(
        name=name,
        path=file_of(number, second=second),
        make=written(document(number, metadata=extracted(day), run={"inputs": f'{{"day": {day}}}'})),
        state=state,
        when=when,
        holds={"inputs,day": str(day)} if state == "loaded" else {},
    )


def _twins() -> list[Row]:
    poisoned = document(46, metadata=extracted(9), run={"inputs": f'{{"n": {POISON}}}'})
    first = file_of(45)
    return [
        _twin("two of one run in one batch: the older", 42, 0, 1, "superseded"),
        _twin("two of one run in one batch: the newer", 42, 1, 2, "loaded"),
        _twin("two of one run in different batches: the older", 43, 0, 1, "superseded"),
        _twin("two of one run in different batches: the newer", 43, 1, 2, "loaded", "after"),
        _twin("older last: the newer", 44, 0, 2, "loaded"),
        _twin("older last: the older", 44, 1, 1, "superseded", "after"),
        Row(name="hard links: one", path=first, make=written(document(45)), state="loaded"),
        Row(
            name="hard links: the other",
            path=file_of(45, second=1),
            make=lambda place: place.hardlink_to(place.parents[2] / first),
            state="loaded",
        ),
        _twin("old good twin of a poisoned newer file in its batch", 46, 0, 1, "loaded"),
        Row(
            name="the poisoned newer file",
            path=file_of(46, second=1),
            make=written(poisoned),
            state="quarantined",
            reason="unstorable",
        ),
    ]


# ---- sanitised


def _sanitised(number: int, name: str, run: Mapping[str, str], *places: str, **expected: Mapping[str, object]) -> Row:
    columns, holds = expected.get("columns", {}), expected.get("holds", {})
    return Row(
        name=name,
        path=file_of(number),
        make=written(document(number, run=run)),
        state="loaded",
        sanitized=places,
        columns=columns,
        holds={place: str(text) for place, text in holds.items()},
    )


def _all_sanitised() -> list[Row]:
    text = "\ufffd"
    return [
        _sanitised(
            50, "NUL in a value", {"inputs": r'{"t": "a\u0000b"}'}, "/data/inputs/t", holds={"inputs,t": f"a{text}b"}
        ),
        _sanitised(
            51,
            "NUL in a key",
            {"inputs": r'{"a\u0000b": 1}'},
            f"/data/inputs/a{text}b",
            holds={f"inputs,a{text}b": "1"},
        ),
        _sanitised(52, "NUL in name", {"name": r'"pl\u0000an"'}, "/data/name", columns={"name": f"pl{text}an"}),
        _sanitised(
            53,
            "lone surrogate in a value",
            {"inputs": r'{"t": "a\ud83d b"}'},
            "/data/inputs/t",
            holds={"inputs,t": f"a{text} b"},
        ),
        _sanitised(
            54,
            "lone surrogate in a key",
            {"inputs": r'{"\udc00": 1}'},
            f"/data/inputs/{text}",
            holds={f"inputs,{text}": "1"},
        ),
        _sanitised(
            55,
            "lone surrogate at a string's end",
            {"inputs": r'{"t": "cut \ud83d"}'},
            "/data/inputs/t",
            holds={"inputs,t": f"cut {text}"},
        ),
        _sanitised(
            56, "NaN", {"outputs": '{"score": NaN}'}, "/data/outputs/score", holds={"outputs": '{"score": null}'}
        ),
        _sanitised(
            57,
            "Infinity",
            {"outputs": '{"s": [1, Infinity, -Infinity]}'},
            "/data/outputs/s/1",
            "/data/outputs/s/2",
            holds={"outputs": '{"s": [1, null, null]}'},
        ),
        _sanitised(
            58,
            "two keys that collide after replacement",
            {"inputs": r'{"a\u0000": 1, "a\ufffd": 2}'},
            f"/data/inputs/a{text}_2",
            holds={f"inputs,a{text}": "2", f"inputs,a{text}_2": "1"},
        ),
        _sanitised(
            59,
            "1e999 in a typed column",
            {"total_cost": "1e999"},
            "/columns/total_cost",
            columns={"total_cost": None},
            holds={"total_cost": "1" + "0" * 999},
        ),
        _sanitised(
            60,
            "2^80 in a typed column",
            {"total_tokens": str(2**80)},
            "/columns/total_tokens",
            columns={"total_tokens": None},
            holds={"total_tokens": str(2**80)},
        ),
    ]


# ---- quarantined


def _quarantined() -> list[Row]:
    deep = "[" * 20_000 + "]" * 20_000
    whole = document(70)
    bodies: list[tuple[str, str, bytes]] = [
        ("invalid UTF-8", "invalid_utf8", whole.replace(b"agent", b"caf\xe9")),
        ("an id that is no uuid", "bad_run_id", document(71, run={"id": '"not-a-uuid"'})),
        ("20,000 levels deep", "unstorable", document(72, run={"inputs": deep})),
        ("larger than max_file_bytes", "too_large", document(73).ljust(MAX_FILE_BYTES + 1)),
        ("empty", "empty", b""),
        ("truncated for good", "truncated", document(75)[:-20]),
        ("a list", "unsupported_shape", b"[" + document(76) + b"]"),
        ("metadata only", "unsupported_shape", b'{"metadata": {"project_name": "nothing"}}'),
        ("no JSON at all", "invalid_json", b"a note, not a run\n"),
    ]
    rows = [
        Row(name=name, path=file_of(70 + position), make=written(body), state="quarantined", reason=reason)
        for position, (name, reason, body) in enumerate(bodies)
    ]
    nameless = Row(
        name="no id anywhere",
        path=f"{DIRECTORY}/nameless.json",
        make=written(b'{"metadata": {}, "trace": {"name": "agent"}}'),
        state="quarantined",
        reason="no_run_id",
    )
    return [*rows, nameless]


# ---- ignored


def _directory(place: Path) -> None:
    (place / "below").mkdir(parents=True)
    (place / "below" / "run.json").write_bytes(document(90))


def _linked(target: str) -> Make:
    def make(place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    return make


def _fifo(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)


def _ignored() -> list[Row]:
    body = written(document(90))
    elsewhere = file_of(1).rpartition("/")[2]
    entries: list[tuple[str, str, Make, int]] = [
        ("summary", f"{DIRECTORY}/_summary.json", body, 1),
        ("temporary file", f"{DIRECTORY}/.{run_id(90)}.json", body, 1),
        ("another suffix", f"{DIRECTORY}/{run_id(90)}.json.part", body, 1),
        ("directory named x.json, with a file", f"{DIRECTORY}/x.json", _directory, 2),
        ("fifo", f"{DIRECTORY}/fifo.json", _fifo, 1),
        ("symlink to a run file", f"{DIRECTORY}/link.json", _linked(elsewhere), 1),
        ("symlink to nothing", f"{DIRECTORY}/nothing.json", _linked("nowhere"), 1),
        ("symlink to a day", "bad input/2026-11-19", _linked(DAY), 1),
        ("symlink to a project", "linked project", _linked("bad input"), 1),
        ("deeper", f"{DIRECTORY}/deeper/{run_id(90)}_064412.json", body, 1),
        ("shallower, beside the days", f"bad input/{run_id(90)}_064412.json", body, 1),
        ("shallower, in the root", f"{run_id(90)}_064412.json", body, 1),
        ("in a folder that is no day", f"bad input/2026-02-30/{run_id(90)}_064412.json", body, 1),
    ]
    return [Row(name=name, path=path, make=make, state="ignored", ignored=n) for name, path, make, n in entries]


# ---- closed, and taken up when mended

CLOSED_DIRECTORY = f"closed/{DAY}"


def _closed_file(place: Path) -> None:
    written(document(95))(place)
    place.chmod(0)


def _in_closed_directory(place: Path) -> None:
    written(document(96))(place)
    place.parent.chmod(0)


def _closed() -> list[Row]:
    return [
        Row(
            name="no permission on the file",
            path=file_of(95),
            make=_closed_file,
            mend=lambda place: place.chmod(0o644),
            first="unreadable",
            state="loaded",
        ),
        Row(
            name="no permission on its directory",
            path=file_of(96, directory=CLOSED_DIRECTORY),
            make=_in_closed_directory,
            mend=lambda place: place.parent.chmod(0o755),
            first="unreadable",
            state="loaded",
        ),
    ]


TABLE: tuple[Row, ...] = (
    *_loaded(),
    *_changing(),
    *_twins(),
    *_all_sanitised(),
    *_quarantined(),
    *_ignored(),
    *_closed(),
)
"""Every kind of bad input; no two rows share a path, and files of one run stand together."""
