"""How long what people look up takes: five lookups on a million small runs, and on a hundred thousand large ones."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import md5
from pathlib import Path
from statistics import quantiles
from uuid import UUID

import asyncpg
from cluster import TEMPLATE, Cluster
from watching import migrate

from tracewatchd.store.statements import statement
from tracewatchd.store.traces import IN_ORDER_OF_THE_TABLE

BOUND_MS = 100
_DATABASE = "looked-up"
_DAYS = 30
_QUERIES = Path(__file__).parents[1] / "docs" / "queries.md"
_PROJECT = "support-bot"
_LISTED = 1_000
_OF_DAEMON = (
    "SET plan_cache_mode = force_generic_plan",
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
    "SET random_page_cost = 1.1",
)
"""What the daemon's own connections set, as far as plans are chosen by it."""
_OF_A_DAY = (*_OF_DAEMON, IN_ORDER_OF_THE_TABLE.replace("LOCAL ", ""))
_OF_PSQL = ()
"""As anybody asks who has only the server's own settings."""

_FILL = """
create temporary table texts as
select n, string_agg(md5(random()::text), ' ') as body
from generate_series(1, 400) n, generate_series(1, {words}) word group by n;
insert into runs (run_id, trace_id, parent_run_id, project, run_date, trace_date, name, run_type, status, start_time,
    end_time, total_tokens, total_cost, data, metadata, extracted_at, file_mtime_ns, file_sha256, rules)
select md5('run' || i)::uuid, md5('run' || first)::uuid,
    case when i > first then md5('run' || first + (i - first - 1) / 3)::uuid end,
    project, day, day, (array['agent', 'plan', 'ChatOpenAI', 'web_search'])[1 + i % 4], kind,
    case when i % 33 = 0 then 'error' else 'success' end, begun, begun + random() * random() * interval '60 s',
    case kind when 'llm' then 100 + i % 5000 end, case kind when 'llm' then (i % 5000) / 1e6 end,
    jsonb_build_object('id', md5('run' || i), 'name', 'agent', 'run_type', kind, 'start_time', begun,
        'dotted_order', to_char(begun, 'YYYYMMDD"T"HH24MISSUS"Z"') || md5('run' || i),
        'error', case when i % 33 = 0 then 'TimeoutError(''the model did not answer'')' end,
        'inputs', jsonb_build_object(
            'messages', substr(body, 1 + (i % 2000)::int, ({mean} * (0.2 + 1.6 * random()))::int))),
    '{{"extracted_at": "2026-11-25T00:00:00Z"}}', '2026-11-25', i, sha256(int8send(i)), 1
from (
    select i, i / 80 * 80 as first,
        (array['support-bot', 'support-bot', 'research', 'evals'])[1 + i / 80 % 4] as project,
        date '2026-11-01' + (i * {days} / {rows})::int as day,
        date '2026-11-01' + (i * {days} / {rows})::int + interval '1 s' * ((i * {days}) % {rows} * 86400.0 / {rows})
            as begun,
        (array['chain', 'chain', 'llm', 'tool'])[1 + i % 4] as kind
    from generate_series(0::bigint, {rows} - 1) i
) run join texts on n = 1 + i % 400
"""


@dataclass(frozen=True)
class Lookup:
    """One question: its SQL, and how its arguments are drawn where there are so many rows."""

    sql: str
    draw: Callable[[random.Random, int], Sequence[object]]
    settings: Sequence[str] = _OF_DAEMON


def measure(cluster: Cluster, directory: Path, sets: Sequence[tuple[int, int]], times: int) -> str:  # noqa: ARG001 - as the other parts
    """The section of the results: percentiles of each lookup on each set of rows, and the plans on the first."""
    busy = os.getloadavg()[0]
    cluster.create(TEMPLATE)
    migrate(cluster.url(TEMPLATE))
    measured: list[str] = []
    plans: dict[str, str] = {}
    for rows, mean in sets:
        size = _fill(cluster, rows, mean)
        spent = asyncio.run(_asked(cluster.url(_DATABASE), rows, times))
        measured += [
            f"| {rows:,} of {mean / 1_000:g} kB ({size}) | {name} | {_figures(spent[name])} |" for name in spent
        ]
        plans = plans or _plans(cluster, rows)
    return _report(measured, plans, times, busy)


