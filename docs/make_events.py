"""Writes docs/events.md from the catalogue of events; run by `make docs`."""

from __future__ import annotations

import inspect
from pathlib import Path

import msgspec

from tracewatchd.model.events import CATALOGUE_VERSION, Event, catalogue

PAGE = Path(__file__).parent / "events.md"

INTRODUCTION = f"""# Events

Every log line is one JSON object with `timestamp` (UTC, ISO 8601), `level`, `event` and `v` (version of this catalogue:
{CATALOGUE_VERSION}), then the fields below. Units stand in the names of fields; a field marked optional is left out
where it does not apply. This page is made from `daemon/tracewatchd/model/events.py`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(_section(name, kind) for name, kind in catalogue().items())])


def _section(name: str, kind: type[Event]) -> str:
    fields = [f"- `{field.name}`" + ("" if field.required else " (optional)") for field in msgspec.structs.fields(kind)]
    return "\n".join([f"## `{name}` ({kind.level})", "", inspect.cleandoc(kind.__doc__ or ""), "", *fields, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
