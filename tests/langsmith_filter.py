"""LangSmith's filter language, as far as the stand-in speaks it.

An expression is a call such as ``and(gte(start_time, "2026-11-20T00:00:00Z"), lt(start_time, "..."))``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tracewatchd.model.times import written_time

_TOKEN = re.compile(
    r"""\s*(?:(?P<call>\w+)\s*\(|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[\w.+-]+)|(?P<end>\))|(?P<next>,))"""
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_FIELDS = {
    "id",
    "name",
    "run_type",
    "status",
    "start_time",
    "end_time",
    "trace_id",
    "parent_run_id",
    "is_root",
    "error",
    "tags",
}
_WORDS: Mapping[str, object] = {"true": True, "false": False, "null": None}


class FilterError(Exception):
    """The expression is none of the language."""


class Term(NamedTuple):
    """One call of an expression, such as ``gte(start_time, "2026-11-20T00:00:00Z")``."""

    name: str
    arguments: tuple[Any, ...]

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether a run of these fields is wanted; times in them are datetimes."""
        match self.name:
            case "and":
                return all(part.matches(fields) for part in self.arguments)
            case "or":
                return any(part.matches(fields) for part in self.arguments)
            case "not":
                return not self.arguments[0].matches(fields)
            case "has":
                return self.arguments[1] in (fields[self.arguments[0]] or ())
        held, wanted = fields[self.arguments[0]], self.arguments[1]
        if held is None or wanted is None:
            return self.name in {"eq", "neq"} and _COMPARISONS[self.name](held, wanted)
        return _COMPARISONS[self.name](held, wanted)

    def bounds(self) -> Iterator[tuple[str, datetime]]:
        """What every wanted run's start_time must be: pairs such as ``("gte", moment)``."""
        if self.name == "and":
            for part in self.arguments:
                yield from part.bounds()
        elif self.arguments[0] == "start_time" and self.name != "neq":
            yield self.name, self.arguments[1]


def parse(text: str) -> Term:
    """Read an expression.

    Raises:
        FilterError: it is none, or it asks for what the stand-in does not know.
    """
    term, rest = _term(text, 0)
    if text[rest:].strip():
        raise FilterError(f"{text[rest:]!r} follows the expression")
    return term


def _term(text: str, position: int) -> tuple[Term, int]:
    found = _token(text, position)
    if (name := found["call"]) is None:
        raise FilterError(f"no call at {text[position:]!r}")
    position = found.end()
    arguments: list[Any] = []
    while True:
        argument, position = _argument(text, position)
        arguments.append(argument)
        found = _token(text, position)
        position = found.end()
        if found["end"]:
            return _checked(name, arguments), position
        if not found["next"]:
            raise FilterError(f"neither ',' nor ')' before {text[position:]!r}")


def _argument(text: str, position: int) -> tuple[Any, int]:
    found = _token(text, position)
    if found["call"]:
        return _term(text, position)
    if found["text"] is not None:
        return re.sub(r"\\(.)", r"\1", found["text"]), found.end()
    if (word := found["word"]) is None:
        raise FilterError(f"no argument at {text[position:]!r}")
    return _WORDS.get(word, word), found.end()


def _token(text: str, position: int) -> re.Match[str]:
    if (found := _TOKEN.match(text, position)) is None:
        raise FilterError(f"cannot read {text[position:]!r}")
    return found


def _checked(name: str, arguments: list[Any]) -> Term:
    if name in {"and", "or", "not"}:
        if not all(isinstance(part, Term) for part in arguments) or (name == "not" and len(arguments) != 1):
            raise FilterError(f"{name} joins expressions")
        return Term(name, tuple(arguments))
    if (name not in _COMPARISONS and name != "has") or len(arguments) != 2 or arguments[0] not in _FIELDS:
        raise FilterError(f"{name}({arguments[0]}, ...) is not known")
    field, value = arguments
    if field in {"start_time", "end_time"} and (value := written_time(str(value))) is None:
        raise FilterError(f"{arguments[1]!r} is no time")
    return Term(name, (field, value))
