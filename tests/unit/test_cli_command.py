from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tracewatchd.cli.command import command, group, status_of
from tracewatchd.cli.output import Output, note
from tracewatchd.model.errors import (
    ConfigError,
    NotCheckedError,
    PermanentError,
    PoisonError,
    TracewatchError,
    TransientError,
)
from tracewatchd.model.exits import CHECKING, LOADING, Exit


def ending(run: Callable[[], Exit | None], exits: Mapping[Exit, str] = LOADING) -> tuple[int, str, str]:
    """The status, standard output and standard error of a command that does this."""
    app = group("A group for this test.")
    command(app, "act", exits=exits, examples=["tracewatchd act"])(run)
    command(app, "rest", exits=exits, examples=["tracewatchd rest"])(lambda: None)
    result = CliRunner().invoke(app, ["act"])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("error", "loading", "checking"),
    [
        (ConfigError("a.b: bad", "c.d: worse"), 78, 78),
        (TransientError("away"), 75, 3),
        (PermanentError("no such role"), 70, 3),
        (PoisonError("a NUL"), 65, 1),
        (NotCheckedError("busy"), 75, 3),
    ],
)
def test_typed_errors_have_their_status(error: TracewatchError, loading: int, checking: int) -> None:
    """Each class ends a loading and a checking command as the tables of exit statuses say."""
    assert (status_of(error, LOADING), status_of(error, CHECKING)) == (loading, checking)


def test_an_error_is_told_with_its_hint_and_without_a_traceback() -> None:
    """The message and what to do next go to standard error, and nothing else."""

    def act() -> Exit:
        raise PermanentError("the role may not write", hint="Grant it.")

    assert ending(act) == (70, "", "error: the role may not write\nhint: Grant it.\n")


def test_a_fault_is_a_line() -> None:
    """Faults of the configuration are told as they are, one a line; an empty hint is not told."""

    def act() -> Exit:
        raise ConfigError("a.b: bad", "c.d: worse")

    assert ending(act) == (78, "", "a.b: bad\nc.d: worse\n")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, typer.Abort])
def test_an_interruption(interruption: type[BaseException]) -> None:
    """Ctrl-C, at work or at a question, ends with 130 and one line."""

    def act() -> Exit:
        raise interruption

    assert ending(act) == (130, "", "interrupted\n")


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (Exit.OK, 0), (Exit.FOUND, 1), (Exit.NOT_CHECKED, 3)])
def test_what_is_returned_is_the_status(returned: Exit | None, status: int) -> None:
    """A command returns its status; None is success."""
    assert ending(lambda: returned)[0] == status


def test_a_mistake_of_ours_is_not_hidden() -> None:
    """Only typed errors are turned into a status: any other one keeps its traceback."""

    def act() -> Exit:
        raise ZeroDivisionError

    app = group("A group for this test.")
    command(app, "act", exits=LOADING, examples=[])(act)
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(app, [], catch_exceptions=False)


@dataclass
class Answer:
    """A result of a command."""

    day: date
    run: uuid.UUID
    file: Path


def test_results_for_people_and_for_machines() -> None:
    """Both are said and one is written: rows as aligned columns, or one JSON document a line."""
    answer = Answer(date(2025, 8, 29), uuid.UUID(int=1), Path("/a"))

    def say(*, as_json: bool) -> None:
        out = Output(as_json=as_json)
        out.line("two rows")
        out.table(("name", "value"), [("[red]a", "x" * 200), ("bb", "é")])
        out.data({"answer": answer})
        note("told apart")

    people = ending(lambda: say(as_json=False))
    assert people == (0, f"two rows\nname    value\n[red]a  {'x' * 200}\nbb      é\n", "told apart\n")
    machines = ending(lambda: say(as_json=True))
    expected = '{"answer": {"day": "2025-08-29", "run": "00000000-0000-0000-0000-000000000001", "file": "/a"}}\n'
    assert machines == (0, expected, "told apart\n")
