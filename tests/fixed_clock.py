"""The program with its clock standing still, for what must come out the same whenever it is made."""

from __future__ import annotations

import sys
from datetime import datetime, tzinfo
from pathlib import Path

from tracewatchd.cli.main import program
from tracewatchd.service import archiving

AT = "2026-11-25T12:00:00+00:00"
PROGRAM = (sys.executable, str(Path(__file__)))
"""What stands in the place of the installed command."""


class _Standing(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override] # an aware time is what is asked for
        return datetime.fromisoformat(AT).astimezone(tz)


def main() -> None:
    """Run what the arguments name."""
    vars(archiving)["datetime"] = _Standing
    program(sys.argv[1:])(prog_name="tracewatchd")


if __name__ == "__main__":
    main()
