"""Options that name project-days, as the selection that they mean."""

from __future__ import annotations

import os
from datetime import date

import typer

from tracewatchd.model.layout import encode_path
from tracewatchd.model.selection import Selection


def selection_of(project: str | None, day: date | None, start_date: date | None, end_date: date | None) -> Selection:
    """The project-days that the options name; what is not named is not restricted.

    Raises:
        BadParameter: the options contradict each other.
    """
    if day and (start_date or end_date):
        raise typer.BadParameter("--date names one day; leave out --start-date and --end-date", param_hint="--date")
    if start_date and end_date and start_date > end_date:
        raise typer.BadParameter(f"{end_date} is before --start-date {start_date}", param_hint="--end-date")
    folder = encode_path(os.fsencode(project)) if project is not None else None
    return Selection(folder, day or start_date, day or end_date)
