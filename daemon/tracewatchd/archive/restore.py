"""``archive restore``: the files of one project-day come back from its zip, after all of it was found to be good.

Restoring adds: it takes no newer file's place, and none whose age cannot be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tracewatchd.archive.steps import GoOn, Steps
from tracewatchd.edges.day_files import DayFiles
from tracewatchd.edges.staging import Staging
from tracewatchd.edges.zipping import DayZip
from tracewatchd.model.decode import decode
from tracewatchd.model.errors import PermanentError, TracewatchError
from tracewatchd.model.events import RestoreFailed, RestoreFinished, Tell
from tracewatchd.model.layout import RunPath
from tracewatchd.model.manifest import ManifestFile
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.record import TraceRecord
from tracewatchd.model.stamp import Stamp
from tracewatchd.model.zips import MOVED, RestoreKind, RestoreResult


class _Local(NamedTuple):
    """What stands in a file's place: its stamp, and how the zip's file stands to it."""

    kind: RestoreKind
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """Restores days into one root. Calls block: they belong in a worker thread.

    Files of more than ``max_file_bytes`` are not compared by version: where they differ they are left.
    """

    source: str
    root: Path
    max_file_bytes: int
    tell: Tell
    monotonic: Callable[[], float] = time.monotonic

    def carry_out(self, day: ProjectDay, zip_file: Path, go_on: GoOn, *, dry_run: bool = False) -> RestoreResult:
        """Restore one day from a zip; a dry run reads all of it and says what would be done.

        Raises:
            PoisonError: the zip is damaged, hostile or no zip of ours. Nothing was touched.
            TransientError: the disk is full or failing, or another process restores this day.
            PermanentError: it is another day's zip, or a file cannot be read or written.
        """
        try:
            return self._carry_out(day, zip_file, go_on, dry_run=dry_run)
        except TracewatchError as error:
            self.tell(
                RestoreFailed(
                    source=self.source,
                    project=day.folder,
                    day=day.day.isoformat(),
                    error=str(error),
                    hint=error.hint,
                )
            )
            raise

    def _carry_out(self, day: ProjectDay, zip_file: Path, go_on: GoOn, *, dry_run: bool) -> RestoreResult:
        began = self.monotonic()
        with DayZip(zip_file) as source, DayFiles(self.root, day) as files:
            _require_day(source, day)
            restored = _Restored(self, source, files, go_on)
            if dry_run:
                restored.foresee()
            else:
                with Staging(self.root, day) as staging:
                    restored.carry_out(staging)
            result = restored.result
        result.dry_run = dry_run
        result.took_s = round(self.monotonic() - began, 3)
        if not dry_run:
            self.tell(_event(self.source, result))
        return result


class _Restored:
    """One day on its way out of its zip."""

    def __init__(self, restoring: Restoring, source: DayZip, files: DayFiles, go_on: GoOn) -> None:
        self._restoring = restoring
        self._zip = source
        self._files = files
        self._steps = Steps(go_on)
        self._steps.expect(len(source.manifest.files))
        day = files.day
        self.result = RestoreResult(
            project=day.folder, date=day.day, zip=str(source.path), day_digest=source.manifest.day_digest
        )

    def foresee(self) -> None:
        for file in self._zip.manifest.files:
            self.result.add(file.name, self._local(file).kind)
            for _ in self._zip.pieces(file):
                self._steps.go_on()
            self._steps.done()

    def carry_out(self, staging: Staging) -> None:
        plan = [(file, self._local(file)) for file in self._zip.manifest.files]
        moved = {file.name for file, local in plan if local.kind in MOVED}
        staging.require_room(sum(file.size_bytes for file, _ in plan if file.name in moved))
        self._stage(staging, moved)
        for number, (file, local) in enumerate(plan):
            self._steps.go_on()
            self.result.add(file.name, self._placed(staging, number, file, local))
        staging.settle()

    def _stage(self, staging: Staging, moved: set[str]) -> None:
        """Read the whole zip, and keep what is to be moved: before the last file was good, none is moved."""
        for number, file in enumerate(self._zip.manifest.files):
            if file.name in moved:
                staging.put(number, self._pieces(file), mtime_ns=file.mtime_ns)
            else:
                for _ in self._pieces(file):
                    pass
            self._steps.done()

    def _pieces(self, file: ManifestFile) -> Iterator[bytes]:
        for piece in self._zip.pieces(file):
            self._steps.go_on()
            yield piece

    def _placed(self, staging: Staging, number: int, file: ManifestFile, local: _Local) -> RestoreKind:
        """What became of a file: where its place changed since it was looked at, it is left."""
        if local.kind is RestoreKind.NEW:
            placed = staging.move_in(number, file.name)
        elif local.kind is RestoreKind.NEWER and local.stamp:
            placed = staging.move_over(number, file.name, local.stamp)
        else:
            placed = True
        return local.kind if placed else RestoreKind.DIFFERENT

    def _local(self, file: ManifestFile) -> _Local:
        opened = self._files.open(file.name)
        if opened is None:
            return _Local(RestoreKind.NEW)
        with opened:
            hashed, body = sha256(), bytearray()
            is_small = max(opened.stamp.size_bytes, file.size_bytes) <= self._restoring.max_file_bytes
            for piece in opened.pieces():
                self._steps.go_on()
                hashed.update(piece)
                if is_small:
                    body += piece
        if hashed.hexdigest() == file.sha256:
            return _Local(RestoreKind.SAME)
        if not (is_small and file.is_run_file):
            return _Local(RestoreKind.DIFFERENT)
        return _Local(self._compared(file, bytes(body), opened.stamp), opened.stamp)

    def _compared(self, file: ManifestFile, body: bytes, stamp: Stamp) -> RestoreKind:
        """Which of two files of one name is the newer one, by what decides between their rows, too.

        Of two files that were extracted and written at the same time one was edited, or rotted: no sha256 tells which.
        """
        ours = self._record(file.name, body, stamp)
        theirs = self._record(
            file.name, b"".join(self._zip.pieces(file)), Stamp(file.size_bytes, file.mtime_ns, file.mtime_ns)
        )
        if ours is None or theirs is None or ours.run_id != theirs.run_id or ours.version[:2] == theirs.version[:2]:
            return RestoreKind.DIFFERENT
        return RestoreKind.NEWER if theirs.version > ours.version else RestoreKind.OLDER

    def _record(self, name: str, body: bytes, stamp: Stamp) -> TraceRecord | None:
        path = RunPath.parse(f"{self._files.day.directory}/{name}")
        record = decode(body, path, stamp) if path else None
        return record if isinstance(record, TraceRecord) else None


def _require_day(source: DayZip, day: ProjectDay) -> None:
    if source.manifest.day != day:
        raise PermanentError(
            f"{source.path} is the zip of {source.manifest.day.directory}, not of {day.directory}",
            hint="name the project and the day that the zip is of",
        )


def _event(source: str, result: RestoreResult) -> RestoreFinished:
    counts = asdict(result)
    return RestoreFinished(
        source=source,
        project=result.project,
        day=result.date.isoformat(),
        files={kind.value: counts[kind.value] for kind in RestoreKind if counts[kind.value]},
        took_s=result.took_s,
    )
