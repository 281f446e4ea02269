"""``tracewatchd doctor``: what will bite, before it does."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import AsJson, ConfigFile, Source, Strict, Verbose
from tracewatchd.cli.output import Output
from tracewatchd.cli.working import log_of, require_roots
from tracewatchd.model.diagnosis import Diagnosis, Health
from tracewatchd.model.errors import ungrouped
from tracewatchd.model.exits import CHECKING, Exit
from tracewatchd.service.checkup import check_up
from tracewatchd.settings import Loaded, load

_EXAMPLES = ["tracewatchd doctor", "tracewatchd doctor --json"]
_EXITS = {
    **CHECKING,
    Exit.OK: "no trouble of severity error",
    Exit.FOUND: "troubles of severity error; --strict counts warnings too",
    Exit.NOT_CHECKED: "no trouble, but not everything could be checked",
}
_STATUSES: dict[Health, Exit] = {
    "healthy": Exit.OK,
    "unhealthy": Exit.FOUND,
    "not_checked": Exit.NOT_CHECKED,
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor", exits=_EXITS, examples=_EXAMPLES)(doctor)


def doctor(
    source: Source = None,
    strict: Strict = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Look for what will bite: file systems, permissions, inotify, disks, limits, the database, credentials.

    Each trouble has a remedy. Nothing is changed and nothing is written. Run it as the user that the daemon runs as.
    """
    loaded = load(config, {}, os.environ)
    require_roots(loaded.settings, source)
    diagnosis = _diagnosis(loaded, source, verbose=verbose)
    _show(diagnosis, Output(as_json=as_json), strict=strict)
    return _STATUSES[diagnosis.health(strict=strict)]


def _diagnosis(loaded: Loaded, source: str | None, *, verbose: bool) -> Diagnosis:
    roots = [root for root in loaded.settings.watch.roots if source in {None, root.source}]
    log = log_of(loaded.settings, quiet=not verbose)
    try:
        with ungrouped():
            return asyncio.run(check_up(loaded, roots, log))
    finally:
        log.close()


def _show(diagnosis: Diagnosis, out: Output, *, strict: bool) -> None:
    for trouble in diagnosis.worst_first():
        out.line(f"{trouble.severity}: {trouble.sentence}")
        out.line(f"  remedy: {trouble.remedy}")
    for missed in diagnosis.unchecked:
        out.line(f"not checked: {missed.sentence}")
        if missed.remedy:
            out.line(f"  remedy: {missed.remedy}")
    if not diagnosis.troubles and not diagnosis.unchecked:
        out.line("nothing found")
    out.data({"health": diagnosis.health(strict=strict), **asdict(diagnosis)})
