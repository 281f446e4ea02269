"""``tracewatchd reconcile``: are files and database the same? Puts right what the line can put right."""

from __future__ import annotations

import typer

from tracewatchd.cli.command import command
from tracewatchd.cli.options import (
    AsJson,
    Combined,
    ConfigFile,
    Day,
    Detailed,
    EndDay,
    Fixes,
    Gone,
    HowDeep,
    Once,
    Out,
    Project,
    Repair,
    Reports,
    Source,
    StartDay,
    Strict,
    Verbose,
    Yes,
)
from tracewatchd.cli.selecting import gone_below, selection_of
from tracewatchd.cli.sweeping import EXITS, Request, sweep
from tracewatchd.cli.working import settings_of
from tracewatchd.model.exits import Exit
from tracewatchd.model.findings import Depth
from tracewatchd.model.fixes import BY_DEFAULT
from tracewatchd.reconcile.plan import SweepPlan

_EXAMPLES = [
    "tracewatchd reconcile --once",
    "tracewatchd reconcile --once --no-repair --json",
    "tracewatchd reconcile --once --depth deep --report sweep.html",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "reconcile", exits=EXITS, examples=_EXAMPLES)(reconcile)


def reconcile(
    once: Once = False,
    depth: HowDeep = None,
    source: Source = None,
    project: Project = None,
    day: Day = None,
    start_date: StartDay = None,
    end_date: EndDay = None,
    repair: Repair = True,
    fix: Fixes = None,
    out: Out = None,
    accept_gone: Gone = None,
    yes: Yes = False,
    strict: Strict = False,
    detailed: Detailed = False,
    as_json: AsJson = False,
    report: Reports = None,
    combined: Combined = None,
    verbose: Verbose = False,
    config: ConfigFile = None,
) -> Exit:
    """Compare files, ledger and rows once; put right what is missing, stale or orphaned; say whether they agree.

    --fix adds to what is put right. The exit status tells the state after repair.
    """
    if not once:
        raise typer.BadParameter(
            "say --once: the daemon sweeps by itself, this command sweeps once", param_hint="--once"
        )
    if fix and not repair:
        raise typer.BadParameter("it contradicts --no-repair", param_hint="--fix")
    settings = settings_of(config)
    plan = SweepPlan(
        depth=_depth(depth, detailed=detailed),
        selection=selection_of(project, day, start_date, end_date),
        fixes=BY_DEFAULT.union(fix or ()) if repair else frozenset(),
        detailed=detailed,
    )
    request = Request(
        plan=plan,
        source=source,
        accept_gone=gone_below(accept_gone or (), settings, source),
        out=out,
        combined=combined,
        reports=tuple(report or ()),
        strict=strict,
        as_json=as_json,
        verbose=verbose,
        yes=yes,
    )
    return sweep(settings, request)


def _depth(depth: Depth | None, *, detailed: bool) -> Depth:
    if detailed and depth not in {None, "deep"}:
        raise typer.BadParameter(
            f"only a deep sweep knows where runs differ, not a {depth} one", param_hint="--detailed"
        )
    return "deep" if detailed else depth or "quick"
