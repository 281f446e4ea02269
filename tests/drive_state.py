"""What the Drive stand-in holds: files, folders, shared drives, revisions and a quota, with Drive's rules for them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from drive_answers import RefusedError
from drive_query import query

FOLDER = "application/vnd.google-apps.folder"
PROPERTY_BYTES = 124
"""A property's key and value together may have so many bytes of UTF-8."""
_WRITABLE = {
    "id", "name", "mimeType", "parents", "appProperties", "properties", "description", "trashed", "starred",
    "createdTime", "modifiedTime", "copyRequiresWriterPermission", "writersCanShare", "contentHints", "kind",
}  # fmt: skip
_GENERATED_MOST = 1000
_PAGE_MOST = 1000


@dataclass(frozen=True)
class Caller:
    """Who asks, as the access token says."""

    email: str
    service: bool = False
    """A service account: it owns no storage."""
    own_files_only: bool = False
    """The scope is drive.file: it sees what this application made, and nothing else."""


USER = Caller("user@example.com")


@dataclass(frozen=True)
class Revision:
    """One content of a file."""

    id: str
    content: bytes = field(repr=False)
    md5: str
    sha256: str
    modified_s: float


@dataclass
class DriveFile:
    """A file or folder."""

    id: str
    name: str
    mime_type: str
    parents: list[str]
    created_s: float
    modified_s: float
    drive_id: str | None = None
    """The shared drive that it lies in."""
    app_properties: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    description: str = ""
    trashed: bool = False
    starred: bool = False
    revisions: list[Revision] = field(default_factory=list)
    checksums: frozenset[str] = frozenset({"md5", "sha256"})
    """Those that Drive knows: old files lack some."""
    made_by_app: bool = True
    writable: bool = True

    @property
    def content(self) -> bytes:
        """The newest content."""
        return self.revisions[-1].content if self.revisions else b""

    def resource(self) -> dict[str, Any]:
        """Everything that Drive tells about it."""
        told: dict[str, Any] = {
            "kind": "drive#file",
            "id": self.id,
            "name": self.name,
            "mimeType": self.mime_type,
            "parents": self.parents,
            "spaces": ["drive"],
            "trashed": self.trashed,
            "starred": self.starred,
            "createdTime": moment(self.created_s),
            "modifiedTime": moment(self.modified_s),
            "capabilities": {"canEdit": self.writable, "canDownload": True, "canAddChildren": self.writable},
        }
        told |= {"appProperties": self.app_properties} if self.app_properties else {}
        told |= {"properties": self.properties} if self.properties else {}
        told |= {"description": self.description} if self.description else {}
        told |= {"driveId": self.drive_id, "teamDriveId": self.drive_id} if self.drive_id else {"ownedByMe": True}
        return told | (self._content_told(self.revisions[-1]) if self.revisions else {})

    def _content_told(self, head: Revision) -> dict[str, Any]:
        told = {"size": str(len(head.content)), "headRevisionId": head.id, "originalFilename": self.name}
        told |= {"quotaBytesUsed": str(0 if self.drive_id else len(head.content))}
        told |= {"md5Checksum": head.md5} if "md5" in self.checksums else {}
        return told | ({"sha256Checksum": head.sha256} if "sha256" in self.checksums else {})


@dataclass
class SharedDrive:
    """A shared drive; the folder of the same id is its top."""

    id: str
    name: str
    most_files: int = 400_000


