"""Writes the pictures of the daemon's page into docs/images, in Chromium; run by `make screenshots`.

A daemon is fed for some minutes, so that its curves have a shape; then it loses its database, and then some rows.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from browser import Page, browser
from postgres import Server, run_now, statement
from running import environment, eventually, running
from tracewatchd.model.sample import generate
from tracewatchd.store.server_binaries import wheel_binaries

IMAGES = Path(__file__).parent / "images"
_LOAD = [20, 60, 120, 200, 90, 150, 240, 180, 60, 30, 80, 20]


def main() -> None:
    """Healthy under a changing load, in an outage, and after it has put back rows that somebody deleted."""
    with TemporaryDirectory(prefix="demo-") as directory, Server(wheel_binaries()) as server, browser() as page:
        dsn = server.create_database()
        root = Path(directory) / "traces"
        env = environment(
            TRACEWATCHD_DATABASE__URL=dsn,
            TRACEWATCHD_WATCH__ROOTS=json.dumps([{"path": str(root), "source": "traces"}]),
            TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="15",
            TRACEWATCHD_SWEEP__CONFIRM_S="0",
            TRACEWATCHD_SWEEP__FULL_INTERVAL_S="20",
            TRACEWATCHD_SWEEP__DEEP_INTERVAL_S="30",
            TRACEWATCHD_SWEEP__REPAIRS="missing,stale,orphan",
            TRACEWATCHD_DATABASE__LEASE_TTL_S="4",
        )
        root.mkdir()
        with running("run", env=env) as daemon:
            url = daemon.wait_for("http.started")["url"]
            _feed(root, _LOAD, seed=1)
            _show(page, url, "Healthy", IMAGES / "page-healthy.png")
            server.stop(signal.SIGKILL)
            _feed(root, [60, 90], seed=2)
            _show(page, url, "Unhealthy", IMAGES / "page-outage.png", scheme="dark")
            server.start()
            daemon.wait_for("store.recovered")
            run_now(statement(dsn, "DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs LIMIT 12)"))
            eventually(lambda: any(e["fixed"].get("orphan") for e in daemon.named("sweep.finished")), patience_s=120)
            _show(page, url, "Healthy", IMAGES / "page-after-repair.png")


def _feed(root: Path, load: Sequence[int], *, seed: int) -> None:
    """Write so many files in each fifteen seconds, over days that the calendar shows side by side."""
    files = iter(generate(runs=sum(load), seed=seed, days=9))
    for count in load:
        for file in islice(files, count):
            path = root / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.body)
        Event().wait(15)


def _show(page: Page, url: str, word: str, image: Path, *, scheme: str = "light") -> None:
    page.look(width=1_000, height=1_500, scheme=scheme)
    page.open(url)
    eventually(lambda: page.value("document.querySelector('h1').innerText.trim()") == word, patience_s=120)
    image.write_bytes(page.screenshot())


if __name__ == "__main__":
    main()
