"""What a look at our surroundings found before it could bite: troubles, each with its remedy, and what was not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]
"""``error``: something does not work, or will be lost. ``warning``: it will bite some day. ``note``: good to know."""
Health: TypeAlias = Literal["healthy", "unhealthy", "not_checked"]

_ORDER: Sequence[Severity] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong: a sentence that says what, and a remedy with the command or the setting to use.

    ``check`` is the check that found it, ``source`` the root that it is about, where it is about one.
    """

    check: str
    severity: Severity
    sentence: str
    remedy: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A check that could not be made, why, and what to do so that it can."""

    check: str
    sentence: str
    remedy: str


@dataclass(slots=True)
class Diagnosis:
    """What all checks said. ``checks`` are the names of those that were made."""

    checks: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)

    @property
    def counts(self) -> Counter[Severity]:
        """Troubles by severity."""
        return Counter(trouble.severity for trouble in self.troubles)

    def worst_first(self) -> list[Trouble]:
        """The troubles by severity, those of one severity in the order of the checks."""
        return sorted(self.troubles, key=lambda trouble: _ORDER.index(trouble.severity))

    def health(self, *, strict: bool) -> Health:
        """Healthy is only what was looked at and has no error; with ``strict`` no warning either."""
        counts = self.counts
        if counts["error"] or (strict and counts["warning"]):
            return "unhealthy"
        return "not_checked" if self.unchecked else "healthy"