def moment(at_s: float) -> str:
    """A time as Drive writes it."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DriveState:
    """Everything that one user sees in Drive.

    A test fills it by `add_...` and looks at it; the server changes it by what requests ask for. `clock` gives seconds
    since the epoch; `quota_bytes` is what My Drive may hold, None without limit.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, quota_bytes: int | None = None) -> None:
        self.clock = clock
        self.quota_bytes = quota_bytes
        self.files: dict[str, DriveFile] = {}
        self.drives: dict[str, SharedDrive] = {}
        self._made = 0
        self._generated: set[str] = set()
        self.root_id = self._insert("My Drive", FOLDER, [], None, made_by_app=False).id

    # -----------------------------------------------------------------------------------------------------------------
    # For tests

    def named(self, name: str) -> list[DriveFile]:
        """The files and folders of exactly this name, the trashed ones too, oldest first."""
        return [file for file in self.files.values() if file.name == name]

    def content(self, file_id: str) -> bytes:
        """What the file holds now."""
        return self.files[file_id].content

    def revisions(self, file_id: str) -> list[Revision]:
        """All contents of the file, oldest first."""
        return self.files[file_id].revisions

    def add_shared_drive(self, name: str, *, most_files: int = 400_000) -> SharedDrive:
        """A shared drive that the user is a member of."""
        top = self._insert(name, FOLDER, [], None, made_by_app=False)
        top.drive_id = top.id
        self.drives[top.id] = SharedDrive(top.id, name, most_files)
        return self.drives[top.id]

    def add_folder(self, name: str, parent: str = "root", *, writable: bool = True, by_app: bool = False) -> DriveFile:
        """A folder that somebody made by hand, or the application (`by_app`)."""
        above = self.files[self.alias(parent)]
        folder = self._insert(name, FOLDER, [above.id], above.drive_id, made_by_app=by_app)
        folder.writable = writable
        return folder

    def add_file(
        self, name: str, content: bytes, parent: str = "root", *,
        app_properties: dict[str, str] | None = None, checksums: Iterable[str] = ("md5", "sha256"), by_app: bool = True,
    ) -> DriveFile:  # fmt: skip
        """A file that is there; leave out checksums to make it an old one."""
        above = self.files[self.alias(parent)]
        file = self._insert(name, "application/zip", [above.id], above.drive_id, made_by_app=by_app)
        file.app_properties = dict(app_properties or {})
        file.checksums = frozenset(checksums)
        self._revise(file, content)
        return file

    # -----------------------------------------------------------------------------------------------------------------
    # Looking

    def alias(self, file_id: str) -> str:
        """The id behind "root"; any other is itself."""
        return self.root_id if file_id == "root" else file_id

    def find(self, file_id: str, caller: Caller, *, all_drives: bool) -> DriveFile:
        """The file, or 404 where the caller does not see it or did not say that it knows shared drives."""
        file = self.files.get(self.alias(file_id))
        if file is None or not self._seen(file, caller) or (file.drive_id and not all_drives):
            raise RefusedError("notFound", file_id)
        return file

    def _seen(self, file: DriveFile, caller: Caller) -> bool:
        return file.made_by_app or not caller.own_files_only or file.id == self.root_id

    def search(self, asked: dict[str, str], caller: Caller) -> tuple[list[DriveFile], str]:
        """A page of the files that `q` and the parameters about shared drives ask for, and the next page's token."""
        fits = query(asked.get("q", ""), self.alias)
        drives = self._drives_of(asked)
        tops = {self.root_id, *self.drives}
        found = [
            file
            for file in self.files.values()
            if file.id not in tops and file.drive_id in drives and self._seen(file, caller) and fits(file)
        ]
        return self._page(self._ordered(found, asked.get("orderBy", "")), asked)

    def _drives_of(self, asked: dict[str, str]) -> set[str | None]:
        """The drives to look in; None stands for My Drive."""
        corpora, drive_id = asked.get("corpora", "user"), asked.get("driveId", "")
        included = asked.get("includeItemsFromAllDrives") == "true"
        if corpora not in {"user", "drive", "allDrives", "domain"}:
            raise RefusedError("invalid", "corpora")
        if (corpora == "drive") != bool(drive_id):
            raise RefusedError("required", "driveId") if not drive_id else RefusedError("invalid", "corpora")
        if (included or drive_id) and asked.get("supportsAllDrives") != "true":
            raise RefusedError("teamDrivesNotSupported")
        if drive_id and not included:
            raise RefusedError("teamDrivesNotSupported")
        if not drive_id:
            return {None, *self.drives} if included else {None}
        if drive_id not in self.drives:
            raise RefusedError("notFound", drive_id)
        return {drive_id}

    def _ordered(self, found: list[DriveFile], order: str) -> list[DriveFile]:
        """By default what changed last comes first, as in Drive."""
        keys: dict[str, Callable[[DriveFile], Any]] = {
            "name": lambda file: file.name.casefold(),
            "createdTime": lambda file: file.created_s,
            "modifiedTime": lambda file: file.modified_s,
            "folder": lambda file: file.mime_type != FOLDER,
        }
        for part in reversed((order or "modifiedTime desc").split(",")):
            name, _, direction = part.strip().partition(" ")
            if name not in keys or direction not in {"", "desc"}:
                raise RefusedError("invalid", "orderBy")
            found = sorted(found, key=keys[name], reverse=bool(direction))
        return found

    def _page(self, found: list[DriveFile], asked: dict[str, str]) -> tuple[list[DriveFile], str]:
        size = asked.get("pageSize", "100")
        if not size.isdecimal() or not 1 <= int(size) <= _PAGE_MOST:
            raise RefusedError("invalid", "pageSize")
        question = "\n".join(asked.get(name, "") for name in ("q", "corpora", "driveId", "orderBy"))
        start = _start(asked.get("pageToken", ""), question)
        end = start + int(size)
        return found[start:end], _token(end, question) if end < len(found) else ""

    @property
    def usage_bytes(self) -> int:
        """What My Drive holds, older revisions included."""
        own = [file for file in self.files.values() if file.drive_id is None]
        return sum(len(revision.content) for file in own for revision in file.revisions)

    # -----------------------------------------------------------------------------------------------------------------
    # Changing

    def generate_ids(self, count: int) -> list[str]:
        """Ids that a later create may use."""
        if not 1 <= count <= _GENERATED_MOST:
            raise RefusedError("invalid", "count")
        ids = [self._fresh_id() for _ in range(count)]
        self._generated |= set(ids)
        return ids

    def may_create(self, told: dict[str, Any], size: int | None, caller: Caller, *, all_drives: bool) -> DriveFile:
        """The folder that a new file of so many bytes (None: a folder) goes into; or why it may not be made."""
        _writable(told)
        file_id, parents = told.get("id"), told.get("parents") or ["root"]
        if file_id in self.files:
            raise RefusedError("fileIdInUse")
        if file_id is not None and file_id not in self._generated:
            raise RefusedError("badRequest", "The provided file ID is not usable.")
        if len(parents) != 1:
            raise RefusedError("badRequest", "A file must have exactly one parent.")
        folder = self.find(parents[0], caller, all_drives=all_drives)
        if not folder.writable:
            raise RefusedError("insufficientFilePermissions")
        self._may_own(folder.drive_id, size, caller)
        self._room(folder.drive_id, size)
        return folder

    def create(
        self, told: dict[str, Any], content: bytes | None, caller: Caller, *, all_drives: bool, mime_type: str = ""
    ) -> DriveFile:
        """A new file, or without content a folder or a file that holds nothing."""
        size = None if content is None else len(content)
        folder = self.may_create(told, size, caller, all_drives=all_drives)
        kind = told.get("mimeType") or mime_type or "application/octet-stream"
        file = self._insert(told.get("name", "Untitled"), kind, [folder.id], folder.drive_id, file_id=told.get("id"))
        _describe(file, told)
        if content is not None or kind != FOLDER:
            self._revise(file, content or b"", keep_time="modifiedTime" in told)
        return file

    def may_update(self, file: DriveFile, told: dict[str, Any], size: int | None) -> None:
        """Whether the file may get this metadata and so many bytes."""
        _writable(told)
        if {"id", "parents"} & set(told):
            raise RefusedError("fieldNotWritable")
        if not file.writable:
            raise RefusedError("insufficientFilePermissions")
        if size is not None and file.mime_type == FOLDER:
            raise RefusedError("badRequest", "A folder cannot have media content.")
        self._room(file.drive_id, size)

    def update(self, file: DriveFile, told: dict[str, Any], content: bytes | None) -> None:
        """New metadata, and with content a new revision."""
        self.may_update(file, told, None if content is None else len(content))
        file.modified_s = self.clock()
        _describe(file, told)
        if content is not None:
            self._revise(file, content, keep_time="modifiedTime" in told)

    def move(self, file: DriveFile, add: list[str], remove: list[str], caller: Caller, *, all_drives: bool) -> None:
        """Take it out of folders and put it into one."""
        for parent in add:
            folder = self.find(parent, caller, all_drives=all_drives)
            file.parents, file.drive_id = [*file.parents, folder.id], folder.drive_id
        file.parents = [parent for parent in file.parents if parent not in map(self.alias, remove)]

    def delete(self, file: DriveFile) -> None:
        """Delete it for ever, with what lies in it."""
        if not file.writable or file.id in {self.root_id, *self.drives}:
            raise RefusedError("insufficientFilePermissions")
        for child in [child for child in self.files.values() if file.id in child.parents]:
            self.delete(child)
        del self.files[file.id]

    def _may_own(self, drive_id: str | None, size: int | None, caller: Caller) -> None:
        """Refuse one more file where the shared drive is full, or whose owner would be a service account."""
        if drive_id is None:
            if caller.service and size is not None:
                raise RefusedError("storageQuotaExceeded")
        elif sum(file.drive_id == drive_id for file in self.files.values()) > self.drives[drive_id].most_files:
            raise RefusedError("teamDriveFileLimitExceeded")

    def _room(self, drive_id: str | None, size: int | None) -> None:
        """Refuse so many bytes more where they do not fit into My Drive."""
        limited = drive_id is None and size is not None and self.quota_bytes is not None
        if limited and self.usage_bytes + (size or 0) > (self.quota_bytes or 0):
            raise RefusedError("storageQuotaExceeded")

    def _fresh_id(self) -> str:
        """Ids look like Drive's, and are the same in each run of a test."""
        self._made += 1
        digest = hashlib.sha256(f"{self._made}".encode()).digest()
        return "1" + base64.urlsafe_b64encode(digest)[:32].decode()

    def _insert(
        self, name: str, mime_type: str, parents: list[str], drive_id: str | None, *,
        file_id: str | None = None, made_by_app: bool = True,
    ) -> DriveFile:  # fmt: skip
        now = self.clock()
        file = DriveFile(
            file_id or self._fresh_id(), name, mime_type, parents, now, now, drive_id, made_by_app=made_by_app
        )
        self.files[file.id] = file
        return file

    def _revise(self, file: DriveFile, content: bytes, *, keep_time: bool = False) -> None:
        now = self.clock()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        file.revisions.append(Revision(self._fresh_id(), content, md5, hashlib.sha256(content).hexdigest(), now))
        if not keep_time:
            file.modified_s = now


