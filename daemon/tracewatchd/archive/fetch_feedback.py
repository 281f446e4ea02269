"""Feedback of runs, asked for in full chunks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from tracewatchd.edges.langsmith import FEEDBACK_RUNS, LangSmith
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.model.upstream import list_of


class Feedback:
    """Collects the runs whose feedback is wanted. A failure costs the feedback of its runs, never the runs.

    After a failure that did not heal no more is asked for: each further chunk would wait as long.
    """

    def __init__(self, langsmith: LangSmith) -> None:
        self._langsmith = langsmith
        self._wanted: dict[str, None] = {}
        self._known: dict[str, bytes] = {}
        self._gave_up = False
        self.error = ""

    def want(self, run_ids: Iterable[str]) -> None:
        """Ask for the feedback of these runs, when there are enough of them."""
        self._wanted.update(dict.fromkeys(run_ids))

    async def ask(self, *, rest: bool = False) -> None:
        """Ask for all full chunks of what is wanted; for the rest, too, where so many will not come any more."""
        while self._wanted and (rest or len(self._wanted) >= FEEDBACK_RUNS):
            chunk = list(islice(self._wanted, FEEDBACK_RUNS))
            for run_id in chunk:
                del self._wanted[run_id]
            if not self._gave_up:
                await self._ask(chunk)

    async def _ask(self, chunk: list[str]) -> None:
        try:
            found = await self._langsmith.feedback(chunk)
        except (TransientError, PermanentError) as error:
            self.error = self.error or str(error)
            self._gave_up = isinstance(error, TransientError)
        else:
            self._known.update((run_id, list_of(records)) for run_id, records in found.items())

    def knows(self, run_id: str) -> bool:
        """Whether the run's feedback has come and was not taken yet."""
        return run_id in self._known

    def take(self, run_id: str) -> bytes | None:
        """The run's feedback as a JSON list, once; None where it is not known."""
        return self._known.pop(run_id, None)
