"""Curves as a page draws them: what each thirty seconds held becomes the outline of an area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tracewatchd.model.daemon_status import CurvePoint
from tracewatchd.service.http.judge import spoken_s

WIDTH, HEIGHT = 1_000, 100
"""The drawing's own units; the page stretches it."""

_POINT = timedelta(seconds=30)
_LEAST = timedelta(minutes=5)
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One curve. ``line`` and ``area`` are SVG paths, ``away`` says from where to where the database was away.

    ``now`` is the last value, ``most`` the greatest, ``top`` the value at the upper edge.
    """

    title: str
    unit: str
    line: str
    area: str
    away: tuple[tuple[float, float], ...]
    now: float
    most: float
    top: float
    since: str

    @property
    def says(self) -> str:
        """The curve in words."""
        return (
            f"{self.title}, in {self.unit}, over the last {self.since}: now {self.now:,.0f}, at most {self.most:,.0f}"
        )


def curves(points: Sequence[CurvePoint], now: datetime, *, lag_s: float) -> tuple[Curve, ...]:
    """Throughput and lag over what is kept; ``lag_s`` is the lag of this moment.

    A sum of seconds that are not over yet is no throughput.
    """
    over = [point for point in points if point.at + _POINT <= now]
    span = _Span(now, max(_LEAST, now - points[0].at if points else _LEAST), tuple(_away(points)))
    rows = [(point, point.rows * 2.0) for point in over]
    waited = [(point, point.lag_s) for point in points]
    return (
        _curve("Throughput", "rows per minute", rows, span, now=rows[-1][1] if rows else 0.0),
        _curve("Lag", "seconds that the oldest file has waited", waited, span, now=lag_s),
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """The time that is drawn, and the stretches of it in which the database was away."""

    now: datetime
    length: timedelta
    away: tuple[tuple[datetime, datetime], ...]

    def across(self, at: datetime) -> float:
        """Where a time lies between the edges."""
        return round(min(1.0, max(0.0, 1 - (self.now - at) / self.length)) * WIDTH, 1)


def _curve(title: str, unit: str, values: Sequence[tuple[CurvePoint, float]], span: _Span, *, now: float) -> Curve:
    most = max((value for _, value in values), default=0.0)
    top = nice(most)
    corners = [(span.across(point.at + _POINT / 2), round(HEIGHT - value / top * HEIGHT, 1)) for point, value in values]
    return Curve(
        title=title,
        unit=unit,
        line=_line(corners),
        area=_area(corners),
        away=tuple((span.across(first), span.across(last + _POINT)) for first, last in span.away),
        now=now,
        most=most,
        top=top,
        since=spoken_s(span.length.total_seconds()),
    )


def _line(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in corners) if corners else ""


def _area(corners: Sequence[tuple[float, float]]) -> str:
    if not corners:
        return ""
    return f"{_line(corners)}L{corners[-1][0]:g},{HEIGHT}L{corners[0][0]:g},{HEIGHT}Z"


def _away(points: Sequence[CurvePoint]) -> Iterator[tuple[datetime, datetime]]:
    """The first and the last point of each stretch in which the database was away."""
    first: datetime | None = None
    last: datetime | None = None
    for point in points:
        if point.database_away:
            first, last = first or point.at, point.at
        elif first and last:
            yield first, last
            first = last = None
    if first and last:
        yield first, last


def nice(most: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50, ... that is not below a value."""
    scale = 1.0
    while True:
        for step in _STEPS:
            if most <= step * scale:
                return step * scale
        scale *= 10
