"""The installed daemon, expected to say nothing but events of its own, whatever the test does to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from postgres import run_now, statement
from running import PATIENCE_S, Running, eventually, running


@contextmanager
def daemon(*roots: Path, env: Mapping[str, str], **options: Any) -> Iterator[Running]:
    """A daemon on these roots; when the block ends well, no traceback and no library's complaint was seen."""
    with running("run", *map(str, roots), env=env, **options) as found:
        yield found
        assert found.other == []
        assert found.named("library.logged") == []


def settled(found: Running, sweeps: int = 1) -> None:
    """Wait until it is ready and so many sweeps are over."""
    found.wait_for("daemon.ready")
    found.wait_for("sweep.finished", count=sweeps)


def ended(found: Running) -> int:
    """Its exit status when it has ended by itself, or by a signal that it got already."""
    found.process.wait(PATIENCE_S)
    return found.stop()


def stopped(found: Running) -> dict[str, Any]:
    """What it said last, which must be the very last."""
    assert found.events[-1]["event"] == "daemon.stopped", found.tail()
    return found.events[-1]


def query(dsn: str, *queries: str) -> Any:
    """The first value of the last statement's answer, if it has one."""
    rows = run_now(statement(dsn, *queries))
    return rows[0][0] if rows else None


def rows_reach(dsn: str, count: int) -> None:
    """Wait for so many runs."""
    eventually(lambda: query(dsn, "SELECT count(*) FROM runs") == count, why=lambda: query(dsn, "TABLE runs"))


@contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Nobody can write to ``runs`` for the length of the block; everything else answers."""
    held, release = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE")
            held.set()
            await asyncio.to_thread(release.wait, 60)
        await connection.close()

    holding = threading.Thread(target=asyncio.run, args=(hold(),))
    holding.start()
    try:
        assert held.wait(20)
        yield
    finally:
        release.set()
        holding.join(20)
