"""How ``tracewatchd status`` shows what a daemon says of itself: lines of text, in colour where there is a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from rich.text import Text

from tracewatchd.model.daemon_status import CurvePoint, DaemonStatus, Health, Seriousness, SourceNow, SweepNow
from tracewatchd.service.http.judge import quarantined_files, spoken_s

_TONES: Mapping[Health | Seriousness, str] = {
    "healthy": "bold green",
    "attention": "bold yellow",
    "unhealthy": "bold red",
    "unknown": "bold",
    "error": "red",
    "warning": "yellow",
    "info": "",
}
_BARS = " ▁▂▃▄▅▆▇█"
_POINTS = 60
_AWAY = "x"


def lines_of(status: DaemonStatus) -> Iterator[Text]:
    """Everything that fits on a screen."""
    yield Text.assemble((status.health, _TONES[status.health]), f": {_plain(status.sentence)}")
    for trouble in status.troubles:
        if len(status.troubles) > 1:
            yield Text.assemble(("  ! ", _TONES[trouble.severity]), _plain(trouble.sentence))
        yield Text(f"    {_plain(trouble.do)}")
    up_s = (status.now - status.started_at).total_seconds()
    yield _field("daemon", f"{status.doing}; process {status.pid}, version {status.version}, up for {spoken_s(up_s)}")
    yield _field("database", _database(status))
    yield _field("quarantine", f"{quarantined_files(status.answers, status.sources):,} files")
    for source in status.sources:
        yield _field("root", _root(source))
        for sweep in source.sweeps:
            yield _field(f"  {sweep.depth}", _sweep(sweep, status))
    if status.curve:
        last = status.curve[-_POINTS:]
        yield _field("rows", f"{bars([point.rows for point in last], last)} in 30 s")
        yield _field("lag", f"{bars([point.lag_s for point in last], last)} s")


def _field(name: str, text: str) -> Text:
    return Text.assemble((f"{name:<11}", "dim"), text)


def _plain(text: str) -> str:
    """A sentence as a terminal shows it: commands need no marks there that would be copied with them."""
    return text.replace("`", "")


def _database(status: DaemonStatus) -> str:
    database = status.database
    if database.up:
        return f"up, {database.name}"
    return f"away for {spoken_s(database.outage_s)}, {database.name}: {database.error}"


def _root(source: SourceNow) -> str:
    if source.missing_since:
        return f"{source.root} is missing since {source.missing_since:%Y-%m-%d %H:%M} UTC"
    watched = f"watched by {source.mode}" if source.mode else "not watched yet"
    waiting = f"{source.backlog_files:,} waiting"
    if source.backlog_files:
        waiting += f", the oldest for {spoken_s(source.oldest_s)}"
    return f"{source.root} {watched}; {waiting}; {_counted(source.states) or 'not counted yet'}"


def _sweep(sweep: SweepNow, status: DaemonStatus) -> str:
    ago = spoken_s((status.now - sweep.at).total_seconds())
    if sweep.error:
        return f"failed {ago} ago: {sweep.error}"
    said = [f"{sweep.verdict.replace('_', ' ')} {ago} ago, {sweep.files:,} files in {sweep.days:,} days"]
    said += [f"found {found}" for found in [_counted(sweep.findings)] if found]
    said += [f"repaired {fixed}" for fixed in [_counted(sweep.fixed)] if fixed]
    return "; ".join(said)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def bars(values: Sequence[float], points: Sequence[CurvePoint]) -> str:
    """A curve in one line, and its greatest value; a cross where the database was away and nothing was written."""
    most = max(values, default=0.0)
    drawn = [
        _AWAY if point.database_away and not value else _BARS[ceil(value / (most or 1) * (len(_BARS) - 1))]
        for value, point in zip(values, points, strict=True)
    ]
    return f"{''.join(drawn)}| at most {most:,.0f}"
