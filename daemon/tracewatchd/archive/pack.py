"""``archive zip``: the files of one project-day become one zip, and only when the day stood still meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tracewatchd.archive.steps import GoOn, Steps
from tracewatchd.edges.day_files import DayFiles, DayLook, OpenFile
from tracewatchd.edges.writing import classified, make_directory
from tracewatchd.edges.zipping import DayZip, GrowingZip
from tracewatchd.model.decode import decode
from tracewatchd.model.errors import PermanentError, PoisonError, TracewatchError, TransientError
from tracewatchd.model.events import Tell, ZipDamaged, ZipFailed, ZipFinished
from tracewatchd.model.layout import RunPath
from tracewatchd.model.manifest import MANIFEST_NAME, MAX_FILES, Manifest, ManifestFile, is_name, manifest_of
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.stamp import Stamp
from tracewatchd.model.zips import ZipOutcome, ZipResult


def zip_path(zip_dir: Path, day: ProjectDay) -> Path:
    """Where a day's zip lies: ``<zip_dir>/<project folder>/<YYYY-MM-DD>.zip``."""
    return zip_dir / day.folder / f"{day.day.isoformat()}.zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Zips days of one root. Calls block: they belong in a worker thread.

    A file of more than ``max_file_bytes`` is not looked into for its run's id, as the line does not either.
    """

    source: str
    root: Path
    zip_dir: Path
    max_file_bytes: int
    tell: Tell
    monotonic: Callable[[], float] = time.monotonic

    def carry_out(self, day: ProjectDay, go_on: GoOn, *, dry_run: bool = False) -> ZipResult:
        """Zip one day, unless its zip is there already and whole.

        Raises:
            TransientError: the day changed while it was read, the disk is full or failing, or another process zips it.
            PermanentError: a file cannot be read or not be zipped, the zip not be written, or it would lose runs.
        """
        try:
            with DayFiles(self.root, day) as files:
                return self._packed(files, go_on).carry_out(dry_run=dry_run)
        except TracewatchError as error:
            self.tell(
                ZipFailed(
                    source=self.source,
                    project=day.folder,
                    day=day.day.isoformat(),
                    error=str(error),
                    hint=error.hint,
                )
            )
            raise

    def manifest(self, day: ProjectDay, go_on: GoOn) -> Manifest:
        """What the zip of a day would say, from its files alone; a day without files has a manifest without files.

        Raises:
            TransientError: the day changed while it was read, or the disk is failing.
            PermanentError: a file cannot be read or not be zipped.
        """
        with DayFiles(self.root, day) as files:
            return self._packed(files, go_on).manifest()

    def _packed(self, files: DayFiles, go_on: GoOn) -> _Packed:
        return _Packed(self, files, zip_path(self.zip_dir, files.day), go_on)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of the zip that is there: its day digest, and its runs, or names where there is no run."""

    day_digest: str
    held: set[UUID | str]
    zip: _Whole


class _Whole(NamedTuple):
    """A zip that was read to its end."""

    size_bytes: int
    sha256: str


