"""The SQL of this room: numbered files are migrations, named files are statements."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_MIGRATION = re.compile(r"(\d{3})_\w+\.sql")
_FOLDER = files("tracewatchd.store") / "sql"


def quoted(identifier: str) -> str:
    """An identifier as SQL text, whatever it holds."""
    return '"' + identifier.replace('"', '""') + '"'


@cache
def statement(name: str, schema: str) -> str:
    """A named statement for the tables of one schema."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").replace("{schema}", quoted(schema))


@cache
def migrations(schema: str) -> tuple[tuple[int, str], ...]:
    """Every migration for one schema, by number."""
    found = {entry.name: _MIGRATION.fullmatch(entry.name) for entry in _FOLDER.iterdir()}
    numbered = sorted((int(match[1]), name.removesuffix(".sql")) for name, match in found.items() if match)
    return tuple((number, statement(name, schema)) for number, name in numbered)
