"""What commands print: results on standard output, for people or as JSON; messages on standard error.

Nothing is wrapped, cut or coloured except on a terminal, and nothing is coloured where ``NO_COLOR`` is set.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

import msgspec

_UNBOUNDED = 100_000  # columns of what is no terminal, so that nothing is ever wrapped there

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import Console
    from rich.text import Text


class ReaderGoneError(Exception):
    """Whoever read our standard output has gone (``| head``): there is nobody left to write for."""


class Output:
    """A command's result. What is for people and what is for machines are both said; one of them is written."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def data(self, value: object) -> None:
        """One JSON document on one line, with ``--json``: anything of dicts, dataclasses, dates, uuids and paths."""
        if self.as_json:
            _write(json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=str)) + "\n")

    def line(self, text: str) -> None:
        """One line for people."""
        if not self.as_json:
            _write(text + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Aligned columns for people, without a header where no column has a name; a row has a cell for each."""
        if self.as_json:
            return
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - takes a tenth of a command's start, and few print tables
        from rich.table import Table  # noqa: PLC0415 - as above

        style = SIMPLE_HEAD if sys.stdout.isatty() else None
        table = Table(*columns, box=style, pad_edge=False, show_header=any(columns))
        for row in rows:
            table.add_row(*row)
        console = console_on(sys.stdout)
        with console.capture() as captured:
            console.print(table)
        _write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where there is none, so that no line is too long."""
        return console_on(sys.stdout).width if sys.stdout.isatty() else None

    def texts(self, lines: Iterable[Text]) -> None:
        """Lines for people that have colours, where there is a terminal to show them; none is wrapped."""
        if self.as_json:
            return
        console = console_on(sys.stdout)
        for line in lines:
            with console.capture() as captured:
                console.print(line, soft_wrap=True)
            _write(captured.get().rstrip() + "\n")

    def record(self, value: DataclassInstance) -> None:
        """One object: a line per field for people, the whole of it as data."""
        self.table(("", ""), [(name.replace("_", " "), _shown(field)) for name, field in asdict(value).items()])
        self.data(value)


def note(text: str) -> None:
    """One message on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the one place that prints messages


def console_on(stream: TextIO) -> Console:
    """A rich console that takes texts as they are: brackets are no markup, and pipes have no width."""
    from rich.console import Console  # noqa: PLC0415 - as in Output.table

    width = None if stream.isatty() else _UNBOUNDED
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def flush() -> None:
    """Hand over what was written.

    Raises:
        ReaderGoneError: nobody reads it.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None


def forget_reader() -> None:
    """Point standard output at nothing, so that the interpreter's own last flush finds no broken pipe."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def accept_any_text() -> None:
    """Let file names that are not UTF-8 be printed, their bytes escaped, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise ReaderGoneError from None
