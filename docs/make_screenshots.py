"""Writes docs/images from the report of a damaged set, in Chromium; run by `make screenshots`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from browser import browser
from damaged_sample import report_of_damage
from one_shot import Desk
from postgres import Server
from tracewatchd.store.server_binaries import wheel_binaries

IMAGES = Path(__file__).parent / "images"
_FILTER = """(() => {
    const it = document.getElementById('by-kind');
    it.value = 'mismatch';
    it.dispatchEvent(new Event('input', {bubbles: true}));
    document.getElementById('filters').scrollIntoView({behavior: 'instant'});
    return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
})()"""


def main() -> None:
    """Draw the page by day, and its findings at night with a filter in use."""
    with TemporaryDirectory() as directory, Server(wheel_binaries()) as server, browser() as page:
        roots = json.dumps([{"path": f"{directory}/traces", "source": "traces"}])
        desk = Desk(Path(directory), server.create_database(), {"TRACEWATCHD_WATCH__ROOTS": roots})
        report = report_of_damage(desk)
        page.look(width=1_000, height=1_150)
        page.open(report)
        (IMAGES / "report.png").write_bytes(page.screenshot())
        page.look(width=1_000, height=900, scheme="dark")
        page.value(_FILTER)
        (IMAGES / "report-filtered.png").write_bytes(page.screenshot())


if __name__ == "__main__":
    main()
