"""What Google Drive holds of an archive, and the rules about it that need no network.

A file is found by its application properties, never by its name: names are not unique there, and people change them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from tracewatchd.model.layout import decode_path
from tracewatchd.model.project_day import ProjectDay

CHUNK_GRAIN_BYTES = 262_144
"""Every chunk of an upload but the last is a multiple of this (Drive's rule for resumable uploads)."""
FOLDER_TYPE = "application/vnd.google-apps.folder"
ZIP_TYPE = "application/zip"
MY_DRIVE = "root"
"""What Drive calls the top of a user's own files."""

_PROPERTY_BYTES = 124  # of a property's key and value together, in UTF-8
_ZIP_KIND = "tracewatchd.day-zip"
_FOLDER_KIND = "tracewatchd.project-folder"
_ID = re.compile(r"[\w-]{1,256}", re.ASCII)
_STORED = re.compile(r"bytes=0-(\d{1,19})", re.ASCII)


class DriveFile(msgspec.Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """A file or folder as Drive describes it; what it does not say is empty.

    ``created_time`` is ISO 8601 in UTC with a fixed number of digits, so that it sorts as text.
    """

    id: str
    name: str = ""
    mime_type: str = ""
    size: int | None = None
    md5_checksum: str = ""
    sha256_checksum: str = ""
    app_properties: dict[str, str] = {}
    parents: list[str] = []
    created_time: str = ""
    head_revision_id: str = ""
    drive_id: str = ""
    trashed: bool = False

    @property
    def day_digest(self) -> str:
        """The digest of the project-day that was in the zip when it was uploaded; empty where there is none."""
        return self.app_properties.get("day_digest", "")

    @property
    def zip_sha256(self) -> str:
        """The sha256 of the zip that was uploaded; Drive's own checksum says whether it is still that one."""
        return self.app_properties.get("zip_sha256", "")

    @property
    def is_as_uploaded(self) -> bool:
        """Whether Drive's own checksum, where it keeps one, is that of the zip that was uploaded."""
        return self.sha256_checksum in {"", self.zip_sha256}


FIELDS = ",".join(field.encode_name for field in msgspec.structs.fields(DriveFile))
"""What Drive is asked to say of a file: it says little by itself."""


class Content(NamedTuple):
    """What the bytes of a file are known by; digests in lower-case hexadecimal."""

    size: int
    sha256: str
    md5: str

    def is_in(self, file: DriveFile) -> bool:
        """Whether Drive says that it holds these bytes: by sha256, else by md5 (Drive keeps no sha256 of old files)."""
        if file.size != self.size:
            return False
        if file.sha256_checksum:
            return file.sha256_checksum == self.sha256
        return file.md5_checksum == self.md5


class Identity(NamedTuple):
    """What a file of ours on Drive is found by. ``archive`` is the id of the folder that the whole archive lies in."""

    archive: str
    kind: str
    project: str
    day: str = ""

    def properties(self) -> dict[str, str]:
        """The application properties that say so, each within Drive's limit."""
        return {key: fitting(key, value) for key, value in self._asdict().items() if value}


def zip_identity(archive: str, day: ProjectDay) -> Identity:
    """What a project-day's zip is found by."""
    return Identity(archive, _ZIP_KIND, day.folder, day.day.isoformat())


def day_properties(archive: str, day: ProjectDay, day_digest: str, zip_sha256: str) -> dict[str, str]:
    """What is written on a project-day's zip: what it is found by, and what is in it."""
    return {**zip_identity(archive, day).properties(), "day_digest": day_digest, "zip_sha256": zip_sha256}


def folder_identity(archive: str, folder: str) -> Identity:
    """What a project's folder is found by."""
    return Identity(archive, _FOLDER_KIND, folder)


def zips_query(archive: str) -> str:
    """A search for every zip of an archive."""
    return query({"archive": fitting("archive", archive), "kind": _ZIP_KIND})


def fitting(key: str, value: str) -> str:
    """A property's value, or what stands for it where key and value are longer than Drive allows."""
    if len(key.encode()) + len(value.encode()) <= _PROPERTY_BYTES:
        return value
    return f"sha256:{sha256(value.encode()).hexdigest()}"


def query(properties: Mapping[str, str]) -> str:
    """A search for all that has these application properties and is not in the bin."""
    wanted = [
        f"appProperties has {{ key='{_escaped(key)}' and value='{_escaped(value)}' }}"
        for key, value in properties.items()
    ]
    return " and ".join([*wanted, "trashed = false"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def day_of_file(file: DriveFile) -> date | None:
    """The UTC day whose zip a file is, as its properties say it."""
    try:
        return date.fromisoformat(file.app_properties.get("day", ""))
    except ValueError:
        return None


def days_of_files(files: Iterable[DriveFile], folders: Iterable[str]) -> dict[ProjectDay, DriveFile]:
    """The zip of each project-day, the oldest of several. A folder's long name is known again among ``folders``."""
    names = {fitting("project", folder): folder for folder in folders}
    found: dict[ProjectDay, DriveFile] = {}
    for file in sorted(files, key=oldest_first):
        day, project = day_of_file(file), file.app_properties.get("project", "")
        if day and project:
            found.setdefault(ProjectDay(names.get(project, project), day), file)
    return found


def shown_name(folder: str) -> str:
    """What people see as the name of a project's folder on Drive."""
    return decode_path(folder).decode("utf-8", "replace")


def folder_id(text: str) -> str:
    """The id in a folder's URL, or the id itself.

    Raises:
        ValueError: there is none in it.
    """
    address = urlsplit(text.strip())
    parts = address.path.split("/")
    if not address.scheme:
        found = text.strip()
    elif "folders" in parts[:-1]:
        found = parts[parts.index("folders") + 1]
    else:
        found = parse_qs(address.query).get("id", [""])[0]
    if not _ID.fullmatch(found):
        raise ValueError("must be a folder's id, or its URL as https://drive.google.com/drive/folders/ID")
    return found


def oldest_first(file: DriveFile) -> tuple[str, str]:
    """The order by which everyone chooses the same one of several files that say they are the same."""
    return (file.created_time, file.id)


def stored_bytes(range_header: str) -> int:
    """How much of an upload Drive has, by the ``Range`` of its answer; no such header means nothing.

    Raises:
        ValueError: it is not a range from the start.
    """
    if not range_header:
        return 0
    found = _STORED.fullmatch(range_header)
    if not found:
        raise ValueError("no range from the start")
    return int(found[1]) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResult:
    """What ``archive upload`` did for one project-day.

    ``what`` is created, updated (another revision of the same file) or unchanged (Drive held this day already: nothing
    was sent). ``sent_bytes`` counts what was put on the wire, what had to be sent again included; ``resumed_at_bytes``
    is how much an earlier, broken upload had left there. ``duplicates`` are ids of other files that say they are this
    day's zip.
    """

    project: str
    day: date
    what: str
    file_id: str
    size_bytes: int
    sent_bytes: int
    resumed_at_bytes: int
    zip_sha256: str
    day_digest: str
    duplicates: tuple[str, ...]
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """How far a transfer is, in bytes of the file."""

    done_bytes: int
    size_bytes: int
