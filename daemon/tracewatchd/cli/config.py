"""``tracewatchd config``: whether a configuration can be used, and what it comes to."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping

from tracewatchd.cli.command import command, group
from tracewatchd.cli.options import AsJson, ConfigFile
from tracewatchd.cli.output import Output
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.settings import Loaded, Root, Settings, load

app = group("Check and show the configuration.")

_EXITS: Mapping[Exit, str] = {
    Exit.OK: "the configuration can be used",
    Exit.USAGE: CHECKING[Exit.USAGE],
    Exit.CONFIG: CHECKING[Exit.CONFIG],
}


@command(app, "check", exits=_EXITS, examples=["tracewatchd config check"])
def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say whether the configuration can be used: every fault at once, with its place and what is allowed."""
    loaded = load(config, {}, os.environ)
    roots = {root: _state(root) for root in loaded.settings.watch.roots}
    out = Output(as_json=as_json)
    out.line(f"configuration file: {loaded.file or 'none'}")
    out.line(f"settings that differ from their defaults: {len(_differing(loaded))}")
    for root, state in roots.items():
        out.line(f"root {root.path} (source {root.source}): {state}")
    out.data(
        {
            "file": loaded.file,
            "differing": _differing(loaded),
            "roots": [{"path": root.path, "source": root.source, "state": state} for root, state in roots.items()],
        }
    )


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
    return "ready" if os.access(root.path, os.R_OK | os.X_OK) else "cannot be read by this user"
