"""The two small languages of Drive's file list: `q` chooses files, `fields` what is told of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from typing import Any, Protocol

from drive_answers import RefusedError

Matches = Callable[["Searched"], bool]
Selection = dict[str, "Selection"]

_TOKEN = re.compile(r"\s*(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<word>[A-Za-z]+)|(?P<sign>!=|<=|>=|[=<>(){}]))\s*")
_DISCOVERY = files("googleapiclient") / "discovery_cache" / "documents" / "drive.v3.json"
DISCOVERY: dict[str, Any] = json.loads(_DISCOVERY.read_text("utf-8"))
"""Google's own description of the interface, as its client for Python ships it."""


class Searched(Protocol):
    """What a query looks at."""

    name: str
    mime_type: str
    parents: list[str]
    trashed: bool
    starred: bool
    app_properties: dict[str, str]
    properties: dict[str, str]
    created_s: float
    modified_s: float


class _Query:
    """Reads a query from left to right; `and` and `or` bind equally, as Drive's documentation says."""

    def __init__(self, text: str, alias: Callable[[str], str]) -> None:
        self._alias = alias
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise RefusedError("invalid", "q")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    def whole(self) -> Matches:
        matches = self._any_of()
        if self._tokens:
            raise RefusedError("invalid", "q")
        return matches

    def _any_of(self) -> Matches:
        matches = self._one()
        while self._next_is("and", "or"):
            word, left, right = self._take()[1], matches, self._one()
            matches = _both(left, right) if word == "and" else _either(left, right)
        return matches

    def _one(self) -> Matches:
        if self._next_is("not"):
            self._take()
            matches = self._one()
            return lambda file: not matches(file)
        if self._next_is("("):
            self._take()
            matches = self._any_of()
            self._expect(")")
            return matches
        kind, first = self._take()
        return self._within(_plain(first)) if kind == "text" else self._term(first)

    def _within(self, folder: str) -> Matches:
        self._expect("in")
        self._expect("parents")
        wanted = self._alias(folder)
        return lambda file: wanted in file.parents

    def _term(self, term: str) -> Matches:
        if term in {"appProperties", "properties"}:
            return self._property(term)
        operator, (kind, value) = self._take()[1], self._take()
        value = _plain(value) if kind == "text" else value
        if term in {"trashed", "starred"} and operator in {"=", "!="} and value in {"true", "false"}:
            wanted = (value == "true") == (operator == "=")
            return lambda file: getattr(file, term) is wanted
        if kind != "text":
            raise RefusedError("invalid", "q")
        if term in {"name", "mimeType"}:
            return _about_text(term, operator, value)
        return _about_time(term, operator, value)

    def _property(self, term: str) -> Matches:
        self._expect("has", "{", "key", "=")
        key = _plain(self._take()[1])
        self._expect("and", "value", "=")
        value = _plain(self._take()[1])
        self._expect("}")
        where = "app_properties" if term == "appProperties" else "properties"
        return lambda file: getattr(file, where).get(key) == value

    def _next_is(self, *words: str) -> bool:
        return bool(self._tokens) and self._tokens[0][0] != "text" and self._tokens[0][1] in words

    def _take(self) -> tuple[str, str]:
        if not self._tokens:
            raise RefusedError("invalid", "q")
        return self._tokens.pop(0)

    def _expect(self, *words: str) -> None:
        for word in words:
            if not self._next_is(word):
                raise RefusedError("invalid", "q")
            self._take()


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _both(left: Matches, right: Matches) -> Matches:
    return lambda file: left(file) and right(file)


def _either(left: Matches, right: Matches) -> Matches:
    return lambda file: left(file) or right(file)


def _about_text(term: str, operator: str, value: str) -> Matches:
    """``=`` does not mind upper and lower case; ``contains`` looks for beginnings of words."""
    name = "mime_type" if term == "mimeType" else term
    wanted = value.casefold()
    if operator in {"=", "!="}:
        return lambda file: (getattr(file, name).casefold() == wanted) == (operator == "=")
    if operator != "contains":
        raise RefusedError("invalid", "q")
    beginning = re.compile(r"(?:^|[\W_])" + re.escape(wanted))
    return lambda file: beginning.search(getattr(file, name).casefold()) is not None


def _about_time(term: str, operator: str, value: str) -> Matches:
    names = {"createdTime": "created_s", "modifiedTime": "modified_s"}
    orders: dict[str, Callable[[float, float], bool]] = {
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    if term not in names or operator not in orders:
        raise RefusedError("invalid", "q")
    try:
        wanted = datetime.fromisoformat(value if re.search(r"(Z|[+-]\d\d:\d\d)$", value) else value + "Z").timestamp()
    except ValueError:
        raise RefusedError("invalid", "q") from None
    return lambda file: orders[operator](getattr(file, names[term]), wanted)


def query(text: str, alias: Callable[[str], str] = str) -> Matches:
    """What a query asks for; `alias` turns names such as "root" into the id of the folder.

    Raises:
        RefusedError: 400, as Drive answers a query that it does not understand.
    """
    return _Query(text, alias).whole() if text.strip() else lambda _: True


# ---------------------------------------------------------------------------------------------------------------------
# fields


def selection(text: str, schema: str) -> Selection:
    """The tree of names that a ``fields`` parameter asks for; {"*": {}} is everything.

    Raises:
        RefusedError: 400 for a name that the schema of Google's description lacks, or for what cannot be read.
    """
    names = re.findall(r"[A-Za-z0-9*]+|[(),/]", text)
    if "".join(names) != re.sub(r"\s", "", text):
        raise RefusedError("invalidParameter", text)
    tree = _level(names, DISCOVERY["schemas"][schema])
    if names:
        raise RefusedError("invalidParameter", text)
    return tree


def _level(names: list[str], schema: dict[str, Any]) -> Selection:
    """Names up to a closing bracket or the end; takes them from the list."""
    tree: Selection = {}
    while True:
        name = names.pop(0) if names else ""
        below = _below(name, schema)
        if names[:1] == ["/"]:
            names.pop(0)
            tree.setdefault(name, {}).update(_step(names, below))
        elif names[:1] == ["("]:
            names.pop(0)
            tree.setdefault(name, {}).update(_level(names, below))
            if names[:1] != [")"]:
                raise RefusedError("invalidParameter", name)
            names.pop(0)
        else:
            tree.setdefault(name, {})
        if names[:1] != [","]:
            return tree
        names.pop(0)


def _step(names: list[str], schema: dict[str, Any]) -> Selection:
    name = names.pop(0) if names else ""
    below = _below(name, schema)
    if names[:1] != ["/"]:
        return {name: {}}
    names.pop(0)
    return {name: _step(names, below)}


def _below(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a property."""
    if name == "*":
        return schema
    found = schema.get("additionalProperties") or schema.get("properties", {}).get(name)
    if not name or found is None:
        raise RefusedError("invalidParameter", name)
    found = found.get("items", found)
    resolved: dict[str, Any] = DISCOVERY["schemas"][found["$ref"]] if "$ref" in found else found
    return resolved


def chosen(value: Any, tree: Selection) -> Any:
    """What a selection leaves of an answer."""
    if not tree or "*" in tree:
        return value
    if isinstance(value, list):
        return [chosen(one, tree) for one in value]
    return {name: chosen(value[name], below) for name, below in tree.items() if name in value}