class _Packed:
    """One day on its way into its zip."""

    def __init__(self, packing: Packing, files: DayFiles, target: Path, go_on: GoOn) -> None:
        self._packing = packing
        self._files = files
        self._target = target
        self._steps = Steps(go_on)
        self._began = packing.monotonic()
        self._damaged: str | None = None

    def carry_out(self, *, dry_run: bool) -> ZipResult:
        before = self._files.look()
        if not before.names:
            return self._finished(ZipOutcome.NOTHING)
        self._steps.expect(3 * len(before.names))
        known = self._known()
        manifest = self._manifest(before)
        self._require_unchanged(before)
        if known and known.day_digest == manifest.day_digest:
            return self._finished(ZipOutcome.UNCHANGED, manifest, known.zip)
        if known:
            self._require_kept(known, manifest)
        if dry_run:
            return self._finished(ZipOutcome.PLANNED, manifest)
        return self._finished(ZipOutcome.WRITTEN, manifest, self._written(manifest, before))

    def manifest(self) -> Manifest:
        before = self._files.look()
        self._steps.expect(len(before.names))
        manifest = self._manifest(before)
        self._require_unchanged(before)
        return manifest

    def _known(self) -> _Known | None:
        """The zip that is there, None where there is none or a damaged one.

        Nothing of it is kept but what must be compared: two manifests of a large day would not fit into the memory.
        """
        if not self._target.exists():
            return None
        try:
            with DayZip(self._target) as there:
                self._steps.expect(len(there.manifest.files))
                whole = self._tested(there)
                return _Known(
                    there.manifest.day_digest, {file.run_id or file.name for file in there.manifest.files}, whole
                )
        except PoisonError as error:
            self._damaged = str(error)
            return None

    def _tested(self, there: DayZip) -> _Whole:
        """Read every file of a zip back.

        Raises:
            PoisonError: one is not what the manifest names.
        """
        for file in there.manifest.files:
            for _ in there.pieces(file):
                self._steps.go_on()
            self._steps.done()
        return _Whole(there.path.stat().st_size, there.sha256())

    def _manifest(self, look: DayLook) -> Manifest:
        day = self._files.day
        if len(look.names) > MAX_FILES:
            raise PermanentError(f"{day.directory} has {len(look.names)} files; a zip of a day holds {MAX_FILES}")
        for name in look.names:
            if not is_name(name):
                raise PermanentError(
                    f"{day.directory}/{name}: no zip of a day holds a file of this name",
                    hint=f"rename it or move it away; {MANIFEST_NAME} comes out of a zip, and is no run",
                )
        return manifest_of(day, map(self._described, look.names))

    def _described(self, name: str) -> ManifestFile:
        with self._opened(name) as file:
            hashed, run = sha256(), bytearray()
            is_small = file.stamp.size_bytes <= self._packing.max_file_bytes and "/" not in name
            for piece in file.pieces():
                self._steps.go_on()
                hashed.update(piece)
                if is_small:
                    run += piece
            self._steps.done()
            return ManifestFile(
                name=name,
                sha256=hashed.hexdigest(),
                size_bytes=file.stamp.size_bytes,
                mtime_ns=file.stamp.mtime_ns,
                run_id=self._run_id(name, bytes(run), file.stamp) if is_small else None,
            )

    def _run_id(self, name: str, body: bytes, stamp: Stamp) -> UUID | None:
        path = RunPath.parse(f"{self._files.day.directory}/{name}")
        return decode(body, path, stamp).run_id if path else None

    def _opened(self, name: str) -> OpenFile:
        opened = self._files.open(name)
        if opened is None:
            raise self._changed()
        return opened

    def _require_unchanged(self, before: DayLook) -> None:
        if self._files.look().fingerprint != before.fingerprint:
            raise self._changed()

    def _changed(self) -> TransientError:
        return TransientError(
            f"{self._files.day.directory} changed while it was read; no zip was written",
            hint="try again when nothing writes into the day any more",
        )

    def _require_kept(self, known: _Known, manifest: Manifest) -> None:
        """See that no run and no other file is in the zip alone: a day that was cleared must not clear its zip.

        Raises:
            PermanentError: something would be lost.
        """
        lost = known.held - {file.run_id for file in manifest.files} - {file.name for file in manifest.files}
        if lost:
            raise PermanentError(
                f"{self._target} holds {len(lost)} runs or files that the day has no more, as {min(map(str, lost))};"
                " it was not replaced",
                hint="bring them back by `tracewatchd archive restore`, or move the zip away if they are to go",
            )

    def _written(self, manifest: Manifest, before: DayLook) -> _Whole:
        make_directory(self._target.parent)
        with GrowingZip(self._target) as growing:
            growing.write(manifest, self._contents)
            with DayZip(growing.path, expected=manifest) as written:
                whole = self._tested(written)
            self._require_unchanged(before)
            self._keep_damaged()
            growing.finish()
        return whole

    def _contents(self, described: ManifestFile) -> Iterator[bytes]:
        """The bytes of a file; those that were read for the manifest, or none at all."""
        with self._opened(described.name) as file:
            hashed = sha256()
            for piece in file.pieces():
                self._steps.go_on()
                hashed.update(piece)
                yield piece
        if hashed.hexdigest() != described.sha256:
            raise self._changed()
        self._steps.done()

    def _keep_damaged(self) -> None:
        """Let a damaged zip lie beside the new one: it may hold what is nowhere else."""
        if self._damaged is None:
            return
        kept = self._target.with_name(f"{self._target.name}.damaged")
        with classified(self._target.parent, f"rename {self._target.name}"):
            self._target.replace(kept)
        day = self._files.day
        self._packing.tell(
            ZipDamaged(
                source=self._packing.source,
                project=day.folder,
                day=day.day.isoformat(),
                error=self._damaged,
                kept_as=str(kept),
            )
        )

    def _finished(
        self, outcome: ZipOutcome, manifest: Manifest | None = None, whole: _Whole | None = None
    ) -> ZipResult:
        day = self._files.day
        result = ZipResult(
            project=day.folder,
            date=day.day,
            path=str(self._target),
            outcome=outcome,
            run_files=manifest.counts.run_files if manifest else 0,
            runs=manifest.counts.runs if manifest else 0,
            attachments=manifest.counts.attachments if manifest else 0,
            size_bytes=manifest.counts.size_bytes if manifest else 0,
            zip_bytes=whole.size_bytes if whole else None,
            sha256=whole.sha256 if whole else None,
            day_digest=manifest.day_digest if manifest else None,
            damaged=self._damaged,
            took_s=round(self._packing.monotonic() - self._began, 3),
        )
        if outcome is not ZipOutcome.PLANNED:
            self._packing.tell(_event(self._packing.source, result))
        return result


def _event(source: str, result: ZipResult) -> ZipFinished:
    return ZipFinished(
        source=source,
        project=result.project,
        day=result.date.isoformat(),
        outcome=result.outcome.value,
        files=result.run_files + result.attachments,
        size_bytes=result.size_bytes,
        zip_bytes=result.zip_bytes,
        day_digest=result.day_digest,
        took_s=result.took_s,
    )
