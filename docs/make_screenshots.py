"""Writes docs/images, run by `make screenshots`: the report of a damaged set, and a trace as a terminal shows it."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from browser import Page, browser
from damaged_sample import report_of_damage
from one_shot import Desk
from postgres import Server
from running import COMMAND
from shown_trace import load_trace
from terminal import on_terminal
from tracewatchd.store.server_binaries import wheel_binaries

IMAGES = Path(__file__).parent / "images"
_FILTER = """(() => {
    const it = document.getElementById('by-kind');
    it.value = 'mismatch';
    it.dispatchEvent(new Event('input', {bubbles: true}));
    document.getElementById('filters').scrollIntoView({behavior: 'instant'});
    return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
})()"""

_COLUMNS = 112
_DARK = "3c404d f07178 8cc882 e6be6e 6ea0f0 c68ce6 64c8d2 dee1ea"
_BRIGHT = "787d8c ff8287 a0dc96 f5cd7d 82b4ff d7a0f5 78dce6 ffffff"
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 22px 26px; background: {background}; color: {foreground} }}
pre {{ margin: 0; font: 14px/1.2 "DejaVu Sans Mono", monospace; width: max-content }}
</style><pre>{code}</pre>"""


def main() -> None:
    """Draw the page by day, and its findings at night with a filter in use; then the trace."""
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
        draw_trace(page, Desk(Path(directory), server.create_database()), Path(directory))


def _colours(codes: str) -> list[tuple[int, int, int]]:
    return [(red, green, blue) for red, green, blue in map(bytes.fromhex, codes.split())]


def draw_trace(page: Page, desk: Desk, directory: Path) -> None:
    """Draw `tracewatchd traces show` as a terminal shows it."""
    words = ["tracewatchd", "traces", "show", load_trace(desk)]
    _, said = on_terminal([COMMAND, *words[1:]], desk.env, columns=_COLUMNS)
    theme = TerminalTheme((24, 26, 33), (222, 225, 234), _colours(_DARK), _colours(_BRIGHT))
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    console.print(Text("$ ", style="dim") + Text(f"{' '.join(words)}\n"))
    console.print(Text.from_ansi(said.rstrip()))
    shown = directory / "terminal.html"
    shown.write_text(console.export_html(theme=theme, inline_styles=True, code_format=_TERMINAL), encoding="utf-8")
    page.open(shown)
    wide, high = page.value("[document.querySelector('pre').offsetWidth + 52, document.body.scrollHeight]")
    page.look(width=wide, height=high, scheme="dark")
    (IMAGES / "traces-show.png").write_bytes(page.screenshot())


if __name__ == "__main__":
    main()
