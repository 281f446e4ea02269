"""``tracewatchd archive verify --against``: whether all places hold the same of a project-day, and its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from tracewatchd.archive.certify import certified, compare, uncertified, write_beside
from tracewatchd.archive.pack import zip_path
from tracewatchd.archive.steps import in_thread
from tracewatchd.cli.output import Output
from tracewatchd.cli.selecting import one_place
from tracewatchd.cli.steps_bar import StepsBar
from tracewatchd.cli.working import apart
from tracewatchd.model.certificate import Agreement, Certificate, Location, View
from tracewatchd.model.exits import Exit
from tracewatchd.model.findings import Verdict
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.day_looks import DayLooks
from tracewatchd.service.late import LateAssembly
from tracewatchd.settings import Settings

_EXITS: dict[Verdict, Exit] = {
    "consistent": Exit.OK,
    "inconsistent": Exit.FOUND,
    "not_checked": Exit.NOT_CHECKED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Which project-day is compared at which places, and how it is told."""

    project: str
    day: date
    locations: Sequence[Location]
    source: str | None
    dry_run: bool
    as_json: bool
    verbose: bool


def compare_places(settings: Settings, comparison: Comparison) -> Exit:
    """Compare the places, write a certificate where all agree, and say what was seen."""
    agreement, certificate = apart(settings, partial(_compare, comparison=comparison), verbose=comparison.verbose)
    _show(agreement, certificate, Output(as_json=comparison.as_json))
    return _EXITS[agreement.verdict]


async def _compare(archiving: Archiving, *, comparison: Comparison) -> tuple[Agreement, Certificate | None]:
    place = one_place(archiving, comparison.source)
    _, folder = archiving.project_of(comparison.project)
    day = ProjectDay(folder, comparison.day)
    checked_at = datetime.now(UTC)
    packing = archiving.packing(place)
    with StepsBar() as bar:
        files = await in_thread(lambda go_on: packing.manifest(day, go_on), bar.part(day.directory))
    async with LateAssembly(archiving, create=False) as database:
        looks = DayLooks(archiving, place, database).at(comparison.locations)
        agreement = await compare(place.source, files, looks, checked_at=checked_at)
        if comparison.dry_run:
            return agreement, None
        if not agreement.is_certifiable:
            archiving.tell(uncertified(agreement))
            return agreement, None
        certificate = await _certify(agreement, database, zip_path(archiving.zip_dir, day))
        archiving.tell(certified(certificate))
        return agreement, certificate


async def _certify(agreement: Agreement, database: LateAssembly, path: Path) -> Certificate:
    """Write a certificate beside the zip and, where the database was looked at, into it."""
    certificate = Certificate.of(agreement)
    if Location.DB in certificate.locations:
        await (await database.get()).database.certify(certificate)
    write_beside(path, certificate)
    return certificate


def _show(agreement: Agreement, certificate: Certificate | None, out: Output) -> None:
    for view in agreement.views:
        out.line(f"{view.location}: {_sentence(view)}")
        for difference in view.differences:
            out.line(f"  {difference}")
        if view.differing > len(view.differences):
            out.line(f"  and {view.differing - len(view.differences)} more")
    out.line(f"{agreement.day.directory}: {agreement.verdict.replace('_', ' ')}; day digest {agreement.day_digest}")
    out.line("certified" if certificate else "not certified")
    out.data(
        {
            "source": agreement.source,
            "project": agreement.day.folder,
            "date": agreement.day.day,
            "checked_at": agreement.checked_at,
            "verdict": agreement.verdict,
            "certified": certificate is not None,
            "day_digest": agreement.day_digest,
            "runs": agreement.runs,
            "files": agreement.files,
            "places": agreement.views,
        }
    )


def _sentence(view: View) -> str:
    counts = [f"{count} {noun}" for count, noun in ((view.runs, "runs"), (view.files, "files")) if count is not None]
    return ", ".join([view.state.replace("_", " "), *counts, *filter(None, [view.detail])])
