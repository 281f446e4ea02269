"""Generated run files: traces as one real production application writes them, and bad input where asked for.

Sizes follow 842 real runs (compact JSON: p5 2.2k, p25 3.0k, p50 14.8k, p75 31.9k, p90 67k, p99 124k, max 158k bytes);
so do nesting (p50 6, max 11), the share of runs with non-ASCII text (67 %), the runs of a trace (74 to 81), and that
runs of one trace repeat each other's state. Everything follows from the arguments: the same seed gives the same bytes,
and nothing depends on the clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from random import Random
from typing import NamedTuple
from uuid import UUID

import msgspec

from tracewatchd.model.hostile import HOSTILE, Draft, Expected

FIRST_DAY = date(2026, 11, 16)
"""The day of the earliest trace, unless another is asked for."""

DAYS = 7
"""Days over which traces begin, unless asked otherwise."""

CLEAN = "clean"
"""The kind of a file that nothing is wrong with."""

_SIZES = (
    (0.0, 2_000),
    (0.05, 2_200),
    (0.25, 3_000),
    (0.5, 14_800),
    (0.75, 31_900),
    (0.9, 67_000),
    (0.99, 124_000),
    (1.0, 158_000),
)
_RUNS_OF_A_TRACE = (74, 81)
_TREE_DEPTH = 6
_LATE_EVERY = 10  # of so many traces one begins shortly before midnight, so that its runs lie in two days' folders
_LATE_SECOND = 86_390
_PLAIN_SHARE = 0.33  # runs whose text is ASCII alone
_TOOLED_SHARE = 0.3  # traces whose messages carry tool calls, which nest deepest
_MESSAGE_SENTENCES = (2, 16)
_PROJECTS = (("support-bot", "support-bot"), ("Deep Research", "deep-research"), ("eval.nightly", "eval.nightly"))
_SESSION_IDS = tuple(str(UUID(int=number, version=4)) for number in range(1, 1 + len(_PROJECTS)))

_NAMES = {
    "llm": ("ChatOpenAI", "ChatAnthropic"),
    "tool": ("web_search", "lookup_order", "run_sql"),
    "retriever": ("VectorStoreRetriever",),
    "prompt": ("ChatPromptTemplate",),
    "parser": ("StrOutputParser", "JsonOutputParser"),
    "embedding": ("OpenAIEmbeddings",),
    "chain": ("RunnableSequence", "plan", "route", "agent"),
}
_SHAPES = ("enhanced",) * 6 + ("plain",) * 3 + ("bare",)
_STATUSES = ("success",) * 96 + ("error",) * 3 + ("pending",)
_LEAVES = ("llm", "llm", "llm", "tool", "tool", "retriever", "prompt", "parser", "embedding")
_PLAIN_TEXT = """
    the of and to in is that for it as with on be this are by from at or an not which has will can more when if their
    order customer refund invoice delivery address account payment status ticket agent answer question context document
    search result source summary policy contract request response model prompt token latency budget error retry timeout
    schedule meeting report quarter revenue forecast region warehouse shipment carrier tracking label return exchange
    please therefore however because although according before after between without during usually currently probably
    price quantity discount currency total percent average minimum maximum available required optional previous next
    "quoted" (approx.) e.g. 42 3.14 2026 100% ISO-8601 #12345 user@example.com https://example.com/help?id=7 null true
    first second third last new old large small open closed pending approved rejected confirmed missing duplicate
"""
_OTHER_TEXT = """
    Größe Lieferung für über Straße müssen Rückgabe café déjà reçu élève naïve señor mañana información żółw świat
    привет заказ доставка 注文 配送 ありがとう 返品 こんにちは 订单 退款 谢谢 مرحبا שלום € £ — “so” … ✅ 🚚 😀
