"""Where two JSON texts differ, as Postgres compares jsonb.

Numbers are compared by value, an object's members by name in any order and the last of equal names, arrays item by
item. Neither depth nor length lets it recurse or look at a place twice.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest
from typing import TypeAlias

from tracewatchd.model.findings import Difference
from tracewatchd.model.sanitize import MAX_POINTER_CHARS
from tracewatchd.model.scan import string_value, tokens

MAX_BYTES = 8 << 20
"""A longer text is compared as a whole: pointing into it would take many times its size in memory."""

MAX_SHOWN_CHARS = 80
"""Of a longer value one part is shown, with ``\u2026`` for the rest."""

_CHARS_BEFORE = 20  # of two long texts, shown before the first place in which they differ
_CUT = "\u2026"
_OPENING = b"{["
_CLOSING = b"}]"
_NUMERIC = b"-0123456789"
_LONGEST_CHAR = 4  # bytes of a character in UTF-8

_Place: TypeAlias = "tuple[_Place, str | int] | None"
"""A member or item, within the place that holds it; None is the whole document."""

_Pair: TypeAlias = tuple[_Place, int | None, int | None]
"""One place and the tokens that stand there in the file and in the row; None where nothing does."""


def differences(in_file: bytes, in_row: bytes, prefix: str, limit: int) -> list[Difference]:
    """The first places, at most ``limit``, where a file and a row differ, in the file's order.

    A subtree that only one side has is one place. Nothing differs exactly where Postgres calls the two equal, as long
    as neither is longer than `MAX_BYTES`.

    Args:
        in_file: the JSON text that a file becomes.
        in_row: the JSON text of its row.
        prefix: what every pointer (RFC 6901) begins with.
        limit: how many are wanted.

    Raises:
        JsonFaultError: one of them is no JSON.
    """
    if in_file == in_row or limit <= 0:
        return []
    if max(len(in_file), len(in_row)) > MAX_BYTES:
        return [Difference(prefix, *_shown_beside(_beginning(in_file), _beginning(in_row)))]
    return list(_Comparison(_Document(in_file), _Document(in_row), prefix).found(limit))


class _Document:
    """A JSON text and where its tokens are. A token is known by its number; the first is the whole document."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._starts = array("I")
        self._ends = array("I")
        self._next = array("I")
        """By an opening bracket's number, that of the token after its closing one."""
        unclosed = array("I")
        for number, (kind, start, end) in enumerate(tokens(text)):
            self._starts.append(start)
            self._ends.append(end)
            self._next.append(number + 1)
            if kind == "open":
                unclosed.append(number)
            elif kind == "close":
                self._next[unclosed.pop()] = number + 1

    def begins_with(self, token: int, beginnings: bytes) -> bool:
        """Whether a token's first byte is one of these."""
        return self._text[self._starts[token]] in beginnings

    def raw(self, token: int) -> bytes:
        """A token as it is written; of an array or object, everything in it."""
        return self._text[self._starts[token] : self._ends[self._next[token] - 1]]

    def string(self, token: int) -> str:
        """What a key or string says."""
        return string_value(self.raw(token))

    def shown(self, token: int) -> str:
        """A value as text: strings alike however they are spelled, everything else as it is written."""
        if self.begins_with(token, b'"'):
            return json.dumps(self.string(token), ensure_ascii=False)
        start, end = self._starts[token], self._ends[self._next[token] - 1]
        if self.begins_with(token, _OPENING):
            return _beginning(self._text[start : min(end, start + _LONGEST_CHAR * (MAX_SHOWN_CHARS + 1))])
        return self._text[start:end].decode()

    def items(self, token: int) -> Iterator[int]:
        """The items of an array."""
        item = token + 1
        while not self.begins_with(item, _CLOSING):
            yield item
            item = self._next[item]

    def members(self, token: int) -> dict[str, int]:
        """The values of an object's members."""
        found: dict[str, int] = {}
        key = token + 1
        while not self.begins_with(key, _CLOSING):
            found[self.string(key)] = key + 1
            key = self._next[key + 1]
        return found


