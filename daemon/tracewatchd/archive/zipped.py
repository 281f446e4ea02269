"""Which project-days have a zip."""

from __future__ import annotations

import os
from pathlib import Path

from tracewatchd.edges.writing import classified
from tracewatchd.model.layout import day_of
from tracewatchd.model.project_day import ProjectDay
from tracewatchd.model.selection import Selection


def zipped_days(zip_dir: Path, selection: Selection) -> list[ProjectDay]:
    """The selected project-days that have a zip, in their order.

    Raises:
        TransientError, PermanentError: the zips cannot be listed.
    """
    days = []
    with classified(zip_dir, "list the zips in it"):
        for path in sorted(zip_dir.glob("*/*.zip")):
            day = day_of(os.fsencode(path.stem))
            if day and selection.covers(f"{path.parent.name}/{path.stem}"):
                days.append(ProjectDay(path.parent.name, day))
    return days
