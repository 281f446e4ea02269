"""JSON texts for tests that compare them: few values in many spellings, so that equal ones are common."""

from __future__ import annotations

from hypothesis import strategies as st

_NUMBERS = [
    "0",
    "-0",
    "0.00",
    "0e7",
    "1",
    "1.0",
    "10e-1",
    "1E+0",
    "100",
    "1E2",
    "0.01",
    "1e-2",
    "-1",
    "1e400",
    "1e401",
    "9007199254740992",
    "9007199254740993",
    "1e-300",
]
_STRINGS = [
    '""',
    '"1"',
    '"e"',
    '"\\u0065"',
    '"\u00e9"',
    '"\\u00E9"',
    '"/"',
    '"\\/"',
    '"~"',
    '"\\ud83d\\ude00"',
    '"\U0001f600"',
]
_WORDS = ["true", "false", "null"]

SPACES = st.sampled_from(["", " ", "\n\t"])
SCALARS = st.sampled_from(_NUMBERS + _STRINGS + _WORDS)
KEYS = st.sampled_from(_STRINGS)


def _array(items: list[str], space: str) -> str:
    return f"[{space}" + f",{space}".join(items) + "]"


def _object(members: list[tuple[str, str]], space: str) -> str:
    return "{" + f"{space},".join(f"{key}:{space}{value}" for key, value in members) + "}"


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.builds(_array, st.lists(inner, max_size=3), SPACES)
    return arrays | st.builds(_object, st.lists(st.tuples(KEYS, inner), max_size=4), SPACES)


TEXTS = st.recursive(SCALARS, _containers, max_leaves=8).map(str.encode)
"""Any JSON text that jsonb takes, with members that stand there twice."""

PAIRS = st.tuples(TEXTS, TEXTS)