class _Comparison:
    """Two documents side by side."""

    def __init__(self, file: _Document, row: _Document, prefix: str) -> None:
        self._file = file
        self._row = row
        self._prefix = prefix

    def found(self, limit: int) -> Iterator[Difference]:
        """The first places where they differ."""
        levels: list[Iterator[_Pair]] = [iter([(None, 0, 0)])]
        while levels and limit > 0:
            pair = next(levels[-1], None)
            if pair is None:
                levels.pop()
            elif inside := self._inside(*pair):
                levels.append(inside)
            elif not self._are_equal(*pair[1:]):
                yield self._difference(*pair)
                limit -= 1

    def _inside(self, place: _Place, file: int | None, row: int | None) -> Iterator[_Pair] | None:
        """The pairs within a pair of objects or of arrays."""
        if file is None or row is None:
            return None
        for opening, pairs in ((b"{", self._members), (b"[", self._items)):
            if self._file.begins_with(file, opening) and self._row.begins_with(row, opening):
                return pairs(place, file, row)
        return None

    def _items(self, place: _Place, file: int, row: int) -> Iterator[_Pair]:
        both = zip_longest(self._file.items(file), self._row.items(row))
        return (((place, index), one, other) for index, (one, other) in enumerate(both))

    def _members(self, place: _Place, file: int, row: int) -> Iterator[_Pair]:
        ours, theirs = self._file.members(file), self._row.members(row)
        return (((place, key), ours.get(key), theirs.get(key)) for key in {**ours, **theirs})

    def _are_equal(self, file: int | None, row: int | None) -> bool:
        if (
            file is None
            or row is None
            or self._file.begins_with(file, _OPENING)
            or self._row.begins_with(row, _OPENING)
        ):
            return False  # equal ones have been looked into
        one, other = self._file.raw(file), self._row.raw(row)
        if one == other:
            return True
        if one[0] in _NUMERIC and other[0] in _NUMERIC:
            return Decimal(one.decode()) == Decimal(other.decode())
        return one[0] == other[0] == ord('"') and string_value(one) == string_value(other)

    def _difference(self, place: _Place, file: int | None, row: int | None) -> Difference:
        in_file = None if file is None else self._file.shown(file)
        in_row = None if row is None else self._row.shown(row)
        return Difference(_pointer(self._prefix, place), *_shown_beside(in_file, in_row))


def _pointer(prefix: str, place: _Place) -> str:
    parts: list[str | int] = []
    while place:
        place, part = place
        parts.append(part)
    pointer = prefix
    for part in reversed(parts):
        step = str(part)[:MAX_POINTER_CHARS].replace("~", "~0").replace("/", "~1")
        if len(pointer) + len(step) >= MAX_POINTER_CHARS - len("/..."):
            return f"{pointer}/..."
        pointer += f"/{step}"
    return pointer


def _shown_beside(one: str | None, other: str | None) -> tuple[str | None, str | None]:
    """Both, shortened to the part in which they begin to differ."""
    if one is None or other is None:
        return one and _shortened(one, 0), other and _shortened(other, 0)
    skipped = 0
    if max(len(one), len(other)) > MAX_SHOWN_CHARS:
        skipped = max(0, _common(one, other) - _CHARS_BEFORE)
    return _shortened(one, skipped), _shortened(other, skipped)


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _shortened(text: str, skipped: int) -> str:
    part = text[skipped : skipped + MAX_SHOWN_CHARS]
    return (_CUT if skipped else "") + part + (_CUT if skipped + len(part) < len(text) else "")


def _beginning(text: bytes) -> str:
    """The first characters of a text, one more than is shown of it where there are more."""
    return text[: _LONGEST_CHAR * (MAX_SHOWN_CHARS + 1)].decode(errors="ignore")[: MAX_SHOWN_CHARS + 1]
