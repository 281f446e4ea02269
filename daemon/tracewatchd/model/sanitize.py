r"""What jsonb cannot hold is replaced where it stands; every other byte stays as it was.

``\u0000`` and escapes of lone surrogates become ``\ufffd``; ``NaN``, ``Infinity`` and ``-Infinity`` become ``null``.
A key that by this becomes equal to another key of its object gets ``_2``, ``_3``, ... appended, the first number that
is free; a key that was written so keeps its name, and keys that were equal before stay equal (the last one counts).
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from dataclasses import dataclass, field

from tracewatchd.model.scan import STRING, string_value, tokens

MAX_POINTERS = 1_000
"""JSON pointers that are listed for one file; what is beyond is counted in one last entry, ``... N more``."""

MAX_POINTER_CHARS = 1_000
"""A longer JSON pointer is cut between two of its parts and ends in ``/...``."""

_HEX = rb"[0-9a-fA-F]"
_HIGH = rb"[dD][89abAB]" + _HEX + _HEX
_LOW = rb"[dD][c-fC-F]" + _HEX + _HEX
_ESCAPE = re.compile(
    rb"\\(?:(?P<pair>u" + _HIGH + rb"\\u" + _LOW + rb")|(?P<bad>u(?:0000|" + _HIGH + rb"|" + _LOW + rb"))|.)"
)
_SUSPECT_ESCAPE = re.compile(
    rb"\\u(?:0000|[dD](?:[89abAB]" + _HEX + _HEX + rb"(?!\\u" + _LOW + rb")"
    rb"|[c-fC-F](?<![^\\]\\u" + _HIGH + rb"\\u[dD][c-fC-F])))"
)
# The words come first in these patterns, because the search for a literal beginning is the fast one.
_NOT_A_NUMBER = re.compile(rb"NaN(?<=[\[:,\s]NaN)(?=\s*+[,\]}])")
_INFINITY = re.compile(rb"Infinity(?:(?<=[\[:,\s]Infinity)|(?<=[\[:,\s]-Infinity))(?=\s*+[,\]}])")
_BAD_CHARACTER = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_LONGEST_SPELLING = 12  # bytes of one character: a pair of surrogates as escapes


def may_need_sanitizing(text: bytes) -> bool:
    """Whether a quick look at an object's bytes cannot rule out that something in it must be replaced.

    False is certain, as far as the text is a JSON object at all; true may be a false alarm, such as an escaped
    backslash before ``u0000``.
    """
    return any(pattern.search(text) for pattern in (_SUSPECT_ESCAPE, _NOT_A_NUMBER, _INFINITY))


@dataclass(slots=True)
class Changes:
    """JSON pointers (RFC 6901, into the sanitised document) of what was replaced, a bounded number of them."""

    pointers: list[str] = field(default_factory=list)
    unlisted: int = 0

    def __bool__(self) -> bool:
        return bool(self.pointers)

    def listed(self) -> tuple[str, ...]:
        """The pointers, and how many more there are."""
        return (*self.pointers, f"... {self.unlisted} more") if self.unlisted else tuple(self.pointers)


def without_unstorable(text: bytes, prefix: str, changes: Changes) -> bytes:
    """The text as jsonb can hold it; what was changed is added to ``changes``, each pointer beginning with ``prefix``.

    Time grows with the text's length alone, and so does memory.

    Raises:
        JsonFaultError: the text is no JSON, even with NaN and infinities allowed.
    """
    if not any(kind == "no_json" or _is_bad(text, start, end) for kind, start, end in tokens(text)):
        return text
    return _Rewriting(text, prefix, changes).result()


def _is_bad(text: bytes, start: int, end: int) -> bool:
    return text.find(b"\\u", start, end) >= 0 and any(found["bad"] for found in _ESCAPE.finditer(text, start, end))


def _replaced(token: bytes) -> bytes:
    replaced = bytearray(token)
    for found in _ESCAPE.finditer(token):
        if found["bad"]:
            replaced[found.start() : found.end()] = b"\\ufffd"  # of the same length
    return bytes(replaced)


@dataclass(slots=True)
class _Keys:
    """Those keys of one object that hold U+FFFD after replacement: no others can collide because of it."""

    kept: set[str] = field(default_factory=set)
    changed: dict[str, int] = field(default_factory=dict)
    """By what they said before: the offset of the first key that said so."""
    repeated: array[int] = field(default_factory=lambda: array("q"))
    """Offset after offset, of that first key and of one that says the same."""

    def change(self, said: str, offset: int) -> None:
        """Take in a key that must be changed."""
        first = self.changed.setdefault(said, offset)
        if first != offset:
            self.repeated.extend((first, offset))

    def numbers(self) -> dict[int, int]:
        """The numbers of the keys that need one, by the key's offset."""
        numbers: dict[int, int] = {}
        last: defaultdict[str, int] = defaultdict(lambda: 1)
        for said, offset in self.changed.items():
            name = base = _BAD_CHARACTER.sub(_REPLACEMENT, said)
            while name in self.kept:
                last[base] += 1
                name = f"{base}_{last[base]}"
            self.kept.add(name)
            if name != base:
                numbers[offset] = last[base]
        for first, offset in zip(self.repeated[::2], self.repeated[1::2], strict=True):
            if first in numbers:
                numbers[offset] = numbers[first]
        return numbers