def _token(start: int, question: str) -> str:
    """A page's token holds for its own question alone."""
    digest = hashlib.sha256(question.encode()).hexdigest()
    return base64.urlsafe_b64encode(json.dumps([start, digest]).encode()).decode()


def _start(token: str, question: str) -> int:
    if not token:
        return 0
    try:
        start, digest = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        raise RefusedError("invalid", "pageToken") from None
    if digest != hashlib.sha256(question.encode()).hexdigest():
        raise RefusedError("invalid", "pageToken")
    return int(start)


def _writable(told: dict[str, Any]) -> None:
    if set(told) - _WRITABLE:
        raise RefusedError("fieldNotWritable")
    for name in ("appProperties", "properties"):
        for key, value in (told.get(name) or {}).items():
            if len(key.encode()) + len((value or "").encode()) > PROPERTY_BYTES:
                raise RefusedError("propertyTooLong", key)


def _describe(file: DriveFile, told: dict[str, Any]) -> None:
    """Take over what is told; properties are merged, and null takes one away."""
    for name, attribute in (("name", "name"), ("mimeType", "mime_type"), ("description", "description")):
        setattr(file, attribute, told.get(name, getattr(file, attribute)))
    file.trashed, file.starred = told.get("trashed", file.trashed), told.get("starred", file.starred)
    for name, attribute in (("createdTime", "created_s"), ("modifiedTime", "modified_s")):
        if name in told:
            setattr(file, attribute, datetime.fromisoformat(told[name]).timestamp())
    for name, attribute in (("appProperties", "app_properties"), ("properties", "properties")):
        merged = getattr(file, attribute) | (told.get(name) or {})
        setattr(file, attribute, {key: value for key, value in merged.items() if value is not None})
