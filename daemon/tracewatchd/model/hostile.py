"""Bad input for samples: each kind, what it does to a run file, and what must become of that file.

The kinds are those that reach trace directories by known routes: SDKs that pass NUL and huge integers through, writers
that emit bare ``NaN``, cut transfers, renamed and foreign files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

Expected = Literal["loaded", "sanitized", "quarantined"]


@dataclass(slots=True)
class Draft:
    """A run file before it is written: its path, its envelope's metadata (None: a bare run), its run."""

    path: str
    metadata: dict[str, object] | None
    run: dict[str, object]

    def encode(self) -> bytes:
        """The file's bytes: compact JSON in UTF-8."""
        document = self.run if self.metadata is None else {"metadata": self.metadata, "trace": self.run}
        return msgspec.json.encode(document)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One kind of bad input: what it does to the draft, what to the encoded bytes, and the state that must follow."""

    kind: str
    expected: Expected
    edit: Callable[[Draft], None] = lambda _: None
    distort: Callable[[bytes], bytes] = lambda body: body

    def spoil(self, draft: Draft) -> bytes:
        """The file's bytes with this kind of badness; the draft's path changes where the badness is in the name."""
        self.edit(draft)
        return self.distort(draft.encode())


def _put(field: str, raw: bytes) -> Callable[[Draft], None]:
    """Put these very bytes, JSON or not, where the run's field has its value."""

    def edit(draft: Draft) -> None:
        draft.run[field] = msgspec.Raw(raw)

    return edit


def _rename(rule: Callable[[str], str]) -> Callable[[Draft], None]:
    """Change the file's name, without its ``.json``."""

    def edit(draft: Draft) -> None:
        directory, _, name = draft.path.rpartition("/")
        draft.path = f"{directory}/{rule(name.removesuffix('.json'))}.json"

    return edit


def _forget_id(draft: Draft) -> None:
    """Take the id out of the run, the envelope and the file's name."""
    _rename(lambda stem: f"no-id-{stem[-13:-7]}-{stem[:8]}")(draft)
    draft.metadata = {}
    draft.run = {key: value for key, value in draft.run.items() if key not in {"id", "trace_id", "dotted_order"}}


def _empty_metadata(draft: Draft) -> None:
    draft.metadata = {}


def _nested(levels: int) -> bytes:
    return b'{"nested":' + b"[" * levels + b"]" * levels + b"}"


HOSTILE: tuple[Hostile, ...] = (
    Hostile("escaped_backslash", "loaded", _put("inputs", rb'{"text":"a\\u0000b"}')),
    Hostile("huge_integer", "loaded", _put("inputs", b'{"n":%d}' % 2**80)),
    Hostile("huge_float", "loaded", _put("inputs", b'{"n":1e400}')),
    Hostile("byte_order_mark", "loaded", distort=lambda body: b"\xef\xbb\xbf" + body),
    Hostile("duplicate_keys", "loaded", _put("inputs", b'{"key":"first","key":"last"}')),
    Hostile("deep_5000", "loaded", _put("inputs", _nested(5_000))),
    Hostile("empty_metadata", "loaded", _empty_metadata),
    Hostile("name_of_250_bytes", "loaded", _rename(lambda stem: stem.ljust(245, "x"))),
    Hostile("name_not_utf8", "loaded", _rename(lambda stem: f"{stem}%FF")),
    Hostile("nul_value", "sanitized", _put("inputs", rb'{"text":"a\u0000b"}')),
    Hostile("nul_key", "sanitized", _put("inputs", rb'{"a\u0000b":1}')),
    Hostile("nul_name", "sanitized", _put("name", rb'"plan\u0000"')),
    Hostile("lone_surrogate", "sanitized", _put("inputs", rb'{"text":"cut \ud83d here"}')),
    Hostile("lone_surrogate_key", "sanitized", _put("inputs", rb'{"\udc00":1}')),
    Hostile("lone_surrogate_at_end", "sanitized", _put("inputs", rb'{"text":"cut \ud83d"}')),
    Hostile("nan", "sanitized", _put("outputs", b'{"score":NaN}')),
    Hostile("infinity", "sanitized", _put("outputs", b'{"scores":[Infinity,-Infinity]}')),
    Hostile("colliding_keys", "sanitized", _put("inputs", rb'{"a\u0000":1,"a\ufffd":2}')),
    Hostile("huge_tokens", "sanitized", _put("total_tokens", b"%d" % 2**80)),
    Hostile("huge_cost", "sanitized", _put("total_cost", b"1e999")),
    Hostile("invalid_utf8", "quarantined", _put("outputs", b'{"text":"caf\xe9"}')),
    Hostile("no_id", "quarantined", _forget_id),
    Hostile("bad_id", "quarantined", _put("id", b'"not-a-uuid"')),
    Hostile("deep_20000", "quarantined", _put("inputs", _nested(20_000))),
    Hostile("empty", "quarantined", distort=lambda _: b""),
    Hostile("truncated", "quarantined", distort=lambda body: body[: len(body) // 2]),
    Hostile("list", "quarantined", distort=lambda body: b"[" + body + b"]"),
    Hostile("metadata_only", "quarantined", distort=lambda _: b'{"metadata":{"project_name":"nothing"}}'),
    Hostile("no_json", "quarantined", distort=lambda _: b"this is a note, not a run\n"),
)
"""Every kind, in the order in which a sample uses them."""
