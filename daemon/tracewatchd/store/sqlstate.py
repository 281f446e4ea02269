"""What an error of the driver means for us: one table, decided on type and SQLSTATE, never on message text.

Sources: PostgreSQL's appendix of error codes, and what asyncpg raises on its own account.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tracewatchd.model.errors import PermanentError, PoisonError, TracewatchError, TransientError

TRANSIENT: dict[str, bool] = {
    "08": True,  # connection exceptions
    "25006": False,  # read-only: a replica that is being promoted, or a disk that is full
    "25P03": False,  # we were stopped or starved inside a transaction for longer than the server allows
    "25P04": True,  # transaction timeout
    "26000": False,  # a prepared statement that is gone: reconnect
    "40001": False,  # serialization failure
    "40003": False,  # nobody knows whether it was committed; doing it again does no harm
    "40P01": False,  # deadlock
    "53": False,  # out of connections or disk
    "53200": True,  # out of memory
    "55P03": False,  # lock not available in time
    "57014": True,  # statement timeout
    "57P01": True,  # terminated by an administrator
    "57P02": True,  # the server crashed
    "57P03": False,  # starting up or shutting down
    "57P05": False,  # idle for longer than the server allows
    "58030": False,  # I/O error
    "XX000": True,  # internal error: what an array of 17 million elements meets, among others
}
"""Codes (5 characters) and classes (2) that heal; the value says whether the content may be to blame."""

POISON = frozenset({"22", "23", "21000", "54000", "54001"})
"""Codes and classes that are about content."""

HINTS: dict[str, str] = {
    "08P01": "if the URL leads to pgbouncer, set database.pgbouncer = true",
    "28": "check user, password and pg_hba.conf",
    "3D000": "create the database, or name another in database.url",
    "42501": "grant the role what it lacks, or let its owner run `tracewatchd db migrate`",
    "42P01": "run `tracewatchd db migrate`",
    "42703": "run `tracewatchd db migrate`; if a table of this name belongs to another program, set database.schema",
    "42P07": "another program has a table of this name: let tracewatchd have a schema of its own, database.schema",
    "3F000": "run `tracewatchd db migrate`, or correct database.schema",
    "0A": "the server lacks a feature; PostgreSQL 14 or newer is needed",
}
_CERTIFICATE_HINT = "check sslrootcert, sslmode and the host's name in database.url, and the server's certificate"
_ANY_PERMANENT_HINT = "mend what the message names, then start again"


def _listed(sqlstate: str, table: dict[str, bool] | frozenset[str] | dict[str, str]) -> str | None:
    return next((key for key in (sqlstate, sqlstate[:2]) if key in table), None)


def of_sqlstate(sqlstate: str, message: str, place: str | None = None) -> TracewatchError:
    """The error class of a code; what no table lists is permanent, named in full."""
    text = f"{message} [{sqlstate}]"
    hinted = _listed(sqlstate, HINTS)
    hint = HINTS[hinted] if hinted else ""
    if key := _listed(sqlstate, TRANSIENT):
        return TransientError(text, sqlstate=sqlstate, suspect_content=TRANSIENT[key], hint=hint)
    if _listed(sqlstate, POISON):
        return PoisonError(message, sqlstate=sqlstate, place=place)
    return PermanentError(text, sqlstate=sqlstate, hint=hint or _ANY_PERMANENT_HINT)


def classified(error: Exception) -> TracewatchError:
    """Our error for one that a call of the driver raised."""
    match error:
        case asyncpg.InvalidCachedStatementError():
            return TransientError("a prepared statement is out of date; reconnecting", sqlstate=error.sqlstate)
        case asyncpg.DataError(severity=None) | UnicodeEncodeError():
            # Not the server's but of sending: the driver's own, which uses the server's class. It quotes the value.
            return PoisonError("a value cannot be sent")
        case asyncpg.PostgresError(sqlstate=str(sqlstate)):
            # DETAIL and CONTEXT may quote content, so only the message and the column's name are kept.
            return of_sqlstate(sqlstate, error.message or str(error), error.column_name)
        case _:
            return _met_on_the_way(error)


def _met_on_the_way(error: Exception) -> TracewatchError:
    match error:
        case asyncpg.ClientConfigurationError() | asyncpg.UnsupportedClientFeatureError():
            return PermanentError(_words(error), hint="correct database.url, or the server's settings")
        case ssl.SSLCertVerificationError():
            return PermanentError(_words(error), hint=_CERTIFICATE_HINT)
        case TimeoutError():
            return TransientError("no answer in time", suspect_content=True)
        case OSError() | asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return TransientError(f"connection lost: {_words(error)}", suspect_content=True)
        case _:
            return PermanentError(f"{type(error).__name__}: {_words(error)}", hint=_ANY_PERMANENT_HINT)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)
"""What calls of the driver are known to raise; `TimeoutError` is an `OSError`."""


@contextmanager
def classifying(*, content: bool = False) -> Iterator[None]:
    """Turn what the driver raises in this block into our errors; only where ``content`` is stored, it can be poison."""
    try:
        yield
    except DRIVER_ERRORS as error:
        ours = classified(error)
        raise (ours if content else _without_content(ours)) from error


def _without_content(error: TracewatchError) -> TracewatchError:
    if isinstance(error, PoisonError):
        code = f" [{error.sqlstate}]" if error.sqlstate else ""
        return PermanentError(f"{error}{code}", sqlstate=error.sqlstate, hint=_ANY_PERMANENT_HINT)
    return error