def _fill(cluster: Cluster, rows: int, mean: int) -> str:
    """Make so many rows of that mean size of JSON, in bytes; says how much they take up."""
    begun = time.perf_counter()
    cluster.create(_DATABASE, TEMPLATE)
    sql = _FILL.format(rows=rows, mean=mean - 320, words=(2_000 + 2 * mean) // 33, days=_DAYS)
    cluster.psql(_DATABASE, *sql.split(";\n"), "vacuum (analyze) runs", "checkpoint")
    length = cluster.psql(_DATABASE, "select avg(length(data::text))::int from runs tablesample system (10)").strip()
    size = cluster.psql(_DATABASE, "select pg_size_pretty(pg_total_relation_size('runs'))").strip()
    print(f"{rows} rows of {length} characters, {size}, in {time.perf_counter() - begun:.0f} s", flush=True)
    return size


def _lookups() -> Mapping[str, Lookup]:
    listed = statement("traces_list", "public")
    return {
        "run by id": Lookup(statement("run", "public"), lambda rng, rows: [_run(rng.randrange(rows))]),
        "trace by id": Lookup(statement("trace", "public"), lambda rng, rows: [_run(rng.randrange(rows) // 80 * 80)]),
        "newest of a project-day": Lookup(listed, lambda rng, _: _chosen(rng, None), _OF_A_DAY),
        "errors of a project-day": Lookup(listed, lambda rng, _: _chosen(rng, "error"), _OF_A_DAY),
        "slowest of a project-day": Lookup(
            _documented("Slowest runs of a project-day"), lambda rng, _: [_PROJECT, _day(rng)], _OF_PSQL
        ),
    }


def _documented(heading: str) -> str:
    """A query of docs/queries.md for any project and day."""
    text = _QUERIES.read_text(encoding="utf-8")
    sql = re.search(rf"(?ms)^## {heading}$.*?^```sql\n(.*?)^```", text)
    assert sql, heading
    return re.sub(r"DATE '[\d-]+'", "$2", sql[1].rstrip().removesuffix(";").replace(f"'{_PROJECT}'", "$1"))


def _run(number: int) -> UUID:
    return UUID(bytes=md5(f"run{number}".encode(), usedforsecurity=False).digest())


def _day(rng: random.Random) -> date:
    return date(2026, 11, 1 + rng.randrange(_DAYS))


def _chosen(rng: random.Random, status: str | None) -> Sequence[object]:
    day = _day(rng)
    return [[_PROJECT], day, day, status, None, None, None, None, _LISTED]


async def _asked(url: str, rows: int, times: int) -> dict[str, list[float]]:
    """Milliseconds of each lookup, from asking to the last row, one after the other on one connection."""
    connection = await asyncpg.connect(url)
    rng = random.Random(1)  # noqa: S311 - which rows are asked for is no secret
    spent: dict[str, list[float]] = {}
    for name, lookup in _lookups().items():
        await connection.execute(";".join(("RESET ALL", *lookup.settings)))
        asked = await connection.prepare(lookup.sql)
        spent[name] = []
        for _ in range(times):
            arguments = lookup.draw(rng, rows)
            begun = time.perf_counter()
            found = await asked.fetch(*arguments)
            spent[name].append(1_000 * (time.perf_counter() - begun))
            assert found, (name, arguments)
        print(f"  {name}: {_figures(spent[name])}", flush=True)
    await connection.close()
    return spent


def _figures(spent: Sequence[float]) -> str:
    parts = quantiles(spent, n=100, method="inclusive")
    return f"{parts[49]:.1f} | {parts[98]:.1f} | {max(spent):.1f}"


def _plans(cluster: Cluster, rows: int) -> dict[str, str]:
    """How the server finds each answer, with the settings with which it is asked."""
    plans = {}
    for name, lookup in _lookups().items():
        given = ", ".join(map(_literal, lookup.draw(random.Random(2), rows)))  # noqa: S311 - as above
        explain = f"explain (analyze, costs off, timing off, summary off) execute lookup({given})"
        plans[name] = cluster.psql(_DATABASE, *lookup.settings, f"prepare lookup as {lookup.sql}", explain).rstrip()
    return plans


def _literal(value: object) -> str:
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    return "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"


def _report(measured: Sequence[str], plans: Mapping[str, str], times: int, busy: float) -> str:
    shown = "\n".join(f"*{name}*:\n\n```text\n{plan}\n```\n" for name, plan in plans.items())
    return f"""\
Five lookups, each {times:,} times with other arguments, one after the other on one connection through the server's
socket, until the last row has arrived. Runs lie in traces of 80 over {_DAYS} days, in the order of their times, half of
them in the one project that is asked about, so that its days have a sixtieth of all runs each; 3 % are errors. Nothing
is warmed up beforehand. What is asked of a project-day grows with the runs of that day. The machine's load average when
it began was {busy:.1f}: what is beyond a few tenths was other work on the same cores.

- *run by id* and *trace by id* fetch whole runs, their JSON included (a trace is 80 runs).
- *newest* and *errors of a project-day* are what `tracewatchd traces list` asks, at most {_LISTED} runs.
- *slowest of a project-day* is the query of [queries.md](queries.md#slowest-runs-of-a-project-day), with the settings
  that the server has by itself.

| rows (table with indexes) | lookup | p50, ms | p99, ms | max, ms |
|---|---|---:|---:|---:|
{chr(10).join(measured)}

Bound: p50 and p99 at most {BOUND_MS} ms.

How the server finds them, on the first of these sets:

{shown}"""
