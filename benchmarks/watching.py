"""The installed daemon under measurement: the tests' own harness, and what its batches tell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from running import COMMAND, Running, environment, eventually, running

LOAD_S = 900.0
STOP_S = 60.0


@contextmanager
def daemon(root: Path, url: str) -> Iterator[Running]:
    """``tracewatchd run ROOT`` at default settings on this database; asked to stop at the end of the block."""
    with running("run", os.fspath(root), env=environment(TRACEWATCHD_DATABASE__URL=url), cwd="/") as watching:
        yield watching
        if status := watching.stop(patience_s=STOP_S):
            raise SystemExit(f"the daemon ended with status {status}: {watching.tail()}")


def batches_of(watching: Running, files: int) -> list[dict[str, Any]]:
    """The batches that load so many files, once they are committed."""
    eventually(
        lambda: watching.process.poll() is not None or _loaded(watching) >= files,
        patience_s=LOAD_S,
        why=watching.tail,
    )
    if (loaded := _loaded(watching)) != files:
        raise SystemExit(f"{loaded} of {files} files were loaded: {watching.tail()}")
    return [batch for batch in watching.named("batch.committed") if "loaded" in batch["outcomes"]]


def _loaded(watching: Running) -> int:
    return sum(batch["outcomes"].get("loaded", 0) for batch in watching.named("batch.committed"))


def moment(line: Mapping[str, Any]) -> float:
    """When the daemon wrote this line, in seconds on the clock of `time.time`."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def migrate(url: str) -> None:
    """Make the daemon's tables."""
    environ = environment(TRACEWATCHD_DATABASE__URL=url)
    subprocess.run([COMMAND, "db", "migrate"], env=environ, check=True, cwd="/", stdout=subprocess.DEVNULL)
