"""A full sweep for anyone to see: the installed command, an embedded Postgres, stand-ins for LangSmith and Drive."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from archive_world import DAYS, FOLDER, PROJECT, world
from running import COMMAND

_RUNS = 300


def main() -> None:
    """Three days from LangSmith to everywhere, again, and the proof; everything lies in a directory that goes away."""
    with tempfile.TemporaryDirectory(prefix="tracewatchd-demo-") as place:
        directory = Path(place)
        with world(directory, "", _RUNS) as here:
            env = here.desk.env | {
                "TRACEWATCHD_DATABASE__EMBEDDED_DIR": str(directory / "postgres"),
                "PATH": os.environ["PATH"],
            }
            days = ["--start-date", str(DAYS[0]), "--end-date", str(DAYS[-1])]
            sweep = ["archive", "full-sweep", "--project", PROJECT, *days]
            verify = ["archive", "verify", "--project", FOLDER, "--date", str(DAYS[0])]
            for words in (
                sweep,
                [*sweep, "--resume"],
                [*verify, "--against", "langsmith,files,zip,drive,db"],
                ["archive", "status"],
            ):
                _show(words, env)
            print(f"\nasked of LangSmith: {len(here.langsmith.requests)} requests, {here.langsmith.too_many} refused")
            print(f"sent to Drive: {here.drive.uploaded_bytes:,} bytes in {len(here.drive.requests)} requests")


def _show(words: list[str], env: dict[str, str]) -> None:
    print(f"\n$ tracewatchd {shlex.join(words)}", flush=True)
    status = subprocess.run([COMMAND, *words], env=env, check=False).returncode
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
