"""``tracewatchd archive verify``: does the database hold exactly what the files of one project-day say?"""

from __future__ import annotations

import typer

from tracewatchd.cli.against import Comparison, compare_places
from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    Against,
    AsJson,
    ConfigFile,
    Day,
    Deep,
    Detailed,
    DryRun,
    Fixes,
    FixMissing,
    Out,
    Project,
    Reports,
    Source,
    Strict,
    Verbose,
    Yes,
)
from tracewatchd.cli.selecting import selection_of
from tracewatchd.cli.sweeping import EXITS, Request, sweep
from tracewatchd.cli.working import require_roots, settings_of
from tracewatchd.model.certificate import Location
from tracewatchd.model.exits import Exit
from tracewatchd.model.fixes import FixKind
from tracewatchd.reconcile.plan import SweepPlan

_EXAMPLES = [
    "tracewatchd archive verify --project support-bot --date 2026-11-20",
    "tracewatchd archive verify --project support-bot --date 2026-11-20 --deep --fix mismatch --dry-run",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "verify", exits=EXITS, examples=_EXAMPLES)(verify)


def verify(
    project: Project = None,
    day: Day = None,
    deep: Deep = False,
    detailed: Detailed = False,
    against: Against = None,
    fix_missing: FixMissing = False,
    fix: Fixes = None,
    dry_run: DryRun = False,
    out: Out = None,
    yes: Yes = False,
    source: Source = None,
    strict: Strict = False,
    as_json: AsJson = False,
    report: Reports = None,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Read every file of one project-day and compare it with ledger and rows.

    Nothing is repaired but what --fix names. The exit status tells the state after repair. With --against other places
    are compared with the files instead, and where all agree a certificate is added to the database and beside the zip.
    """
    if project is None or day is None:
        missing = "--date" if project else "--project"
        raise typer.BadParameter(
            "name one project-day; `tracewatchd reconcile --once --depth full` compares all", param_hint=missing
        )
    settings = settings_of(config)
    if against is not None:
        if deep or detailed or fix_missing or fix or report or out:
            raise typer.BadParameter("repairs nothing, reports nothing and has one depth", param_hint="--against")
        require_roots(settings, source)
        locations = tuple(map(Location, against.split(",")))
        return compare_places(
            settings,
            Comparison(
                project=project,
                day=day,
                locations=locations,
                source=source,
                dry_run=dry_run,
                as_json=as_json,
                verbose=verbose,
            ),
        )
    plan = SweepPlan(
        depth="deep" if deep or detailed else "full",
        selection=selection_of(project, day, None, None),
        fixes=frozenset(fix or ()) | ({FixKind.MISSING} if fix_missing else set()),
        dry_run=dry_run,
        detailed=detailed,
    )
    request = Request(
        plan=plan,
        source=source,
        out=out,
        reports=tuple(report or ()),
        strict=strict,
        as_json=as_json,
        verbose=verbose,
        yes=yes,
    )
    return sweep(settings, request)
