"""What the places of a project-day hold, whether they agree, and the certificate that says so.

The files are what the others are compared with. A place that can no longer be checked disagrees with nothing; what is
still pending blocks a certificate without being a disagreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from tracewatchd.model.findings import Verdict
from tracewatchd.model.project_day import ProjectDay

DIFFERENCES_TOLD = 20
"""Differences of one place that are named; the rest is counted."""


class Location(StrEnum):
    """Where a project-day can lie."""

    LANGSMITH = "langsmith"
    FILES = "files"
    ZIP = "zip"
    DRIVE = "drive"
    DB = "db"


ViewState = Literal["agrees", "differs", "absent", "pending", "no_longer_checkable", "not_checked"]
"""What one look at a place comes to: *absent* holds nothing of the day, *not_checked* could not be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one look at a place saw. ``detail`` says what to know of it where it does not agree."""

    location: Location
    state: ViewState
    runs: int | None = None
    files: int | None = None
    differences: Sequence[str] = ()
    differing: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """All looks at one project-day, begun at ``checked_at``. ``day_digest`` is that of the files."""

    source: str
    day: ProjectDay
    checked_at: datetime
    day_digest: str
    runs: int
    files: int
    views: Sequence[View] = field(default_factory=tuple)

    @property
    def verdict(self) -> Verdict:
        """Consistent where no place disagrees; what could not be checked is never that."""
        states = {view.state for view in self.views}
        if states & {"differs", "absent"}:
            return "inconsistent"
        return "not_checked" if "not_checked" in states else "consistent"

    @property
    def is_certifiable(self) -> bool:
        """Whether a certificate can be written: the files and at least one other place agree, nothing is pending."""
        states = {view.state for view in self.views}
        agreeing = {view.location for view in self.views if view.state == "agrees"}
        return states <= {"agrees", "no_longer_checkable"} and Location.FILES in agreeing and len(agreeing) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """At this time these places held the same; ``day_digest`` is written as ``sha256sum`` prints it."""

    source: str
    day: ProjectDay
    certified_at: datetime
    locations: Sequence[Location]
    runs: int
    files: int
    day_digest: str

    @classmethod
    def of(cls, agreement: Agreement) -> Certificate:
        """The certificate of an agreement that `is_certifiable`."""
        return cls(
            source=agreement.source,
            day=agreement.day,
            certified_at=agreement.checked_at,
            locations=tuple(view.location for view in agreement.views if view.state == "agrees"),
            runs=agreement.runs,
            files=agreement.files,
            day_digest=agreement.day_digest,
        )


def compared(location: Location, expected: Mapping[str, str], held: Mapping[str, str], *, runs: int) -> View:
    """A place that holds these files (names and sha256s in hexadecimal), against those that lie on disk."""
    if not held and expected:
        return View(location=location, state="absent", runs=0, files=0, detail="nothing of the day is there")
    differences = sorted(_differences(expected, held))
    return View(
        location=location,
        state="differs" if differences else "agrees",
        runs=runs,
        files=len(held),
        differences=tuple(differences[:DIFFERENCES_TOLD]),
        differing=len(differences),
    )


def _differences(expected: Mapping[str, str], held: Mapping[str, str]) -> set[str]:
    found = {f"{name}: missing" for name in expected.keys() - held.keys()}
    found |= {f"{name}: not among the files" for name in held.keys() - expected.keys()}
    return found | {f"{name}: other bytes" for name in expected.keys() & held.keys() if expected[name] != held[name]}