"""
_PLAIN_WORDS = tuple(_PLAIN_TEXT.split())
_ALL_WORDS = tuple((_PLAIN_TEXT + _OTHER_TEXT).split())


class SampleFile(NamedTuple):
    """One generated run file.

    ``path`` is relative to the root, in the spelling of `tracewatchd.model.layout`; ``expected`` is the state that it
    must end in, ``kind`` is ``clean`` or the kind of its badness; ``run_id`` is the run that it was made from.
    """

    path: str
    body: bytes
    expected: Expected
    kind: str
    run_id: str


@dataclass(slots=True)
class _Node:
    """One run in the tree of its trace."""

    run_id: str
    parent: _Node | None
    start: datetime
    end: datetime
    dotted_order: str
    children: int = 0


@dataclass(slots=True)
class _History:
    """The messages of a conversation, which every run of a trace repeats from its beginning."""

    rng: Random
    sentences: list[str]
    tooled: bool
    messages: list[bytes] = field(default_factory=list)
    ends: list[int] = field(default_factory=lambda: [0])

    def take(self, size_bytes: int) -> bytes:
        """As many of the first messages as fit into so many bytes, as a JSON array."""
        while self.ends[-1] <= size_bytes:
            message = self._message()
            self.messages.append(message)
            self.ends.append(self.ends[-1] + len(message) + 1)
        return b"[" + b",".join(self.messages[: bisect_right(self.ends, size_bytes) - 1]) + b"]"

    def _message(self) -> bytes:
        speaker = ("human", "ai")[len(self.messages) % 2]
        kwargs: dict[str, object] = {"content": _text(self.rng, self.sentences), "type": speaker}
        if self.tooled and speaker == "ai":
            where = [{"field": "status", "value": "open"}]
            kwargs["tool_calls"] = [{"name": "run_sql", "args": {"filters": where}, "id": f"call_{len(self.messages)}"}]
        names = ["langchain", "schema", "messages", f"{speaker.title()}Message"]
        return msgspec.json.encode({"lc": 1, "type": "constructor", "id": names, "kwargs": kwargs})


@dataclass(slots=True)
class _Trace:
    """What the runs of one trace share."""

    number: int
    nodes: list[_Node]
    plain: _History
    mixed: _History


def generate(
    runs: int, seed: int, hostile: float = 0.0, *, first_day: date = FIRST_DAY, days: int = DAYS
) -> Iterator[SampleFile]:
    """So many run files, one run each, trace by trace; memory is bounded by one trace.

    Args:
        runs: Files to make.
        seed: Equal seeds (and other arguments) give equal files.
        hostile: Share of the files (0 to 1) that are bad input; all other files stay as they are without it. Kinds
            take turns, so that 29 hostile files hold each kind once.
        first_day: UTC day on which the earliest traces begin.
        days: Days over which traces begin.
    """
    traces = _traces(Random(seed), first_day, days)  # noqa: S311 - a sample is to be repeatable, not secret
    spoiled = 0
    for number, draft in zip(range(runs), (draft for trace in traces for draft in _drafts(trace)), strict=False):
        run_id = str(draft.run["id"])
        if int((number + 1) * hostile) == spoiled:
            yield SampleFile(draft.path, draft.encode(), "loaded", CLEAN, run_id)
            continue
        kind = HOSTILE[spoiled % len(HOSTILE)]
        spoiled += 1
        body = kind.spoil(draft)
        yield SampleFile(draft.path, body, kind.expected, kind.kind, run_id)


def _traces(rng: Random, first_day: date, days: int) -> Iterator[_Trace]:
    plain = [_sentence(rng, _PLAIN_WORDS) for _ in range(6_000)]
    mixed = [_sentence(rng, _ALL_WORDS) for _ in range(6_000)]
    midnight = datetime.combine(first_day, time(), UTC)
    for number in count():
        own = Random(rng.getrandbits(64))  # noqa: S311 - as above; a trace of its own does not depend on its neighbours
        second = _LATE_SECOND if number % _LATE_EVERY == 1 else own.randrange(86_400)
        start = midnight + timedelta(days=number % days, seconds=second, microseconds=own.randrange(10**6))
        tooled = own.random() < _TOOLED_SHARE
        yield _Trace(number, _tree(own, start), _History(own, plain, tooled), _History(own, mixed, tooled))


def _sentence(rng: Random, words: tuple[str, ...]) -> str:
    text = " ".join(rng.choices(words, k=rng.randint(6, 20)))
    return f"{text[0].upper()}{text[1:]}."


def _text(rng: Random, sentences: list[str]) -> str:
    return " ".join(rng.choices(sentences, k=rng.randint(*_MESSAGE_SENTENCES)))


def _tree(rng: Random, start: datetime) -> list[_Node]:
    """The runs of a trace in the order of their starts; a parent ends after its children."""
    nodes: list[_Node] = []
    open_nodes: list[_Node] = []
    for _ in range(rng.randint(*_RUNS_OF_A_TRACE)):
        while len(open_nodes) > 1 and (len(open_nodes) >= _TREE_DEPTH or rng.choice((True, False))):
            open_nodes.pop()
        node = _node(rng, open_nodes[-1] if open_nodes else None, start)
        nodes.append(node)
        open_nodes.append(node)
        start += timedelta(microseconds=rng.randint(1_000, 3_000_000))
    for node in reversed(nodes):
        if node.parent is not None:
            node.parent.end = max(node.parent.end, node.end)
    return nodes


def _node(rng: Random, parent: _Node | None, start: datetime) -> _Node:
    run_id = str(UUID(int=rng.getrandbits(128), version=4))
    part = f"{start:%Y%m%dT%H%M%S%f}Z{run_id}"
    if parent is not None:
        parent.children += 1
        part = f"{parent.dotted_order}.{part}"
    return _Node(run_id, parent, start, start + timedelta(microseconds=rng.randint(2_000, 4_000_000)), part)


def _drafts(trace: _Trace) -> Iterator[Draft]:
    project, folder = _PROJECTS[trace.number % len(_PROJECTS)]
    for node in trace.nodes:
        rng = trace.plain.rng
        path = f"{folder}/{node.start:%Y-%m-%d}/{node.run_id}_{node.start:%H%M%S}.json"
        run = _run(rng, trace, node)
        draft = Draft(path, _metadata(rng, project, trace, node), run)
        if draft.metadata is not None and "enhanced_feedback" in draft.metadata:
            run["feedback_records"] = [_feedback(run)] if node.parent is None else []
        _fill(rng, trace, draft)
        yield draft


def _metadata(rng: Random, project: str, trace: _Trace, node: _Node) -> dict[str, object] | None:
    """The envelope's metadata in one of the three shapes that load: enhanced, plain, or none (a bare run)."""
    shape = rng.choice(_SHAPES)
    if shape == "bare":
        return None
    root = trace.nodes[0]
    metadata: dict[str, object] = {
        "extracted_at": (root.end + timedelta(days=1)).isoformat(),
        "project_name": project,
        "run_id": node.run_id,
        "extractor_version": "0.1.0",
        "trace_creation_date": root.start.isoformat(),
    }
    if shape == "enhanced":
        metadata["enhanced_feedback"] = True
    return metadata


