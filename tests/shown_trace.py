"""One trace of a support bot, as pictures in the docs show it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from one_shot import Desk
from run_files import put

TRACE = "5f0c2b1e-8a4d-4c1a-9f57-3f2a6b7c8d90"
_BEGUN = datetime(2026, 11, 20, 23, 59, 48, 200_000, UTC)
_PRICES = (2.5e-6, 1e-5)
_OVERLOADED = "RateLimitError: Error code: 429 - the model is overloaded, try again in 2 s"
_NO_ORDER = "OrderNotFoundError: no order 48-1143 for this customer"

# depth, name, type, start and end in seconds; of a call of a model: its tokens; of what failed: its error.
_RUNS: tuple[tuple[int, str, str, float, float, object], ...] = (
    (0, "support_agent", "chain", 0.0, 24.6, None),
    (1, "load_conversation", "tool", 0.05, 0.31, None),
    (1, "classify_request", "chain", 0.35, 1.9, None),
    (2, "ChatPromptTemplate", "prompt", 0.36, 0.362, None),
    (2, "ChatOpenAI", "llm", 0.37, 1.85, (1_204, 38)),
    (2, "JsonOutputParser", "parser", 1.86, 1.864, None),
    (1, "retrieve", "chain", 1.95, 3.6, None),
    (2, "OpenAIEmbeddings", "embedding", 1.97, 2.4, None),
    (2, "VectorStoreRetriever", "retriever", 2.42, 3.1, None),
    (2, "VectorStoreRetriever", "retriever", 2.44, 3.55, None),
    (1, "plan", "chain", 3.65, 9.8, None),
    (2, "ChatOpenAI", "llm", 3.7, 5.2, _OVERLOADED),
    (2, "ChatOpenAI", "llm", 7.2, 9.75, (6_811, 402)),
    (1, "act", "chain", 9.85, 17.4, None),
    (2, "lookup_order", "tool", 9.9, 11.2, _NO_ORDER),
    (2, "lookup_order", "tool", 11.3, 12.9, None),
    (2, "refund_policy", "chain", 12.95, 17.3, None),
    (3, "VectorStoreRetriever", "retriever", 13.0, 13.9, None),
    (3, "ChatAnthropic", "llm", 14.0, 17.25, (9_430, 611)),
    (1, "write_answer", "chain", 17.5, 24.5, None),
    (2, "ChatPromptTemplate", "prompt", 17.52, 17.523, None),
    (2, "ChatAnthropic", "llm", 17.6, 24.4, (12_077, 938)),
    (2, "StrOutputParser", "parser", 24.42, 24.423, None),
)


def load_trace(desk: Desk) -> str:
    """Write the trace's files, load them, and say its id."""
    for path, body in _files():
        put(desk.root, path, body)
    loaded = desk.run("archive", "to-db", "--all")
    assert loaded.returncode == 0, loaded.stderr
    return TRACE


def _files() -> Iterator[tuple[str, bytes]]:
    above: list[str] = []
    for number, (depth, name, kind, start, end, more) in enumerate(_RUNS):
        run_id = str(UUID(int=UUID(TRACE).int + number))
        del above[depth:]
        begun, ended = (_BEGUN + timedelta(seconds=after) for after in (start, end))
        run = {
            "id": run_id,
            "trace_id": TRACE,
            "parent_run_id": above[-1] if above else None,
            "name": name,
            "run_type": kind,
            "status": "error" if isinstance(more, str) else "success",
            "error": more if isinstance(more, str) else None,
            "start_time": begun.isoformat(),
            "end_time": ended.isoformat(),
            **(_usage(*more) if isinstance(more, tuple) else {}),
        }
        above.append(run_id)
        yield f"support-bot/{begun:%Y-%m-%d}/{run_id}_{begun:%H%M%S}.json", json.dumps(run).encode()


def _usage(prompt: int, completion: int) -> dict[str, object]:
    dear = prompt * _PRICES[0] + completion * _PRICES[1]
    return {"total_tokens": prompt + completion, "total_cost": f"{dear:.6f}"}
