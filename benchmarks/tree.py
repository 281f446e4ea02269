"""Directories of generated run files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tracewatchd.model.layout import decode_path
from tracewatchd.model.sample import SampleFile, generate

SEED = 1


def write_tree(root: Path, files: int) -> tuple[int, int]:
    """Write a sample of so many files; how many there are and how many bytes they hold."""
    size = 0
    for file in generate(files, SEED):
        path = place(root, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.body)
        size += len(file.body)
    return files, size


def write_small_tree(root: Path, files: int) -> None:
    """Write runs to the places of a sample, without what they would hold."""
    for file in generate(files, SEED):
        path = place(root, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"id":"%s","start_time":"%s"}' % (str(file.run_id).encode(), path.parent.name.encode()))


def place(root: Path, file: SampleFile) -> Path:
    """Where the file belongs under the root."""
    return root / os.fsdecode(decode_path(file.path))


def write_largest(root: Path, size_bytes: int) -> Path:
    """Write one run file of exactly so many bytes, its text in strings of 1,000 bytes as conversations have them."""
    run_id = "ffffffff-ffff-4fff-bfff-ffffffffffff"
    head = b'{"id":"%s","name":"largest","start_time":"2026-11-16 12:00:00+00:00","inputs":{"texts":[' % run_id.encode()
    tail = b"]}}"
    path = root / "support-bot" / "2026-11-16" / f"{run_id}_120000.json"
    with path.open("wb") as file:
        file.write(head)
        for text in _texts(size_bytes - len(head) - len(tail)):
            file.write(text)
        file.write(tail)
    return path


def _texts(size_bytes: int) -> Iterator[bytes]:
    """JSON strings with commas between them, so many bytes in all."""
    whole, rest = divmod(size_bytes, 1_000)
    for number in range(whole - 1):
        yield b'"%0997d",' % number
    yield b'"%s"' % (b"x" * (1_000 + rest - 2))
