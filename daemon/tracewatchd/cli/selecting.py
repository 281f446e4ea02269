"""Options that name project-days, as the selection that they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import typer

from tracewatchd.edges.folder import UnreadableError
from tracewatchd.model.layout import day_of, encode_path
from tracewatchd.model.selection import EVERYTHING, Selection
from tracewatchd.service.archiving import Archiving
from tracewatchd.service.assemble import Assembly, Place
from tracewatchd.settings import Settings

_NAMED = 20
"""Folders that are named at most where the one that was meant is not there."""


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


def chosen_days(
    project: str | None, day: date | None, start_date: date | None, end_date: date | None, *, everything: bool
) -> Selection:
    """The project-days that the options name, or with ``--all`` every one.

    Raises:
        BadParameter: the options contradict each other, or name nothing without ``--all``.
    """
    selection = selection_of(project, day, start_date, end_date)
    if everything != (selection == EVERYTHING):
        raise typer.BadParameter("name a project or days, or say --all (but not both)", param_hint="--all")
    return selection


def require_folder(folder: str | None, there: Iterable[str], what: str = "no project has days in a folder") -> None:
    """See that a selected project is there: a slip in its name must not look like a day without runs.

    Raises:
        BadParameter: it is not among those that are there.
    """
    folders = sorted(set(there))
    if folder not in {None, *folders}:
        named = ", ".join(folders[:_NAMED]) + (", ..." if len(folders) > _NAMED else "")
        raise typer.BadParameter(f"{what} {folder!r}; there are: {named or 'none'}", param_hint="--project")


def one_place(archiving: Archiving, source: str | None) -> Place:
    """The root that files go into.

    Raises:
        BadParameter: there are several, and none is named.
    """
    places = [place for place in archiving.places if source in {None, place.source}]
    if len(places) > 1:
        raise typer.BadParameter("there are several roots; name one", param_hint="--source")
    return places[0]


def gone_below(paths: Iterable[str], settings: Settings, source: str | None) -> dict[str, frozenset[str]]:
    """Directories that are said to be gone, by source: ``folder/day``, ``folder``, or the empty text for the root.

    A relative path starts at the root, an absolute one says which root it means.

    Raises:
        BadParameter: one of them is no root, project's folder or day's directory, or could mean several.
    """
    roots = [root for root in settings.watch.roots if source in {None, root.source}]
    accepted: dict[str, set[str]] = {}
    for path in paths:
        meant = [
            root for root in roots if not Path(path).is_absolute() or Path(path).is_relative_to(root.path.absolute())
        ]
        if len(meant) > 1:
            raise typer.BadParameter(
                f"{path!r} could be of any root; name one with --source", param_hint="--accept-gone"
            )
        directory = _directory_below(meant[0].path.absolute(), path) if meant else None
        if directory is None:
            raise typer.BadParameter(
                f"{path!r} is neither a root nor FOLDER nor FOLDER/YYYY-MM-DD below one", param_hint="--accept-gone"
            )
        accepted.setdefault(str(meant[0].source), set()).add(directory)
    return {name: frozenset(directories) for name, directories in accepted.items()}


def _directory_below(root: Path, path: str) -> str | None:
    whole = Path(os.path.normpath(root / path))
    parts = whole.relative_to(root).parts if path and whole.is_relative_to(root) else (path, "", "")
    match [os.fsencode(part) for part in parts]:
        case []:
            return ""
        case [folder]:
            return encode_path(folder)
        case [folder, day] if day_of(day):
            return encode_path(folder + b"/" + day)
    return None


async def require_project(
    assembly: Assembly, places: Iterable[Place], selection: Selection, remembered: Iterable[str] = ()
) -> None:
    """See that the selected project is in a root or remembered, as `require_folder` does.

    Args:
        assembly: what works in threads.
        places: the roots that are looked at.
        selection: what the options name.
        remembered: directories (``<project folder>/<day>``) that exist although no root holds them any more.

    Raises:
        BadParameter: neither a root nor what is remembered has a folder of that name.
    """
    folder = selection.folder
    if folder is None:
        return
    known = list(remembered)
    for place in places:
        try:
            outline = await assembly.offload(place.folder.outline)
        except UnreadableError:
            return  # whoever lists it says so
        known += [*outline.directories, *outline.unreadable]
    require_folder(folder, (directory.partition("/")[0] for directory in known))
