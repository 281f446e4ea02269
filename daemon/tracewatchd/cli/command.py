"""What every command has in common: how it is registered, how its help ends, how its errors become an exit status."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec

import typer

from tracewatchd.cli import output
from tracewatchd.model.errors import (
    ConfigError,
    NotCheckedError,
    PermanentError,
    PoisonError,
    TracewatchError,
    TransientError,
)
from tracewatchd.model.exits import Exit

_Arguments = ParamSpec("_Arguments")
_Exits = Mapping[Exit, str]

_STATUSES: Mapping[type[TracewatchError], tuple[Exit, ...]] = {
    ConfigError: (Exit.CONFIG,),
    TransientError: (Exit.TRANSIENT, Exit.NOT_CHECKED),
    PermanentError: (Exit.PERMANENT, Exit.NOT_CHECKED),
    PoisonError: (Exit.POISON, Exit.FOUND),
    NotCheckedError: (Exit.NOT_CHECKED, Exit.TRANSIENT),
}
"""The first of these that the command's own table holds is its exit status."""
_READER_GONE = 128 + signal.SIGPIPE  # what a shell shows for any program that wrote to a closed pipe


def group(about: str) -> typer.Typer:
    """A group of commands; called without one of them it shows its help."""
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def command(
    app: typer.Typer, name: str, *, exits: _Exits, examples: Sequence[str]
) -> Callable[[Callable[_Arguments, Exit | None]], Callable[_Arguments, Exit | None]]:
    """Register a function as a command. It returns its exit status, None for `Exit.OK`, or raises a typed error.

    Args:
        app: the group that the command belongs to.
        name: the command's name in it.
        exits: what each exit status means here (`LOADING`, `CHECKING` or the command's own table); ends the help.
        examples: whole command lines that work where the sample has been loaded; a test runs each.
    """

    def register(run: Callable[_Arguments, Exit | None]) -> Callable[_Arguments, Exit | None]:
        @functools.wraps(run)
        def guarded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
            raise typer.Exit(_status(functools.partial(run, *args, **kwargs), exits))

        app.command(name, epilog=_epilog(exits, examples))(guarded)
        return run

    return register


def status_of(error: TracewatchError, exits: _Exits) -> Exit:
    """The exit status of a command that ends by this error."""
    wanted = next(statuses for kind, statuses in _STATUSES.items() if isinstance(error, kind))
    return next(status for status in wanted if status in exits)


def _status(run: Callable[[], Exit | None], exits: _Exits) -> int:
    try:
        status = run()
        output.flush()
    except TracewatchError as error:
        _tell(error)
        return status_of(error, exits)
    except (KeyboardInterrupt, typer.Abort):
        output.note("interrupted")
        return Exit.INTERRUPTED
    except output.ReaderGoneError:
        output.forget_reader()
        return _READER_GONE
    return status or Exit.OK


def _tell(error: TracewatchError) -> None:
    output.note(str(error) if isinstance(error, ConfigError) else f"error: {error}")
    if error.hint:
        output.note(f"hint: {error.hint}")


def _epilog(exits: _Exits, examples: Sequence[str]) -> str:
    # \b on a line of its own keeps the formatter from filling what follows into one paragraph.
    statuses = [f"  {status:>3}  {meaning}" for status, meaning in sorted(exits.items())]
    lines = [f"  {example}" for example in examples]
    return "\n".join(["\b", "EXIT STATUS", *statuses, "", "\b", "Example:", *lines])
