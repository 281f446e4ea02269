"""One number for everything that two tables hold, over all columns: what a rollback must give back."""

from __future__ import annotations

from stores import Plain

_ALL = """
SELECT md5(coalesce(string_agg(line, E'\\n' ORDER BY line), '')) FROM (
    SELECT 'run ' || r::text AS line FROM runs r UNION ALL SELECT 'ledger ' || l::text FROM ledger l
) AS lines
"""


async def digest_of(connection: Plain) -> str:
    """The digest of every row of ``runs`` and ``ledger``, whatever their order."""
    await connection.execute("SET TimeZone = 'UTC'")
    return str(await connection.fetchval(_ALL))
