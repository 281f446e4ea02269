"""Writes docs/doctor.md: the problems are those that the tests provoke; run by `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests")]

from doctor_cases import CASES  # noqa: E402 - found by the line above

PAGE = HERE / "doctor.md"

INTRODUCTION = """# The doctor

`tracewatchd doctor` looks for what will bite, before it does. It changes and writes nothing, and starts nothing but an
embedded server that is there already. On a healthy machine it says one line. Elsewhere:

```console
$ tracewatchd doctor
warning: root /srv/traces lies on nfs4, which sends no events: files are found by looking every 5 s
  remedy: run the daemon on the host that writes the files, or choose the delay with watch.poll_interval_s
```

Run it as the user of the daemon: permissions and the limits of inotify go by user. Where the shipped unit is installed
and somebody else asks, a note has the command that looks as the daemon does, with its credentials. With `--source` it
looks at one root; `--json` prints `health`, `checks`, `troubles` and `unchecked`.

| exit | meaning |
|---|---|
| 0 | no trouble of severity error (with `--strict`: nor warning) |
| 1 | at least one |
| 3 | none, but something could not be checked: the database is away, a file system hangs |
| 78 | the configuration cannot be used |

An *error* does not work, or loses something. A *warning* works and will bite some day. A *note* is good to know. All
checks run at the same time, each within a limit (a walk of a root 60 s, most others 20 s); what could not be checked is
said as that, beside everything else.
"""

LOOKS = {
    "file system": "roots on file systems without events (NFS, SMB, FUSE, ...); roots and our own directories on a"
    " container's layer; the embedded database on a network",
    "timestamps": "`watch.stamp_grain_s` finer than the file system; stamps of two seconds",
    "permissions": "the first closed level above a root; closed directories and files in it; directories that we write"
    " into",
    "layout": "`.json` files that are never loaded, by reason; not summaries (`_*`) and temporary files (`.*`)",
    "watches": "inotify watches: one per directory, now and in 90 days, beside what other programs of this user take;"
    " one instance per root",
    "queue": "the kernel's queue of events, against its default and the most files of one directory that were written"
    " within a second",
    "disk": "room and inodes under `database.embedded_dir`, `archive.zip_dir` and `archive.state_dir`",
    "limits, systemd": "open files; of an installed unit also `TimeoutStopSec=` against `service.shutdown_s`,"
    " `ProtectHome=` against the roots, and its user",
    "pgbouncer": "what answers at the database's address, and whether `database.pgbouncer` fits it",
    "server": "version, encoding, standby, `fsync`, the role's limit of connections, lz4",
    "role": "privileges on schema and tables as far as work needs them; what a migration needs, where one is due;"
    " tables of other programs",
    "citus": "whether tables are distributed as our SQL needs it",
    "clock": "the database server's clock against ours; run files that are stamped in the future",
    "langsmith, drive": "where they are configured: one request with the key or the login, and each of"
    " `retention.projects` by its name",
    "secrets": "files that hold a secret and may be read by everybody",
}

PROVOKED = """Each row is a test, which provokes the problem for real and compares severity, sentence and remedy word by
word. (The limit of the queue is the whole machine's, so it is a file mounted over the kernel's own.) Another test sees
that the doctor is silent where all is well.
"""


def page() -> str:
    """The whole page."""
    looks = _table(("check", "what it looks at"), LOOKS.items())
    columns = ("problem", "provoked by", "severity", "sentence", "remedy")
    cases = _table(columns, (case.shown() for case in CASES.values()))
    return f"{INTRODUCTION}\n## Checks\n\n{looks}\n## Problems that the tests provoke\n\n{PROVOKED}\n{cases}"


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
