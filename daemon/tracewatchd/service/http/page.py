"""The page for people: drawn from the document of ``/status`` at each request; its script exchanges what changed.

Every value is escaped by the template engine. It has the style of a sweep's report, and loads nothing from elsewhere.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from tracewatchd.model.daemon_status import DaemonStatus, Health
from tracewatchd.service.http.calendar import marks_of
from tracewatchd.service.http.curves import HEIGHT, WIDTH, curves
from tracewatchd.service.http.judge import plural, quarantined_files, spoken_s

_WORDS: dict[Health, tuple[str, str]] = {
    "healthy": ("Healthy", "consistent"),
    "attention": ("Attention", "attention"),
    "unhealthy": ("Unhealthy", "inconsistent"),
    "unknown": ("Not known yet", "not_checked"),
}
"""By health the heading, and its class in the style that reports and this page share."""
_COLOURS: dict[Health, str] = {
    "healthy": "%23256b41",
    "attention": "%238a5300",
    "unhealthy": "%23b3261e",
    "unknown": "%236d6a64",
}
_HOUR_POINTS = 120


def page(status: DaemonStatus, *, logged_in: bool) -> str:
    """The page as of now; with ``logged_in`` there is a way out."""
    word, tone = _WORDS[status.health]
    oldest_s = max((source.oldest_s for source in status.sources), default=0.0)
    return _template("page.html").render(
        status=status,
        word="Standby" if status.phase == "standby" and status.health == "healthy" else word,
        tone=tone,
        colour=_COLOURS[status.health],
        logged_in=logged_in,
        curves=curves(status.curve, status.now, lag_s=oldest_s),
        width=WIDTH,
        height=HEIGHT,
        rows_of_hour=sum(point.rows for point in status.curve[-_HOUR_POINTS:]),
        waiting=sum(source.backlog_files for source in status.sources),
        oldest_s=oldest_s,
        run_files=sum(sum(source.states.values()) for source in status.sources),
        quarantined=quarantined_files(status.answers, status.sources),
        calendar=marks_of(status.answers.days),
    )


def login(error: str) -> str:
    """The form that asks for the token, and what was wrong with the last attempt."""
    return _template("login.html").render(error=error)


@cache
def style() -> str:
    """The style of reports, and what this page has beyond it."""
    reports = files("tracewatchd.reconcile.report") / "page.css"
    return reports.read_text(encoding="utf-8") + _read("page.css")


@cache
def script() -> str:
    """The script that keeps the page up to date."""
    return _read("page.js")


@cache
def _template(name: str) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = "{:,}".format
    environment.filters["spoken"] = spoken_s
    environment.filters["moment"] = _moment
    environment.filters["counted"] = _counted
    environment.filters["code"] = _code
    environment.filters["plural"] = plural
    return environment.from_string(_read(name))


def _read(name: str) -> str:
    return (files("tracewatchd.service.http") / name).read_text(encoding="utf-8")


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"


def _code(text: str) -> Markup:
    """A sentence whose spans between backticks are code."""
    parts = (escape(part) for part in text.split("`"))
    return Markup().join(Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts))
