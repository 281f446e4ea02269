"""Where in a document that is JSON stands what Postgres refuses all the same; looked for only after it refused.

The server names no place that would not quote content, so the limits of jsonb are looked for here: numbers hold 131,072
digits before the point and 16,383 behind it, and nesting ends where the server's stack does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation

from tracewatchd.model.scan import STRING, string_value, tokens

_OUT_OF_RANGE = "22003"
_TOO_COMPLEX = "54001"
_MOST_DIGITS = 131_072
_MOST_DECIMALS = 16_383
_STEPS_SHOWN = 8
_KEY_SHOWN_CHARS = 100
_SHORT_NUMBER_BYTES = 1_000
_PLAIN_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")


def place_of_refusal(sqlstate: str | None, document: bytes, prefix: str) -> str | None:
    """The JSON pointer of what a server that answered with this SQLSTATE could not take, below ``prefix``.

    None where the document holds nothing of the kind. A pointer ends in ``/...`` after eight steps, a key in ``...``
    after a hundred characters.
    """
    finders: dict[str | None, Callable[[bytes], list[str] | None]] = {
        _OUT_OF_RANGE: _first_beyond_range,
        _TOO_COMPLEX: _deepest,
    }
    find = finders.get(sqlstate)
    steps = find(document) if find else None
    if steps is None:
        return None
    shown = [*steps[:_STEPS_SHOWN], "..."] if len(steps) > _STEPS_SHOWN else steps
    return "/".join([prefix, *shown])


def _first_beyond_range(document: bytes) -> list[str] | None:
    for steps, kind, start, end in _walk(document):
        if kind == "plain" and document[start] in b"-0123456789" and _is_beyond_range(document[start:end]):
            return _named(document, steps)
    return None


def _is_beyond_range(number: bytes) -> bool:
    if len(number) <= _SHORT_NUMBER_BYTES and _PLAIN_NUMBER.fullmatch(number):
        return False
    try:
        value = Decimal(number.decode())
    except InvalidOperation:  # an exponent beyond what Decimal knows
        return True
    exponent = value.as_tuple().exponent
    return value.adjusted() >= _MOST_DIGITS or (isinstance(exponent, int) and -exponent > _MOST_DECIMALS)


def _deepest(document: bytes) -> list[str] | None:
    deepest: list[int] = []
    depth = 0
    for steps, kind, _, _ in _walk(document):
        if kind == "open" and len(steps) > depth:
            depth = len(steps)
            deepest = steps[: _STEPS_SHOWN + 1]
    return _named(document, deepest) if depth else None


def _walk(document: bytes) -> Iterator[tuple[list[int], str, int, int]]:
    """Every value with its place: one number a level, an array's index or the inverted offset of an object's key.

    The list of steps is one and the same and changes as the walk goes on.
    """
    steps: list[int] = []
    for kind, start, end in tokens(document):
        if kind == "key":
            steps[-1] = ~start
            continue
        if kind == "close":
            steps.pop()
            continue
        if steps and steps[-1] >= -1:
            steps[-1] += 1
        yield steps, kind, start, end
        if kind == "open":
            steps.append(-1)


def _named(document: bytes, steps: list[int]) -> list[str]:
    return [str(step) if step >= 0 else _key(document, ~step) for step in steps[: _STEPS_SHOWN + 1]]


def _key(document: bytes, offset: int) -> str:
    token = STRING.match(document, offset)
    assert token  # noqa: S101 - the scanner found a key there
    key = string_value(token[0])
    shown = key if len(key) <= _KEY_SHOWN_CHARS else f"{key[:_KEY_SHOWN_CHARS]}..."
    return shown.replace("~", "~0").replace("/", "~1")
