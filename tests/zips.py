"""Days, their zips, and zips that nobody honest would make."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from run_files import DIRECTORY
from tracewatchd.archive.pack import Packing, zip_path
from tracewatchd.archive.restore import Restoring
from tracewatchd.archive.steps import GoOn
from tracewatchd.edges.zipping import DayZip, GrowingZip
from tracewatchd.model.events import Event
from tracewatchd.model.manifest import MANIFEST_NAME, Manifest, ManifestFile, lines, manifest_of
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.zips import RestoreResult, ZipResult

DAY = ProjectDay(DIRECTORY.partition("/")[0], date.fromisoformat(DIRECTORY.partition("/")[2]))
SOURCE = "here"
REGULAR = 0o100644 << 16


def onward(_done: int, _known: int) -> None:
    """Go on."""


def manifest(contents: Mapping[str, bytes], *, mtime_ns: int = 1_763_600_000_123_456_789) -> Manifest:
    """The manifest of a day that holds these bytes under these names."""
    return manifest_of(
        DAY,
        [
            ManifestFile(
                name=name,
                sha256=sha256(content).hexdigest(),
                size_bytes=len(content),
                mtime_ns=mtime_ns,
                run_id=None,
            )
            for name, content in contents.items()
        ],
    )


def write_good(target: Path, contents: Mapping[str, bytes]) -> Path:
    """A zip of ours that holds just these bytes."""
    with GrowingZip(target) as growing:
        growing.write(manifest(contents), lambda file: [contents[file.name]])
        growing.finish()
    return target


def contents_of(path: Path) -> dict[str, bytes]:
    """Every file of a zip of ours, with every check that there is."""
    with DayZip(path) as opened:
        return {file.name: b"".join(opened.pieces(file)) for file in opened.manifest.files}


@dataclass
class Forged:
    """A zip as its forger wants it: any members, and whatever else is done to zipfile's records before it is closed."""

    members: list[tuple[str, bytes]]
    method: int = zipfile.ZIP_DEFLATED
    mode: int = REGULAR
    before_close: Callable[[dict[str, zipfile.ZipInfo]], Any] = lambda _: None

    def write(self, target: Path) -> None:
        """Put it at ``target``."""
        with warnings.catch_warnings(), zipfile.ZipFile(target, "w", self.method) as archive:
            warnings.simplefilter("ignore")  # of names that stand there twice
            for name, content in self.members:
                info = zipfile.ZipInfo(name)
                info.compress_type = self.method
                info.external_attr = REGULAR if name == MANIFEST_NAME else self.mode
                archive.writestr(info, content)
            self.before_close({info.filename: info for info in archive.filelist})


def with_manifest(claimed: Manifest, members: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Members under a manifest that claims whatever it likes."""
    return [(MANIFEST_NAME, b"".join(lines(claimed))), *members.items()]


@dataclass
class Shelf:
    """A root and the place of its zips, and what was told of both."""

    root: Path
    zip_dir: Path
    told: list[Event] = field(default_factory=list)
    max_file_bytes: int = 1 << 20

    @property
    def day(self) -> Path:
        """The day's directory."""
        return self.root / DAY.directory

    @property
    def zip(self) -> Path:
        """Where the day's zip lies."""
        return zip_path(self.zip_dir, DAY)

    def packing(self) -> Packing:
        """Zips of the root's days."""
        return Packing(
            source=SOURCE,
            root=self.root,
            zip_dir=self.zip_dir,
            max_file_bytes=self.max_file_bytes,
            tell=self.told.append,
        )

    def restoring(self) -> Restoring:
        """Days that come back into the root."""
        return Restoring(source=SOURCE, root=self.root, max_file_bytes=self.max_file_bytes, tell=self.told.append)

    def pack(self, go_on: GoOn = onward, *, dry_run: bool = False) -> ZipResult:
        """Zip the day."""
        return self.packing().carry_out(DAY, go_on, dry_run=dry_run)

    def restore(self, go_on: GoOn = onward, *, path: Path | None = None, dry_run: bool = False) -> RestoreResult:
        """Restore the day."""
        return self.restoring().carry_out(DAY, path or self.zip, go_on, dry_run=dry_run)

    def names(self) -> list[str]:
        """The names of the events that were told."""
        return [event.event for event in self.told]


def snapshot(place: Path) -> dict[str, tuple[bytes | None, int]]:
    """Everything below a directory: bytes and mtime of files, None for what is no file."""
    found = {}
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(place))] = (
            path.read_bytes() if is_file else None,
            status.st_mtime_ns if is_file else 0,
        )
    return found
