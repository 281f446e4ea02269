"""What a full sweep of a project-day ends with: what each step did, and what to do about those that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

StepState = Literal["done", "failed", "not_possible", "skipped"]
"""*failed* met an error, *not_possible* needs a step that failed, *skipped* was not asked for."""


class Step(StrEnum):
    """The verbs of a full sweep, in their order."""

    FETCH = "fetch"
    TO_DB = "to-db"
    ZIP = "zip"
    UPLOAD = "upload"


NEEDS: Mapping[Step, Step] = {Step.ZIP: Step.FETCH, Step.UPLOAD: Step.ZIP}
"""A day that was not fetched whole is not zipped, and a zip that was not made is not uploaded; rows need neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a step did. ``complaint`` says why it is no success although it met no error; ``advice`` what to do then."""

    counts: Mapping[str, int | str | None] = field(default_factory=dict)
    complaint: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step of one project-day. ``error`` says what failed, ``advice`` what to do about it."""

    step: Step
    state: StepState
    took_s: float = 0.0
    counts: Mapping[str, int | str | None] = field(default_factory=dict)
    error: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullSweepResult:
    """All steps of one project-day, in their order."""

    source: str
    project: str
    date: date
    took_s: float
    steps: Sequence[StepResult]

    @property
    def is_whole(self) -> bool:
        """Whether every step that was asked for is done."""
        return all(step.state in {"done", "skipped"} for step in self.steps)
