"""What is where of a project-day, as far as it can be told without reading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Literal, NamedTuple

from tracewatchd.model.certificate import Certificate

Standing = Literal["certified", "outdated", "not_certified", "not_checked"]
"""*outdated*: something of the day changed, or may have, after its certificate was written."""

_NS_PER_S = 1_000_000_000


class FilesThere(NamedTuple):
    """The run files of a day: how many, and when the last of them changed, in nanoseconds since 1970."""

    files: int = 0
    changed_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStatus:
    """One project-day. ``zip`` and ``drive`` are the day digests that are there; None where nothing is, or is known.

    ``days_left`` is how many days LangSmith will still keep a day that is not proved to be kept here.
    """

    source: str
    directory: str
    files: int
    zip: str | None
    drive: str | None
    in_db: bool
    standing: Standing
    certified_at: datetime | None
    days_left: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What each place has, by directory. Drive and database are None where they could not be asked."""

    files: Mapping[str, FilesThere] = field(default_factory=dict)
    zips: Mapping[str, str] = field(default_factory=dict)
    drive: Mapping[str, str] | None = None
    loaded: Iterable[str] | None = None
    certificates: Mapping[str, Certificate] | None = None
    days_left: Mapping[str, int] = field(default_factory=dict)


def statuses(source: str, places: Places) -> list[DayStatus]:
    """Every project-day that any place knows, in byte order of the directories."""
    loaded = frozenset(places.loaded or ())
    told = (places.files, places.zips, places.drive or (), loaded, places.certificates or (), places.days_left)
    known = set(chain.from_iterable(told))
    return [_status(source, directory, places, loaded) for directory in sorted(known)]


def _status(source: str, directory: str, places: Places, loaded: frozenset[str]) -> DayStatus:
    certificate = (places.certificates or {}).get(directory)
    return DayStatus(
        source=source,
        directory=directory,
        files=places.files.get(directory, FilesThere()).files,
        zip=places.zips.get(directory),
        drive=(places.drive or {}).get(directory),
        in_db=directory in loaded,
        standing=_standing(directory, places, certificate),
        certified_at=certificate.certified_at if certificate else None,
        days_left=places.days_left.get(directory),
    )


def _standing(directory: str, places: Places, certificate: Certificate | None) -> Standing:
    if places.certificates is None:
        return "not_checked"
    if certificate is None:
        return "not_certified"
    files = places.files.get(directory, FilesThere())
    digests = {places.zips.get(directory), (places.drive or {}).get(directory)} - {None}
    is_as_certified = (
        files.changed_ns <= certificate.certified_at.timestamp() * _NS_PER_S
        and digests <= {certificate.day_digest}
        and files.files > 0
    )
    return "certified" if is_as_certified else "outdated"
