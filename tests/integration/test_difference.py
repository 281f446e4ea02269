"""Two texts differ somewhere exactly when Postgres says that they differ."""

from __future__ import annotations

import asyncpg
from hypothesis import given, settings
from hypothesis import strategies as st

from json_texts import PAIRS
from postgres import Server, run_now
from tracewatchd.model.difference import differences

_EQUAL = """
    SELECT one = other AS equal, one::text AS stored
    FROM unnest($1::text[]::jsonb[], $2::text[]::jsonb[]) AS _ (one, other)
"""


async def _asked(dsn: str, pairs: list[tuple[bytes, bytes]]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(_EQUAL, *([text.decode() for text in side] for side in zip(*pairs, strict=True)))
    finally:
        await connection.close()


@settings(deadline=None, max_examples=25)
@given(pairs=st.lists(PAIRS, min_size=1, max_size=60))
def test_postgres_agrees(server: Server, pairs: list[tuple[bytes, bytes]]) -> None:
    """Equal there, no difference here; and what Postgres writes of a text is the text."""
    for (one, other), answer in zip(pairs, run_now(_asked(server.dsn(), pairs)), strict=True):
        assert (differences(one, other, "", 1) == []) == answer["equal"]
        assert differences(one, answer["stored"].encode(), "", 1) == []
