"""An archive on the Drive stand-in: zips to upload, a client that is quick to try again, and what became of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path

from drive_server import DriveServer
from tracewatchd.archive.upload import Upload
from tracewatchd.edges.drive import Drive
from tracewatchd.edges.drive_auth import Grant, Tokens, read_grant
from tracewatchd.edges.drive_calls import DriveCalls
from tracewatchd.edges.drive_http import Http, Patience, opened_session
from tracewatchd.edges.zipping import GrowingZip
from tracewatchd.model.drive import CHUNK_GRAIN_BYTES
from tracewatchd.model.events import Event
from tracewatchd.model.manifest import Manifest, ManifestFile, manifest_of
from tracewatchd.model.project_day import ProjectDay

DAY = ProjectDay("support-bot", date(2026, 11, 20))
CHUNK = CHUNK_GRAIN_BYTES
QUICK = Patience(patience_s=20, first_s=0.002, most_s=0.01)
HASTY = Patience(patience_s=0.05, first_s=0.002, most_s=0.01)
"""For what never heals."""


def put_zip(zip_dir: Path, contents: Mapping[str, bytes], day: ProjectDay = DAY) -> tuple[Path, Manifest]:
    """A day's zip with these run files, where uploads look for it."""
    files = [
        ManifestFile(name=name, sha256=sha256(body).hexdigest(), size_bytes=len(body), mtime_ns=0, run_id=None)
        for name, body in contents.items()
    ]
    manifest = manifest_of(day, files)
    path = zip_dir / day.folder / f"{day.day}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with GrowingZip(path) as growing:
        growing.write(manifest, lambda file: [contents[file.name]])
        growing.finish()
    return path, manifest


@dataclass
class Place:
    """Where uploads to one server start from: zips, hints, credentials and what was told."""

    directory: Path
    server: DriveServer
    folder: str = "root"
    chunk_bytes: int = CHUNK
    patience: Patience = QUICK
    timeout_s: float = 5.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.token_file.write_text(json.dumps(self.server.oauth.user_credentials()))

    @property
    def token_file(self) -> Path:
        return self.directory / "token.json"

    @property
    def zip_dir(self) -> Path:
        return self.directory / "zips"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def hint(self) -> Path:
        """Where the hint of `DAY` lies."""
        return self.state_dir / "uploads" / DAY.folder / f"{DAY.day}.json"

    def put(self, size: int = 3 * CHUNK + 1_000, *, seed: int = 1, day: ProjectDay = DAY) -> tuple[Path, Manifest]:
        """A day's zip that takes a little more than so many bytes."""
        return put_zip(self.zip_dir, {"a_000000.json": noise(size, seed)}, day)

    @asynccontextmanager
    async def drive(self, grant: Grant | None = None) -> AsyncIterator[Drive]:
        """The archive on the server."""
        async with opened_session() as session:
            http = Http(session, timeout_s=self.timeout_s)
            tokens = Tokens(grant or read_grant(None, self.token_file), http, self.patience)
            calls = DriveCalls(http, tokens, self.patience, endpoint=self.server.url)
            yield Drive(calls, folder=self.folder, chunk_bytes=self.chunk_bytes)

    @asynccontextmanager
    async def uploads(self, grant: Grant | None = None) -> AsyncIterator[Upload]:
        """Uploads of the zips to the server."""
        async with self.drive(grant) as drive:
            yield Upload(drive, zip_dir=self.zip_dir, state_dir=self.state_dir, tell=self.events.append)


def settings_for(server: DriveServer, directory: Path) -> dict[str, str]:
    """The settings of commands that upload to this server: an OAuth client, and a login as `drive login` keeps it."""
    client, token = directory / "oauth-client.json", directory / "drive-token.json"
    client.write_text(json.dumps(server.oauth.client_secrets()))
    token.write_text(json.dumps(server.oauth.user_credentials()))
    return {
        "TRACEWATCHD_DRIVE__ENDPOINT": server.url,
        "TRACEWATCHD_DRIVE__CREDENTIALS_FILE": str(client),
        "TRACEWATCHD_DRIVE__TOKEN_FILE": str(token),
        "BROWSER": browser(directory),
    }


def browser(directory: Path) -> str:
    """A command that follows an address as a browser does, as the variable BROWSER takes it."""
    script = directory / "browser"
    script.write_text('#!/bin/sh\npython3 -c "import sys, urllib.request as r; r.urlopen(sys.argv[1]).read()" "$1"\n')
    script.chmod(0o755)
    return f"{script} %s"


def noise(size: int, seed: int) -> bytes:
    """Bytes that no zip makes smaller, the same for the same seed."""
    block = b"".join(sha256(f"{seed}/{number}".encode()).digest() for number in range(min(size, 1 << 20) // 32 + 1))
    return b"".join(sha256(f"{seed}/{part}".encode()).digest() + block for part in range(size // len(block) + 1))[:size]
