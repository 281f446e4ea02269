"""The form that people look at: one HTML page that needs nothing else, no network and no script to be read.

Every value is escaped by the template engine; the page's own script is the only one that its policy lets run.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from tracewatchd.reconcile.report.data import Data
from tracewatchd.reconcile.report.project_days import calendar_of, in_days
from tracewatchd.reconcile.report.words import explained, sentence, verdict_word, warnings_of

_FOLDER = files("tracewatchd.reconcile.report")
_MOST_FINDINGS = 2_000
_MOST_DAYS = 1_000
_MOST_CLOSED = 200


def html(data: Data) -> str:
    """The report as a page."""
    return _template().render(
        data=data,
        word=verdict_word(data["verdict"]),
        sentence=sentence(data),
        warnings=warnings_of(data),
        calendar=calendar_of(data),
        kinds=explained(data),
        findings=data["findings"][:_MOST_FINDINGS],
        withheld=sum(data["counts"].values()) - len(data["findings"][:_MOST_FINDINGS]),
        days=_worst_days(data),
        closed=data["closed"][:_MOST_CLOSED],
        style=_read("page.css"),
        script=_read("page.js"),
        script_hash=base64.b64encode(hashlib.sha256(_read("page.js").encode()).digest()).decode(),
    )


def _worst_days(data: Data) -> list[Any]:
    """The days to list: damaged ones first, then those that were not checked, each in the order of their names."""
    rank = {"inconsistent": 0, "not_checked": 1, "consistent": 2}
    ranked = sorted(data["days"], key=lambda day: (rank[day["verdict"]], not day["counts"]))
    return ranked[:_MOST_DAYS]


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = "{:,}".format
    environment.filters["moment"] = _moment
    environment.filters["in_days"] = in_days
    environment.filters["code"] = _code
    return environment.from_string(_read("page.html"))


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M} UTC"


def _code(text: str) -> Markup:
    """A sentence whose spans between backticks are code."""
    parts = (escape(part) for part in text.split("`"))
    return Markup().join(Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts))