def _key_numbers(text: bytes) -> dict[int, int]:
    """The numbers that keys get because they collide, by the key's offset."""
    numbers: dict[int, int] = {}
    objects: dict[int, _Keys] = {}
    depth = 0
    for kind, start, end in tokens(text):
        if kind == "open":
            depth += 1
        elif kind == "close":
            if keys := objects.pop(depth, None):
                numbers.update(keys.numbers())
            depth -= 1
        elif kind == "key":
            if _is_bad(text, start, end):
                objects.setdefault(depth, _Keys()).change(string_value(text[start:end]), start)
            elif _REPLACEMENT in (said := string_value(text[start:end])):
                objects.setdefault(depth, _Keys()).kept.add(said)
    return numbers


class _Rewriting:
    """One pass that writes the document anew and knows at every value where in it the value stands."""

    def __init__(self, text: bytes, prefix: str, changes: Changes) -> None:
        self._text = text
        self._prefix = prefix
        self._changes = changes
        self._numbers = _key_numbers(text)
        # One number a level: an array's index (-1 before its first item), or the inverted offset of an object's key.
        # A key never stands at offset 0, so that the two cannot be confused.
        self._place = array("q")
        self._written = bytearray()
        self._copied_to = 0

    def result(self) -> bytes:
        for kind, start, end in tokens(self._text):
            if kind == "key":
                self._place[-1] = ~start
            elif kind == "close":
                self._place.pop()
                continue
            elif self._place and self._place[-1] >= -1:
                self._place[-1] += 1
            if kind == "open":
                self._place.append(-1)
            elif kind == "no_json":
                self._replace(start, end, b"null")
            elif kind != "plain" and _is_bad(self._text, start, end):
                self._replace(start, end, self._string_at(start, end))
        self._written += self._text[self._copied_to :]
        return bytes(self._written)

    def _replace(self, start: int, end: int, token: bytes) -> None:
        self._written += memoryview(self._text)[self._copied_to : start]
        self._written += token
        self._copied_to = end
        self._list_place()

    def _string_at(self, start: int, end: int) -> bytes:
        token = _replaced(self._text[start:end])
        number = self._numbers.get(start)
        return token if number is None else token[:-1] + b'_%d"' % number

    def _list_place(self) -> None:
        if len(self._changes.pointers) >= MAX_POINTERS:
            self._changes.unlisted += 1
        elif (pointer := self._pointer()) not in self._changes.pointers[-1:]:
            self._changes.pointers.append(pointer)

    def _pointer(self) -> str:
        pointer = self._prefix
        for step in self._place:
            part = str(step) if step >= 0 else self._key(~step)
            if len(pointer) + len(part) >= MAX_POINTER_CHARS - len("/..."):
                return f"{pointer}/..."
            pointer += "/" + part
        return pointer

    def _key(self, start: int) -> str:
        token = STRING.match(self._text, start, start + MAX_POINTER_CHARS * _LONGEST_SPELLING)
        if token is None:
            return "-" * MAX_POINTER_CHARS  # too long for any pointer, and never looked at
        return string_value(self._string_at(start, token.end())).replace("~", "~0").replace("/", "~1")
