"""The certificate of a project-day: every place is looked at, and where all agree it is written down that they did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import msgspec

from tracewatchd.archive import views
from tracewatchd.edges.writing import classified, make_directory, write_file
from tracewatchd.model.certificate import Agreement, Certificate, Location, View
from tracewatchd.model.errors import TracewatchError
from tracewatchd.model.events import DayCertified, DayUncertified
from tracewatchd.model.manifest import Manifest

Look: TypeAlias = Callable[[Manifest], Awaitable[View]]
"""One look at a place, against the files; what it raises of our own errors leaves the place unchecked."""


async def compare(source: str, files: Manifest, looks: Mapping[Location, Look], *, checked_at: datetime) -> Agreement:
    """Look at each of these places. A look that fails is told as *not checked*, and the others are made."""
    seen = [views.of_files(files)] + [await _look(location, look, files) for location, look in looks.items()]
    return Agreement(
        source=source,
        day=files.day,
        checked_at=checked_at,
        day_digest=files.day_digest,
        runs=files.counts.runs,
        files=len(files.files),
        views=seen,
    )


async def _look(location: Location, look: Look, files: Manifest) -> View:
    try:
        return await look(files)
    except TracewatchError as error:
        detail = f"{error}; {error.hint}" if error.hint else str(error)
        return View(location=location, state="not_checked", detail=detail)


def certified(certificate: Certificate) -> DayCertified:
    """What is told of a certificate that was written."""
    return DayCertified(
        source=certificate.source,
        project=certificate.day.folder,
        day=certificate.day.day.isoformat(),
        places=tuple(certificate.locations),
        runs=certificate.runs,
        files=certificate.files,
        day_digest=certificate.day_digest,
    )


def uncertified(agreement: Agreement) -> DayUncertified:
    """What is told of a comparison after which none was written."""
    return DayUncertified(
        source=agreement.source,
        project=agreement.day.folder,
        day=agreement.day.day.isoformat(),
        verdict=agreement.verdict,
        places={view.location: view.state for view in agreement.views},
    )


def certificate_path(zip_path: Path) -> Path:
    """Where the certificates of a day lie, one a line: beside its zip."""
    return zip_path.with_name(f"{zip_path.stem}.certificates.jsonl")


def write_beside(zip_path: Path, certificate: Certificate) -> None:
    """Add a line to the day's certificates.

    Raises:
        TransientError, PermanentError: it cannot be written there.
    """
    target = certificate_path(zip_path)
    make_directory(target.parent)
    with classified(target.parent, f"read {target.name}"):
        before = target.read_bytes() if target.exists() else b""
    write_file(target, before + msgspec.json.encode(_plain(certificate)) + b"\n", durable=True)


def _plain(certificate: Certificate) -> dict[str, object]:
    """A certificate as it is written for others: a project-day as its folder and its date."""
    return {
        "source": certificate.source,
        "project": certificate.day.folder,
        "date": certificate.day.day.isoformat(),
        "certified_at": certificate.certified_at.isoformat(timespec="microseconds"),
        "locations": list(certificate.locations),
        "runs": certificate.runs,
        "files": certificate.files,
        "day_digest": certificate.day_digest,
    }
