"""What each error of the driver means, row by row, and what the driver raises on its own account."""

from __future__ import annotations

import asyncio
import socket
import ssl
import string
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewatchd.model.errors import PermanentError, PoisonError, TracewatchError, TransientError
from tracewatchd.store.sqlstate import HINTS, POISON, TRANSIENT, classified, classifying, of_sqlstate

HEALS_WHATEVER_WAS_SENT = [
    "25006",
    "25P03",
    "26000",
    "40001",
    "40003",
    "40P01",
    "53000",
    "53100",
    "53300",
    "53400",
    "55P03",
    "57P03",
    "57P05",
    "58030",
]
HEALS_BUT_CONTENT_MAY_BE_TO_BLAME = [
    "08000",
    "08001",
    "08003",
    "08004",
    "08006",
    "08007",
    "08P01",
    "25P04",
    "53200",
    "57014",
    "57P01",
    "57P02",
    "XX000",
]
CONTENT = [
    "21000",
    "22000",
    "22001",
    "22003",
    "22007",
    "22008",
    "22021",
    "22023",
    "22P02",
    "22P03",
    "22P05",
    "23000",
    "23502",
    "23505",
    "23514",
    "54000",
    "54001",
]
SURROUNDINGS = {
    "0A000": "PostgreSQL 14 or newer",
    "28000": "pg_hba.conf",
    "28P01": "password",
    "3D000": "database.url",
    "3F000": "database.schema",
    "42501": "grant",
    "42P01": "db migrate",
    "42703": "db migrate",
    "42P07": "database.schema",
}
UNLISTED = [
    "42601",
    "42883",
    "57P04",
    "58P01",
    "54023",
    "XX001",
    "XX002",
    "F0000",
    "P0001",
    "40000",
    "40002",
    "55006",
    "25001",
    "HV000",
]


@pytest.mark.parametrize("code", HEALS_WHATEVER_WAS_SENT)
def test_what_heals_whatever_was_sent_is_tried_again_without_suspicion(code: str) -> None:
    """These codes are transient and never lead to the quarantine of a record."""
    error = of_sqlstate(code, "message")
    assert isinstance(error, TransientError)
    assert (error.sqlstate, error.suspect_content) == (code, False)
    assert str(error) == f"message [{code}]"


@pytest.mark.parametrize("code", HEALS_BUT_CONTENT_MAY_BE_TO_BLAME)
def test_what_content_may_have_caused_is_tried_again_with_suspicion(code: str) -> None:
    """These codes are transient, and a record that meets them each time while Postgres answers can be found out."""
    error = of_sqlstate(code, "message")
    assert isinstance(error, TransientError)
    assert (error.sqlstate, error.suspect_content) == (code, True)


@pytest.mark.parametrize("code", CONTENT)
def test_what_is_about_content_is_poison(code: str) -> None:
    """These codes isolate a record; code, message and column are kept apart for the quarantine row."""
    error = of_sqlstate(code, "message", "data")
    assert isinstance(error, PoisonError)
    assert (str(error), error.sqlstate, error.place) == ("message", code, "data")


@pytest.mark.parametrize("code", SURROUNDINGS)
def test_what_is_wrong_around_us_stops_with_a_hint(code: str) -> None:
    """These codes are permanent, and the hint names what an operator can turn."""
    error = of_sqlstate(code, "message")
    assert isinstance(error, PermanentError)
    assert str(error) == f"message [{code}]"
    assert SURROUNDINGS[code] in error.hint


@pytest.mark.parametrize("code", UNLISTED)
def test_real_codes_that_no_table_lists_are_permanent(code: str) -> None:
    """A code that nobody thought of stops the daemon and is named in full, with a hint."""
    error = of_sqlstate(code, "message")
    assert isinstance(error, PermanentError)
    assert (str(error), error.sqlstate) == (f"message [{code}]", code)
    assert error.hint


def test_every_row_of_the_tables_is_tested_here() -> None:
    """No code or class enters a table without a claim in this module."""
    claimed = [*HEALS_WHATEVER_WAS_SENT, *HEALS_BUT_CONTENT_MAY_BE_TO_BLAME, *CONTENT, *SURROUNDINGS, "08P01"]
    rows = {*TRANSIENT, *POISON, *HINTS}
    assert {row for row in rows if not any(code.startswith(row) for code in claimed)} == set()
    assert not TRANSIENT.keys() & POISON