def _run(rng: Random, trace: _Trace, node: _Node) -> dict[str, object]:
    run_type = "chain" if node.children or node.parent is None else rng.choice(_LEAVES)
    status = rng.choice(_STATUSES)
    first = rng.choice(trace.plain.sentences)
    return {
        "id": node.run_id,
        "name": rng.choice(_NAMES[run_type]),
        "run_type": run_type,
        "status": status,
        "start_time": _when(rng, node.start),
        "end_time": None if status == "pending" else _when(rng, node.end),
        "trace_id": trace.nodes[0].run_id,
        "parent_run_id": node.parent and node.parent.run_id,
        "dotted_order": node.dotted_order,
        "session_id": _SESSION_IDS[trace.number % len(_PROJECTS)],
        "error": f"TimeoutError({first!r})" if status == "error" else None,
        **_usage(rng, run_type),
        "extra": {"metadata": {"ls_method": "traceable"}, "runtime": {"sdk": "langsmith-py", "sdk_version": "0.15.0"}},
        "feedback_stats": {"user_score": {"n": 1, "avg": 1.0, "values": {}}} if node.parent is None else None,
        "tags": ["sample"],
        "events": [],
        "inputs": {},
        "outputs": None if status == "pending" else {"output": first},
    }


def _usage(rng: Random, run_type: str) -> dict[str, object]:
    """Tokens and cost: a number, a string or null, as both generations of the interface write it."""
    if run_type != "llm":
        return dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "total_cost"))
    prompt, completion = rng.randint(50, 30_000), rng.randint(1, 2_000)
    cost = (2 * prompt + 8 * completion) / 10**6
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "total_cost": rng.choice((cost, f"{cost:.6f}")),
    }


def _when(rng: Random, moment: datetime) -> str | int:
    """A time in one of the six forms that files hold; most are as the SDK's client prints them."""
    text = moment.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    match rng.randrange(20):
        case 0:
            return text
        case 1:
            return text.replace(" ", "T")
        case 2:
            return text.replace(" ", "T") + "Z"
        case 3:
            return f"{text[:19]}+00:00"
        case 4:
            return int(moment.timestamp() * 1_000)
        case _:
            return f"{text}+00:00"


def _feedback(run: dict[str, object]) -> dict[str, object]:
    names = {"run_id": run["id"], "trace_id": run["trace_id"], "session_id": run["session_id"]}
    return {"id": run["id"], **names, "key": "user_score", "score": 1, "comment": "helpful"}


def _fill(rng: Random, trace: _Trace, draft: Draft) -> None:
    """Bring the file to a size of the distribution: whole messages first, the rest as the question's text."""
    history = trace.plain if rng.random() < _PLAIN_SHARE else trace.mixed
    draft.run["inputs"] = {"input": "", "messages": []}
    room = _size(rng) - len(draft.encode())
    messages = history.take(max(0, room))
    question = " ".join(rng.choices(history.sentences, k=32)).encode()[: max(60, room - len(messages))]
    draft.run["inputs"] = {"input": question.decode("utf-8", "ignore"), "messages": msgspec.Raw(messages)}


def _size(rng: Random) -> int:
    """A file size in bytes, by its measured quantiles, geometrically between them."""
    share = rng.random()
    above = bisect_right(_SIZES, share, key=lambda point: point[0])
    (low, small), (high, large) = _SIZES[above - 1 : above + 1]
    ratio: float = (large / small) ** ((share - low) / (high - low))
    return round(small * ratio)
