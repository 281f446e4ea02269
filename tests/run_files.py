"""Run files for tests: their bytes, their places, and the records that they become."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

from tracewatchd.model.decode import decode
from tracewatchd.model.layout import RunPath
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.stamp import Stamp

DIRECTORY = "bot/2026-11-20"


def run_id(number: int) -> UUID:
    """The id of the run with this number."""
    return UUID(int=number, version=4)


def run_path(number: int, second: int = 0) -> str:
    """A path for a run; another second gives another path for the same run."""
    return f"{DIRECTORY}/{run_id(number)}_{second:06d}.json"


def run_body(number: int, *, age_days: int = 1, text: str = "hello", size_bytes: int = 0) -> bytes:
    """An enveloped run, extracted so many days before a December that is past; padded to at least ``size_bytes``."""
    run = {"id": str(run_id(number)), "name": "agent", "start_time": "2026-11-20T06:44:12.622037", "text": text}
    metadata = {"extracted_at": f"2025-11-{30 - age_days:02d}T00:00:00+00:00"}
    return json.dumps({"metadata": metadata, "trace": run}).encode().ljust(size_bytes)


def put(root: Path, path: str, body: bytes) -> Path:
    """Write a file below the root, in one step, and say where."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.parent / f".{place.name[:200]}.tmp"
    temporary.write_bytes(body)
    return temporary.rename(place)


def record(number: int, *, second: int = 0, age_days: int = 1, text: str = "hello") -> TraceRecord:
    """The record that a run file becomes."""
    body = run_body(number, age_days=age_days, text=text)
    path = RunPath.parse(run_path(number, second))
    assert path is not None
    decoded = decode(body, path, Stamp(len(body), 1_000 + second, 1_000))
    assert isinstance(decoded, TraceRecord)
    return decoded
