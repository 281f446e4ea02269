"""``tracewatchd sample``: generated run files, for a first look and for trying things out."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import AsJson, Hostile, IfEmpty, Runs, SampleDirectory, Seed
from tracewatchd.cli.output import Output
from tracewatchd.cli.working import counted
from tracewatchd.edges.writing import is_empty, make_directory, write_file
from tracewatchd.model.exits import Exit
from tracewatchd.model.layout import decode_path
from tracewatchd.model.sample import CLEAN, SampleFile, generate

_EXITS = {
    Exit.OK: "the sample is written, or --if-empty found something",
    Exit.USAGE: "wrong usage",
    Exit.PERMANENT: "the directory cannot be written",
    Exit.TRANSIENT: "the disk is full or failing",
    Exit.INTERRUPTED: "interrupted; what was written stays",
}


@dataclass(slots=True)
class Written:
    """What a sample is made of, in files; ``expected`` counts the states that they must end in."""

    directory: Path
    files: int = 0
    size_bytes: int = 0
    expected: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)

    def add(self, file: SampleFile) -> None:
        """Count one file."""
        self.files += 1
        self.size_bytes += len(file.body)
        self.expected[file.expected] += 1
        if file.kind != CLEAN:
            self.hostile[file.kind] += 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "sample", exits=_EXITS, examples=["tracewatchd sample ./more --runs 100 --seed 2"])(sample)


def sample(
    directory: SampleDirectory,
    runs: Runs = 200,
    seed: Seed = 1,
    hostile: Hostile = 0.0,
    if_empty: IfEmpty = False,
    as_json: AsJson = False,
) -> None:
    """Write run files as a real application would: traces of several projects and days.

    The same options write the same bytes. With --hostile, that share of the files is bad input of every known kind.
    """
    out = Output(as_json=as_json)
    written = Written(directory)
    if if_empty and not is_empty(directory):
        out.line(f"{directory} holds something already; nothing was written")
    else:
        _write(written, runs, seed, hostile)
        out.line(f"{written.files} run files ({written.size_bytes / 1e6:.1f} MB) written into {directory}")
        out.line(f"to be expected: {counted(written.expected)}")
    out.data(written)


def _write(written: Written, runs: int, seed: int, hostile: float) -> None:
    made: set[Path] = set()
    for file in generate(runs, seed, hostile):
        path = written.directory / os.fsdecode(decode_path(file.path))
        if path.parent not in made:
            make_directory(path.parent)
            made.add(path.parent)
        write_file(path, file.body)
        written.add(file)