@given(st.text(string.ascii_uppercase + string.digits, min_size=5, max_size=5))
def test_no_code_is_without_a_class(code: str) -> None:
    """Whatever five characters a server sends, one of the three classes comes of it, and the code is never lost."""
    error = of_sqlstate(code, "message")
    assert isinstance(error, TransientError | PermanentError | PoisonError)
    assert error.sqlstate == code
    listed = {code, code[:2]} & {*TRANSIENT, *POISON}
    assert isinstance(error, PermanentError) is not bool(listed)


def test_a_pooler_that_refuses_our_parameters_has_a_hint() -> None:
    """08P01 is what pgbouncer says to start-up parameters that it does not know, so the hint names the setting."""
    assert "database.pgbouncer" in of_sqlstate("08P01", "unsupported startup parameter: jit").hint


def test_detail_and_context_of_the_server_are_not_kept() -> None:
    """DETAIL may quote content, so neither it nor anything but message, code and column is told."""
    raw = {"S": "ERROR", "C": "22P02", "M": "invalid input", "D": 'Token "secret" is invalid.', "c": "data"}
    error = classified(asyncpg.PostgresError.new(raw))
    assert isinstance(error, PoisonError)
    assert (str(error), error.place) == ("invalid input", "data")


def test_a_prepared_statement_that_went_stale_reconnects() -> None:
    """The driver's InvalidCachedStatementError carries 0A000, which alone would be permanent."""
    error = classified(asyncpg.exceptions.InvalidCachedStatementError("cached statement plan is invalid"))
    assert isinstance(error, TransientError)
    assert not error.suspect_content


async def met(dsn: str) -> TracewatchError:
    """What connecting there comes to."""
    with pytest.raises(TracewatchError) as met, classifying():
        await asyncpg.connect(dsn, timeout=1)
    return met.value


async def test_no_server_on_a_unix_socket_heals(tmp_path: Path) -> None:
    """A server that is down leaves no socket: FileNotFoundError is an outage."""
    error = await met(f"postgresql://u@/d?host={tmp_path}")
    assert isinstance(error, TransientError)
    assert error.sqlstate is None


async def test_a_refused_connection_heals() -> None:
    """Nobody listens on the port: an outage."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await met(f"postgresql://u@127.0.0.1:{unused.getsockname()[1]}/d")
    assert isinstance(error, TransientError)
    assert "Connect call failed" in str(error)


async def test_silence_heals() -> None:
    """A server that accepts and says nothing is an outage, told as such and not as a lost connection."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = await met(
            f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d?sslmode=disable",
        )
    assert isinstance(error, TransientError)
    assert (str(error), error.suspect_content) == ("no answer in time", True)


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://u@localhost/d?sslmode=maybe", "postgresql://u@localhost:nowhere/d", "mysql://u@localhost/d"],
)
async def test_a_url_that_cannot_be_meant_is_permanent(dsn: str) -> None:
    """What the driver says of our configuration is told in its words: neither content nor an outage."""
    error = await met(dsn)
    assert isinstance(error, PermanentError)
    assert len(str(error)) > len("ClientConfigurationError: ")


def test_a_certificate_that_cannot_be_verified_is_permanent() -> None:
    """Waiting mends no certificate, although the error is an OSError."""
    error = classified(ssl.SSLCertVerificationError(1, "certificate verify failed"))
    assert isinstance(error, PermanentError)
    assert "sslrootcert" in error.hint


@pytest.mark.parametrize(
    "raised",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
        ConnectionResetError(104, "Connection reset by peer"),
        OSError("no errno"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_a_broken_link_heals(raised: Exception) -> None:
    """What the driver says of a connection in a doubtful state means a new one, and content may be to blame."""
    error = classified(raised)
    assert isinstance(error, TransientError)
    assert error.suspect_content


def test_a_feature_that_the_driver_lacks_is_permanent() -> None:
    """A server that asks for a way to log in that the driver does not know will ask for it again."""
    error = classified(asyncpg.UnsupportedClientFeatureError("unsupported authentication method"))
    assert isinstance(error, PermanentError)


def test_where_nothing_was_stored_nothing_is_poison() -> None:
    """Outside a commit there is no file to quarantine, so what would be poison there is permanent."""
    refused = asyncpg.PostgresError.new({"S": "ERROR", "C": "22023", "M": "invalid value"})
    with pytest.raises(PermanentError, match=r"invalid value \[22023\]") as outside, classifying():
        raise refused
    assert outside.value.hint
    with pytest.raises(PoisonError), classifying(content=True):
        raise refused


def test_errors_of_ours_are_not_taken_for_the_drivers() -> None:
    """A block that raises one of our errors, is cancelled, or has a bug, is not reclassified."""
    for ours in (PermanentError("ours"), asyncio.CancelledError(), KeyError("a bug")):
        with pytest.raises(type(ours)), classifying():
            raise ours
