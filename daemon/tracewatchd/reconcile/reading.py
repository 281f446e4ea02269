"""Looking at files and reading them, a batch at a time, in a worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from tracewatchd.edges.folder import Body, Folder, Reader, UnreadableError
from tracewatchd.model.decode import CLEAN_COST, decode, first_look
from tracewatchd.model.layout import RunPath
from tracewatchd.model.record import Rejection, TraceRecord
from tracewatchd.model.stamp import Seen

_BATCH_BYTES = 2 << 20
_BATCH_FILES = 200


@dataclass(slots=True)
class Looks:
    """What looking at some paths gave: where there is no run file, nothing.

    ``costly`` are files that need more memory than their batch was given, with what they need.
    """

    seen: dict[str, Seen] = field(default_factory=dict)
    decoded: dict[str, TraceRecord | Rejection] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    costly: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Paths that are read together, and the memory that this may take."""

    paths: tuple[str, ...]
    share_bytes: int


def batches(sizes: Mapping[str, int]) -> Iterator[ReadingBatch]:
    """Files in batches of bounded size; a larger file is a batch of its own."""
    paths: list[str] = []
    total = 0
    for path, size in sizes.items():
        if paths and (total + size > _BATCH_BYTES or len(paths) == _BATCH_FILES):
            yield ReadingBatch(tuple(paths), total * CLEAN_COST)
            paths, total = [], 0
        paths.append(path)
        total += size
    if paths:
        yield ReadingBatch(tuple(paths), total * CLEAN_COST)


def glimpse(folder: Folder, paths: Iterable[str]) -> Looks:
    """The stamps of some paths."""
    looks = Looks()
    with folder.reader() as reader:
        for path in paths:
            try:
                if seen := reader.seen(path):
                    looks.seen[path] = seen
            except UnreadableError as error:
                looks.unreadable[path] = error.cause
    return looks


def read(folder: Folder, batch: ReadingBatch, limit_bytes: int, *, decoded: bool) -> Looks:
    """Stamps and sha256s of some files, and with ``decoded`` what they become."""
    looks = Looks()
    with folder.reader() as reader:
        left_bytes = batch.share_bytes
        for path in batch.paths:
            try:
                left_bytes -= _read(reader, path, limit_bytes, looks, left_bytes if decoded else None)
            except UnreadableError as error:
                looks.unreadable[path] = error.cause
    return looks


def _read(reader: Reader, path: str, limit_bytes: int, looks: Looks, left_bytes: int | None) -> int:
    """Look at one file; returns the memory that it took of what is left."""
    body = _body(reader, path, limit_bytes, looks)
    if body is None:
        return 0
    looks.seen[path] = Seen(body.stamp, sha256(body.content).digest())
    parsed = RunPath.parse(path)
    if left_bytes is None or parsed is None:
        return 0
    look = first_look(body.content)
    cost_bytes = len(body.content) * look.cost
    if cost_bytes > left_bytes:
        looks.costly[path] = cost_bytes
        return 0
    looks.decoded[path] = decode(body.content, parsed, body.stamp, look=look)
    return cost_bytes


def _body(reader: Reader, path: str, limit_bytes: int, looks: Looks) -> Body | None:
    body = reader.read(path, limit_bytes)
    if body and len(body.content) > limit_bytes:
        looks.seen[path] = Seen(body.stamp)
        return None
    return body
