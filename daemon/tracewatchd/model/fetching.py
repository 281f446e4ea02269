"""What a fetch from LangSmith did, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date
from typing import Literal

import msgspec

Fate = Literal["written", "replaced", "unchanged"]


@dataclass(slots=True, kw_only=True)
class FetchResult:
    """What fetches did, in runs.

    ``written``, ``replaced`` and ``unchanged`` are files, and add up to the runs that have one. ``pending`` of them had
    not ended; ``given_up`` had not either, and are fetched no more by ``--since-last``. Of each run, feedback was
    ``feedback_fetched``, ``feedback_empty`` or ``feedback_not_fetched``. Attachments were downloaded (``attachments``),
    there already (``attachments_kept``) or are not archived: left on request, or missing because they could not be
    downloaded. ``errors`` counts runs that cannot become files; each day's ``_errors.json`` says why.
    """

    days: int = 0
    written: int = 0
    replaced: int = 0
    unchanged: int = 0
    pending: int = 0
    given_up: int = 0
    feedback_fetched: int = 0
    feedback_empty: int = 0
    feedback_not_fetched: int = 0
    attachments: int = 0
    attachments_kept: int = 0
    attachments_left: int = 0
    attachments_missing: int = 0
    errors: int = 0
    requests: int = 0
    took_s: float = 0.0
    failed: list[str] = field(default_factory=list)
    """A sentence for each project-day that could not be fetched to its end."""

    @property
    def runs(self) -> int:
        """Runs that have a file."""
        return self.written + self.replaced + self.unchanged

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing that was there to be fetched."""
        return not (self.errors or self.feedback_not_fetched or self.attachments_missing or self.failed)

    def count(self, fate: Fate, step: int = 1) -> None:
        """Count what became of one run's file."""
        setattr(self, fate, getattr(self, fate) + step)

    def add(self, other: FetchResult) -> None:
        """Count another fetch, too."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


class BadRun(msgspec.Struct, frozen=True):
    """One run of a day that cannot become a run file, as ``_errors.json`` lists it.

    ``run`` is what came, as text, cut to a limit; signed URLs in it have lost their signatures.
    """

    run_id: str
    error: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """How far a fetch of one day is.

    ``share`` of the day, from its end backwards, has been fetched (0 to 1); ``left`` requests would pass at once.
    """

    project: str
    day: date
    runs: int
    requests: int
    share: float
    left: int
