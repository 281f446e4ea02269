"""``tracewatchd config``: whether a configuration can be used, and what it comes to."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import AsJson, ConfigFile
from tracewatchd.cli.output import Output
from tracewatchd.edges.folder import Folder, UnreadableError
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.settings import Loaded, Root, Settings, load

app = group("Check and show the configuration.")


def register(program: typer.Typer) -> None:
    """Add the group."""
    program.add_typer(app, name="config")


_READY = "ready"
_EXITS: Mapping[Exit, str] = {
    Exit.OK: "the configuration can be used",
    Exit.USAGE: CHECKING[Exit.USAGE],
    Exit.CONFIG: CHECKING[Exit.CONFIG],
}


@command(app, "check", exits=_EXITS, examples=["tracewatchd config check"])
def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say whether the configuration can be used: every fault at once, with its place and what is allowed."""
    loaded = load(config, {}, os.environ)
    looks = [_look_at(root) for root in loaded.settings.watch.roots]
    out = Output(as_json=as_json)
    out.line(f"configuration file: {loaded.file or 'none'}")
    out.line(f"settings that differ from their defaults: {len(_differing(loaded))}")
    for look in looks:
        out.line(f"root {look.path} (source {look.source}): {look.state}{look.said}")
    out.data({"file": loaded.file, "differing": _differing(loaded), "roots": looks})


@command(app, "show", exits=_EXITS, examples=["tracewatchd config show", "tracewatchd config show --json"])
def show(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show every setting with its value and where that comes from. Secrets are masked."""
    loaded = load(config, {}, os.environ)
    values = loaded.shown()
    out = Output(as_json=as_json)
    out.table(("key", "value", "origin"), [(key, _text(values[key]), loaded.origins[key]) for key in values])
    out.data({key: {"value": values[key], "origin": loaded.origins[key]} for key in values})


def _differing(loaded: Loaded) -> list[str]:
    defaults = Loaded(Settings(), None, {}).shown()
    return [key for key, value in loaded.shown().items() if value != defaults[key]]


def _text(value: object) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a root holds now; no numbers where it cannot be looked into."""

    path: Path
    source: str
    state: str
    run_files: int | None = None
    ignored: int | None = None
    unreadable: int | None = None

    @property
    def said(self) -> str:
        """The numbers for people."""
        if self.run_files is None:
            return ""
        unreadable = f"; {self.unreadable} entries cannot be read" if self.unreadable else ""
        return f"; {self.run_files} run files, {self.ignored} other entries ignored{unreadable}"


def _look_at(root: Root) -> _Look:
    state = _state(root)
    if state != _READY:
        return _Look(root.path, root.source, state)
    folder = Folder(root.path)
    try:
        outline = folder.outline()
    except UnreadableError as error:  # it went away, or was closed, after the first look
        return _Look(root.path, root.source, f"cannot be looked at: {error.cause}")
    run_files, ignored, unreadable = 0, outline.ignored, len(outline.unreadable)
    for directory in outline.directories:
        try:
            survey = folder.survey(directory)
        except UnreadableError:
            unreadable += 1
        else:
            run_files += len(survey.names)
            ignored += survey.ignored
            unreadable += len(survey.unreadable)
    return _Look(root.path, root.source, state, run_files, ignored, unreadable)


def _state(root: Root) -> str:
    """What a look at a root says now; none of it is a fault, since a root may appear later."""
    try:
        is_directory = stat.S_ISDIR(root.path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist yet"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if not is_directory:
        return "is no directory"
    return _READY if os.access(root.path, os.R_OK | os.X_OK) else "cannot be read by this user"
