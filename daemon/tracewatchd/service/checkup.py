"""What `doctor` looks at, made from the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tracewatchd.model.diagnosis import Diagnosis
from tracewatchd.model.events import Tell
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import embedded_directory
from tracewatchd.service.doctor import Check, diagnose
from tracewatchd.service.doctor_database import DATABASE_LIMIT_S, DatabaseCheck
from tracewatchd.service.doctor_machine import Kept, machine_checks
from tracewatchd.service.doctor_online import Online
from tracewatchd.service.doctor_roots import Roots
from tracewatchd.settings import Loaded, Root


async def check_up(loaded: Loaded, roots: Sequence[Root], tell: Tell) -> Diagnosis:
    """Look at everything that these settings depend on; of the roots at these."""
    settings = loaded.settings
    # Whoever is not about roots must not hang where one of them does.
    without_roots = settings.model_copy(update={"watch": settings.watch.model_copy(update={"roots": ()})})
    database = DatabaseCheck(settings, tell, lambda: datetime.now(UTC))
    return await diagnose(
        [
            *Roots(roots, settings.watch).checks(),
            *machine_checks(loaded, _kept(Archiving(without_roots, tell))),
            Check("database", database.look, DATABASE_LIMIT_S),
            *Online(without_roots, tell).checks(),
        ]
    )


def _kept(archiving: Archiving) -> Iterator[Kept]:
    """Directories that something is or will be written into: those that are named, and those that are there."""
    settings, archive = archiving.settings, archiving.settings.archive
    if not settings.database.url:
        yield Kept("the embedded database", embedded_directory(settings), "database.embedded_dir", is_database=True)
    yield Kept("the zips", archiving.zip_dir, "archive.zip_dir", is_named=archive.zip_dir is not None)
    yield Kept("the archive's hints", archiving.state_dir, "archive.state_dir", is_named=archive.state_dir is not None)
