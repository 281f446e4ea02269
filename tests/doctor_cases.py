"""What the doctor has to say of each problem that a test provokes; the page of the doctor is made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A problem, how it is provoked, and the doctor's words, with names in braces where the place decides.

    ``example`` gives each name a value for the page.
    """

    problem: str
    provoked: str
    severity: str
    sentence: str
    remedy: str
    example: Mapping[str, str] = field(default_factory=dict)

    def is_told_by(self, trouble: Mapping[str, Any], values: Mapping[str, object]) -> bool:
        """Whether a trouble is this one; a name without a value stands for anything."""
        told = (trouble["sentence"], trouble["remedy"])
        return trouble["severity"] == self.severity and all(
            re.fullmatch(_pattern(text, values), said)
            for text, said in zip((self.sentence, self.remedy), told, strict=True)
        )

    def shown(self) -> tuple[str, str, str, str, str]:
        """The row of the page."""
        return (
            self.problem,
            self.provoked,
            self.severity,
            self.sentence.format_map(self.example),
            self.remedy.format_map(self.example),
        )


def _pattern(text: str, values: Mapping[str, object]) -> str:
    parts = re.split(r"\{(\w+)\}", text)
    return "".join(
        (re.escape(str(values[part])) if part in values else ".+") if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )


_RAISED = "`sysctl -w {setting}`, and for good `echo {setting} > /etc/sysctl.d/60-tracewatchd.conf`"
_ROOT = {"root": "/srv/traces"}

CASES: Mapping[str, Case] = {
    "watches": Case(
        "watches",
        "a user namespace that grants 3 watches",
        "error",
        "{needed} directories want to be watched, but user {user} has {granted} inotify watches, {taken}",
        _RAISED,
        {
            "needed": "9000",
            "user": "traces",
            "granted": "8192",
            "taken": "none of them taken",
            "setting": "fs.inotify.max_user_watches=65536",
        },
    ),
    "queue": Case(
        "queue",
        "a limit of 512 events, in a mount namespace",
        "warning",
        "the kernel keeps only {queue} events for a watcher, enough for {files} files at once: hints of more get lost,"
        " and only a sweep finds the files",
        _RAISED,
        {"queue": "512", "files": "85", "setting": "fs.inotify.max_queued_events=32768"},
    ),
    "network file system": Case(
        "network file system",
        "rclone, mounted by FUSE",
        "warning",
        "root {root} lies on {kind}, which sends no events: files are found by looking every 5 s",
        "run the daemon on the host that writes the files, or choose the delay with watch.poll_interval_s",
        {**_ROOT, "kind": "nfs4"},
    ),
    "permission": Case(
        "permission",
        "a directory above the root with mode 0700 that belongs to somebody else",
        "error",
        "root {root} is closed: user {user} may not enter {closed} (mode 0700, owner {owner})",
        "`setfacl -m u:{user}:x {closed}` for this user alone, or `chmod o+x {closed}` for everybody",
        {**_ROOT, "user": "traces", "closed": "/srv", "owner": "root:root"},
    ),
    "pgbouncer mode": Case(
        "pgbouncer mode",
        "pgbouncer in transaction mode, database.pgbouncer unset",
        "error",
        "database.url leads to a pooler that lends each transaction another backend, but database.pgbouncer is false:"
        " it refuses our settings",
        "set database.pgbouncer = true",
    ),
    "role": Case(
        "role",
        "a role that may only read",
        "error",
        "role {role} lacks {lacking}",
        "`{grants}`",
        {
            "role": "traces",
            "lacking": "INSERT on certificates; INSERT, UPDATE, DELETE on fixes, leases, ledger, runs; ...",
            "grants": 'GRANT INSERT ON "public".certificates TO "traces"; ...',
        },
    ),
    "disk": Case(
        "disk",
        "a file system of 8 MiB under archive.zip_dir",
        "error",
        "the disk of the zips in {zips} has {free} MiB left",
        "make room on the disk of {zips} (`df -h {zips}`), or let archive.zip_dir name another",
        {"zips": "/srv/zips", "free": "7"},
    ),
    "credentials: LangSmith": Case(
        "credentials: LangSmith",
        "a stand-in that knows another key",
        "error",
        "LangSmith answers 401 to GET /api/v1/sessions: Unauthorized",
        "Check the API key (langsmith.api_key, or LANGSMITH_API_KEY), and that langsmith.endpoint is the region that it"
        " was made in.",
    ),
    "credentials: Drive": Case(
        "credentials: Drive",
        "a login that was revoked",
        "error",
        "Google does not accept these credentials any more: invalid_grant",
        "Log in with `tracewatchd archive drive login`.",
    ),
}
