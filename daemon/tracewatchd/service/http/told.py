"""Everything that is known of the daemon, put together as the document of ``/status``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tracewatchd.model.daemon_status import (
    CurvePoint,
    DaemonStatus,
    DatabaseAnswers,
    DatabaseNow,
    SourceNow,
    SweepNow,
)
from tracewatchd.service.http.judge import health_of, sentence_of, troubles_of
from tracewatchd.service.vitals import Point, SourceVitals, SweepTold, Vitals

_DEPTHS = ("quick", "full", "deep")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What stays the same while the process lives. ``roots`` are named by source; ``database`` holds no password."""

    version: str
    pid: int
    roots: dict[str, str]
    database: str
    now: Callable[[], datetime]


def status_of(about: About, vitals: Vitals, answers: DatabaseAnswers, stuck: str | None) -> DaemonStatus:
    """The daemon as it is now."""
    now = about.now()
    database = DatabaseNow(
        name=about.database,
        up=vitals.database_up,
        error=vitals.outage_error,
        outage_s=round(vitals.outage_s, 1),
        outages_s=round(vitals.outages_s, 1),
    )
    sources = _sources(about, vitals)
    sweeps = [sweep for source in sources for sweep in source.sweeps]
    troubles = troubles_of(stuck=stuck or "", database=database, sources=sources, answers=answers)
    doing = vitals.status_text()
    return DaemonStatus(
        version=about.version,
        pid=about.pid,
        now=now,
        started_at=vitals.started_at,
        phase=vitals.phase,
        doing=doing,
        ready=why_not_ready(vitals) == "",
        stuck=stuck or "",
        health=health_of(vitals.phase, troubles, sweeps),
        sentence=sentence_of(vitals.phase, doing, troubles, sweeps, now),
        troubles=troubles,
        database=database,
        sources=sources,
        answers=answers,
        curve=tuple(map(_point, vitals.curve)),
    )


def why_not_ready(vitals: Vitals) -> str:
    """Why the daemon is not ready to be relied on; empty where it is. Standing by is being ready."""
    if vitals.phase == "stopping":
        return "stopping"
    if not vitals.database_up:
        return f"waiting for database for {vitals.outage_s:.0f} s"
    return "starting: the watches do not stand yet" if vitals.phase == "starting" else ""


def _sources(about: About, vitals: Vitals) -> tuple[SourceNow, ...]:
    backlog, oldest = vitals.backlog(), vitals.oldest_s()
    return tuple(
        _source(source, root, vitals.sources.get(source, SourceVitals()), backlog.get(source, 0), oldest.get(source, 0))
        for source, root in about.roots.items()
    )


def _source(source: str, root: str, known: SourceVitals, backlog: int, oldest_s: float) -> SourceNow:
    return SourceNow(
        source=source,
        root=root,
        mode=known.mode,
        file_system=known.file_system,
        missing_since=known.missing_since,
        backlog_files=backlog,
        oldest_s=round(oldest_s, 1),
        states=known.states(),
        findings=known.findings(),
        sweeps=_sweeps(known),
    )


def _sweeps(known: SourceVitals) -> tuple[SweepNow, ...]:
    return tuple(_sweep(known.sweeps[depth]) for depth in _DEPTHS if depth in known.sweeps)


def _sweep(told: SweepTold) -> SweepNow:
    return SweepNow(
        depth=told.depth,
        at=told.at,
        verdict=told.verdict,
        files=told.files,
        days=told.days,
        findings=told.findings,
        fixed=told.fixed,
        took_s=told.took_s,
        error=told.error,
    )


def _point(point: Point) -> CurvePoint:
    return CurvePoint(
        at=point.at,
        files=point.files,
        rows=point.rows,
        size_bytes=point.size_bytes,
        backlog_files=point.backlog,
        lag_s=round(point.lag_s, 2),
        database_away=point.away,
    )
