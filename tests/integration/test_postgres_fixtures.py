"""The servers and databases that tests are given."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from postgres import Server, statement


async def test_every_test_gets_a_database_of_its_own(server: Server, empty_database: str) -> None:
    """A fresh database is empty, UTF-8, and another one than the server's next."""
    other = server.create_database()
    rows = await statement(empty_database, "CREATE TABLE t (a int)", "SELECT current_setting('server_encoding') AS e")
    assert rows[0]["e"] == "UTF8"
    with pytest.raises(asyncpg.UndefinedTableError):
        await statement(other, "SELECT * FROM t")
    server.drop_database(other)


@pytest.mark.parametrize("which", ["wheel", "debian_postgres"])
async def test_a_server_of_ones_own_can_be_killed(
    which: str, request: pytest.FixtureRequest, server_of: Callable[..., Server]
) -> None:
    """Both kinds of PostgreSQL run here, and a killed one comes back with what it had."""
    binaries: Path = request.getfixturevalue(which)
    own = server_of(binaries, fsync="on", synchronous_commit="on")
    await statement(own.dsn(), "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    own.stop(signal.SIGKILL)
    with pytest.raises(ConnectionRefusedError):
        await statement(own.dsn(), "SELECT 1")
    own.start()
    [row] = await statement(own.dsn(), "SELECT count(*) FROM t")
    assert row[0] == 1
