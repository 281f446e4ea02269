"""The directory of one project-day as fetch writes it: run files, attachments, and the list of what is no run file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import msgspec

from tracewatchd.edges.writing import classified, make_directory, write_file
from tracewatchd.model.errors import PoisonError
from tracewatchd.model.fetching import BadRun
from tracewatchd.model.layout import day_of, decode_path, is_run_file_name
from tracewatchd.model.manifest import ATTACHMENTS
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.upstream import StoredRun, stored_run

ERRORS = "_errors.json"
"""The day's list of runs that cannot become files: no run file, by its name."""

_READ_BYTES = 256 * 1024 * 1024
_DAYS_ASKED = 3
_FILES_ASKED = 3
_NAME_BYTES = 200
_PLAIN_IN_A_NAME = " ()[]+,=@-_."


class DayFolder:
    """One project-day's directory; made when something is first written. Calls block: they belong in a thread.

    Raises:
        TransientError: the disk is full or failing.
        PermanentError: the directory cannot be read or written.
    """

    def __init__(self, root: Path, day: ProjectDay) -> None:
        self._project = root / os.fsdecode(decode_path(day.folder))
        self.path = self._project / day.day.isoformat()
        self._names = dict(_run_ids(self.path))

    @property
    def count(self) -> int:
        """Run files that were there, and those written since."""
        return len(self._names)

    def stored(self, run_id: str) -> StoredRun | None:
        """What the run's file holds; None where there is none, or none that can be read as one.

        Raises:
            TransientError, PermanentError: as for the class.
        """
        name = self._names.get(run_id)
        return None if name is None else _stored(self.path / name)

    def put(self, run_id: str, name: str, content: bytes, *, mtime_ns: int) -> None:
        """Write a run's file of this age: in place of the one that it has, whatever that is called, else so named.

        Raises:
            TransientError, PermanentError: as for the class.
        """
        name = self._names.setdefault(run_id, name)
        self._make()
        write_file(self.path / name, content, durable=True, mtime_ns=mtime_ns)

    def foreign(self, project: str) -> tuple[Path, str] | None:
        """A file of the project's folder that names another project, and the name; only some files are looked at.

        Raises:
            TransientError, PermanentError: as for the class.
        """
        for directory in (self.path, *islice(_days(self._project), _DAYS_ASKED)):
            for name in islice(sorted(dict(_run_ids(directory)).values()), _FILES_ASKED):
                stored = _stored(directory / name)
                if stored and stored.project not in {None, project}:
                    return directory / name, str(stored.project)
        return None

    def errors(self) -> list[BadRun]:
        """What the day's list holds; nothing where it cannot be read."""
        try:
            return msgspec.json.decode((self.path / ERRORS).read_bytes(), type=list[BadRun])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return []

    def put_errors(self, errors: Sequence[BadRun]) -> None:
        """Write the day's list, a line for each; an empty one is removed.

        Raises:
            TransientError, PermanentError: as for the class.
        """
        if not errors:
            with classified(self.path, f"remove {ERRORS}"):
                (self.path / ERRORS).unlink(missing_ok=True)
            return
        self._make()
        lines = b",\n".join(map(msgspec.json.encode, errors))
        write_file(self.path / ERRORS, b"[\n" + lines + b"\n]\n", durable=True)

    def attachment(self, run_id: str, name: str) -> Path | None:
        """Where an attachment is to be written; None where it is there already.

        Raises:
            TransientError, PermanentError: as for the class.
        """
        directory = self.path / ATTACHMENTS / run_id
        path = directory / _plain_name(name)
        if path.exists():
            return None
        make_directory(directory)
        return path

    def _make(self) -> None:
        if not self.path.is_dir():
            make_directory(self.path)


def _run_ids(directory: Path) -> Iterator[tuple[str, str]]:
    """Run ids by the names of a directory's run files, and those names; of two files of one run the later name."""
    with classified(directory, "look into it"):
        if not directory.is_dir():
            return
        with os.scandir(directory) as entries:
            files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    for name in sorted(files):
        if is_run_file_name(os.fsencode(name)):
            yield name.removesuffix(".json").rpartition("_")[0].lower(), name


def _days(project: Path) -> list[Path]:
    """The days of a project, the newest first."""
    with classified(project, "look into it"):
        if not project.is_dir():
            return []
        return sorted((path for path in project.iterdir() if day_of(os.fsencode(path.name))), reverse=True)


def newest_day(root: Path, folder: str) -> Path | None:
    """The directory of a project's newest day; None where it has none.

    Raises:
        TransientError, PermanentError: as for `DayFolder`.
    """
    return next(iter(_days(root / os.fsdecode(decode_path(folder)))), None)


def _stored(path: Path) -> StoredRun | None:
    """What a run file holds; None where it has been removed meanwhile, is far too large, or can be read as none."""
    with classified(path.parent, f"read {path.name}"), suppress(FileNotFoundError):
        if path.stat().st_size <= _READ_BYTES:
            return _understood(path.read_bytes())
    return None


def _understood(content: bytes) -> StoredRun | None:
    try:
        return stored_run(content)
    except PoisonError:
        return None


def _plain_name(name: str) -> str:
    """An attachment's name as one part of a path, neither hidden nor too long for a file system."""
    plain = quote(name, safe=_PLAIN_IN_A_NAME)
    if plain.startswith(".") or not plain:
        plain = "%2E" + plain[1:]
    if len(plain) > _NAME_BYTES:
        plain = plain[: _NAME_BYTES - 17] + "-" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return plain
