"""A run file written anew: its bytes from the row that it once became, and its place on disk."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.edges.writing import make_directory, write_new_file
from tracewatchd.model.decode import decode
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.layout import RunPath, decode_path
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.scan import members
from tracewatchd.model.stamp import NO_EXTRACTION, Stamp
from tracewatchd.store.queries import StoredRun

LATER_NS = 1
"""A file from a row is so much younger than the row, so that it wins over the row, and over nothing else."""


def file_of_row(run: StoredRun, path: RunPath) -> bytes | None:
    """The bytes of a run file that becomes this row; None where no file does (the row was edited to be none)."""
    for content in (_in_its_shape(run), _in_an_envelope(run)):
        if content is not None and _becomes(content, run, path):
            return content
    return None


def _in_its_shape(run: StoredRun) -> bytes | None:
    """As most files were: the envelope where there is metadata, else the bare run."""
    return run.data if run.metadata is None else _envelope(run.metadata, run.data)


def _in_an_envelope(run: StoredRun) -> bytes | None:
    """With metadata that says what only the row's columns say: when it was extracted, and of which run."""
    metadata = run.metadata or b"{}"
    for key, value in (("extracted_at", _extracted_at(run)), ("run_id", str(run.run_id))):
        metadata = _with_member(metadata, key, value)
    return _envelope(metadata, run.data)


def _extracted_at(run: StoredRun) -> str | None:
    return None if run.extracted_at == NO_EXTRACTION else run.extracted_at.isoformat()


def _with_member(document: bytes, key: str, value: str | None) -> bytes:
    """A JSON object with another value for one of its members; whatever is no object gives way to one."""
    found = members(document, [key])
    if found is None:
        return _with_member(b"{}", key, value)
    text = msgspec.json.encode(value)
    if key in found:
        start, end = found[key]
        return document[:start] + text + document[end:]
    rest = document.strip()[1:-1]
    return b"{" + msgspec.json.encode(key) + b": " + text + (b", " if rest.strip() else b"") + rest + b"}"


def _envelope(metadata: bytes, data: bytes) -> bytes:
    return b'{"metadata": ' + metadata + b', "trace": ' + data + b"}"


def _becomes(content: bytes, run: StoredRun, path: RunPath) -> bool:
    record = decode(content, path, Stamp(len(content), run.file_mtime_ns + LATER_NS, 0))
    return isinstance(record, TraceRecord) and (record.run_id, record.extracted_at) == (run.run_id, run.extracted_at)


def put_back(folder: Folder, out: Path | None, path: str, content: bytes, *, mtime_ns: int) -> bool:
    """Write a file at its path below the root, or below ``out``; False where something is there already.

    Raises:
        TransientError, PermanentError: it cannot be written there.
    """
    target = (out or folder.root).joinpath(*(os.fsdecode(decode_path(part)) for part in path.split("/")))
    if out is None:
        _require_root(folder)  # making directories would make a root that is not mounted, too
    make_directory(target.parent)
    if out is None:
        _require_inside(folder, path.rpartition("/")[0])
    return write_new_file(target, content, mtime_ns=mtime_ns)


def _require_root(folder: Folder) -> None:
    try:
        folder.identity()
    except UnreadableError as error:
        raise PermanentError(str(error), hint="see that the root is there, then try again") from error


def _require_inside(folder: Folder, directory: str) -> None:
    """See that a directory is one that sweeps look into: what lies behind a symlink is never found."""
    try:
        with folder.reader() as reader:
            is_inside = reader.directory(directory) is not None
    except UnreadableError as error:
        raise PermanentError(str(error), hint="give the user of this command permission to read it") from error
    if not is_inside:
        raise PermanentError(f"{directory} is a symlink, which is never followed", hint="put a directory in its place")
