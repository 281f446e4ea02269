"""Every command of the installed program, as the tests that hold for all of them walk it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from typer.main import get_command

from tracewatchd.cli.main import program


class Found(NamedTuple):
    """One command: its words after the program's name, and what typer made of it."""

    words: tuple[str, ...]
    command: Any

    @property
    def parameters(self) -> list[Any]:
        """Its options and arguments."""
        return list(self.command.params)

    @property
    def examples(self) -> list[list[str]]:
        """The command lines under "Example:" in its help, each as its words."""
        _, _, lines = (self.command.epilog or "").partition("Example:\n")
        return [shlex.split(line) for line in lines.splitlines() if line.strip()]


def commands() -> list[Found]:
    """Every command that does something, groups left out."""
    return [found for found in _walk((), get_command(program())) if not hasattr(found.command, "commands")]


def groups() -> list[Found]:
    """Every group of commands, the program itself included."""
    return [found for found in _walk((), get_command(program())) if hasattr(found.command, "commands")]


def examples() -> list[list[str]]:
    """The example lines of every command's help: each must work where the sample has been loaded."""
    return [example for found in commands() for example in found.examples]


def _walk(words: tuple[str, ...], command: Any) -> Iterator[Found]:
    yield Found(words, command)
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk((*words, name), child)
