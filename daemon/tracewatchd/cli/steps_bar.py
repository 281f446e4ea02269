"""How far long work is: a bar with the time left on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tracewatchd.archive.steps import GoOn
from tracewatchd.cli.output import console_on

_EVERY_S = 0.1


class StepsBar:
    """A bar for one piece of work after the other, in a ``with`` block."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=True),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._is_shown = sys.stderr.isatty()
        self._progress = Progress(*columns, console=console_on(sys.stderr), disable=not self._is_shown)
        self._task = self._progress.add_task("", total=None, visible=False)
        self._monotonic = monotonic
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def part(self, about: str) -> GoOn:
        """What shows the steps of the next piece of work; may be called from a thread, as often as one likes."""
        self._progress.reset(self._task, description=about, total=None, visible=True)

        def show(done: int, known: int) -> None:
            now = self._monotonic()
            if self._is_shown and (now - self._shown_at >= _EVERY_S or done == known):
                self._shown_at = now
                self._progress.update(self._task, completed=done, total=known)

        return show
