"""Every option and argument of every command, each with its one meaning, type and range.

A command takes them by annotation (``config: ConfigFile = None``); a test walks all commands and finds any that has
its own idea of an option, or another default than its namesakes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, TypeAlias
from uuid import UUID

import typer

from tracewatchd.model.certificate import Location
from tracewatchd.model.findings import Depth
from tracewatchd.model.fixes import FixKind
from tracewatchd.model.layout import day_of
from tracewatchd.reconcile.report import check_suffix


def _day(text: str) -> date:
    day = day_of(os.fsencode(text))
    if day is None:
        raise typer.BadParameter(f"{text!r} is no day; write YYYY-MM-DD, as 2025-08-29")
    return day


def _within(lowest: float, highest: float, kind: type[int | float]) -> Callable[[str], float]:
    """A parser that names the whole range where a number lies outside it or is none."""
    noun = "a whole number" if kind is int else "a number"

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan  # compares false with every limit
        if not lowest <= number <= highest:
            raise typer.BadParameter(f"{text!r} is not allowed; {noun} from {lowest} to {highest} is")
        return number

    return parse


def _report(text: str) -> Path:
    try:
        return check_suffix(Path(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


_PLACES = ",".join(Location)


def _places(text: str | None) -> str | None:
    for word in (text or Location.FILES).split(","):
        if word not in list(Location):
            raise typer.BadParameter(f"{word!r} is no place; these are: {_PLACES}")
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Where

ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file; else $TRACEWATCHD_CONFIG, ./tracewatchd.toml, /etc/tracewatchd/config.toml.",
    ),
]
Source: TypeAlias = Annotated[
    str | None, typer.Option("--source", "-s", metavar="NAME", help="Only the root of this source.")
]
Roots: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(metavar="ROOT", help="Directories to watch, instead of those configured."),
]
QuarantinedPath: TypeAlias = Annotated[
    str, typer.Argument(metavar="PATH", help="A quarantined file's path as `quarantine list` prints it.")
]
QuarantinedPaths: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH", help="Quarantined files' paths as `quarantine list` prints them."),
]
FixId: TypeAlias = Annotated[UUID, typer.Argument(metavar="FIX_ID", help="A fix as `archive fixes list` prints it.")]
FixIds: TypeAlias = Annotated[
    list[UUID] | None, typer.Argument(metavar="FIX_ID", help="Fixes as `archive fixes list` prints them.")
]
Gone: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-gone",
        metavar="PATH",
        help="Believe that what is missing below this directory is gone: FOLDER, FOLDER/YYYY-MM-DD, or . for the root.",
    ),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Where --fix gone writes files, instead of a root that may not be written to."
    ),
]
RestoreFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE|drive",
        help="The zip to restore from, or drive for the one on Google Drive; else the one that `archive zip` wrote.",
    ),
]
SampleDirectory: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory that the sample is written into.")
]

# ---------------------------------------------------------------------------------------------------------------------
# Which project-days

Project: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        metavar="FOLDER",
        help="Only this project, by its folder's name; where LangSmith is asked, also by its name there.",
    ),
]
Day: TypeAlias = Annotated[
    date | None, typer.Option("--date", "-d", metavar="YYYY-MM-DD", parser=_day, help="Only this UTC day.")
]
StartDay: TypeAlias = Annotated[
    date | None,
    typer.Option("--start-date", metavar="YYYY-MM-DD", parser=_day, help="First UTC day, itself included."),
]
EndDay: TypeAlias = Annotated[
    date | None,
    typer.Option("--end-date", metavar="YYYY-MM-DD", parser=_day, help="Last UTC day, itself included."),
]
SinceLast: TypeAlias = Annotated[
    bool,
    typer.Option("--since-last", help="From the last fetched UTC day, and some before it, up to today."),
]
Everything: TypeAlias = Annotated[bool, typer.Option("--all", "-a", help="Every project and every day.")]

# ---------------------------------------------------------------------------------------------------------------------
# Which runs

TraceOrRunId: TypeAlias = Annotated[
    UUID,
    typer.Argument(metavar="TRACE_OR_RUN_ID", help="A trace, or the trace of a run, by the id that LangSmith gave."),
]
RunStatus: TypeAlias = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="Only runs that ended so: success, error or pending.")
]
RunType: TypeAlias = Annotated[
    str | None,
    typer.Option("--run-type", metavar="TYPE", help="Only runs of this type: llm, chain, tool, retriever, ..."),
]
RunName: TypeAlias = Annotated[
    str | None, typer.Option("--name", metavar="TEXT", help="Only runs with this in their name, in either case.")
]
MinLatency: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-latency",
        metavar="SECONDS",
        min=0,
        max=31_536_000,
        parser=_within(0, 31_536_000, float),
        help="Only runs that took at least so long.",
    ),
]
RunText: TypeAlias = Annotated[
    str | None,
    typer.Option("--text", metavar="TEXT", help="Only runs with this anywhere in their JSON, in either case."),
]

# ---------------------------------------------------------------------------------------------------------------------
# How

BatchSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="ROWS",
        min=1,
        max=2_000,
        parser=_within(1, 2_000, int),
        help="Rows of one batch, instead of the setting ingest.batch_rows.",
    ),
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace rows by newer versions; without it rows are only added.")
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done and do nothing.")]
Once: TypeAlias = Annotated[bool, typer.Option("--once", help="Sweep once and exit.")]
Repair: TypeAlias = Annotated[
    bool, typer.Option("--repair/--no-repair", help="Whether what is found is also repaired.")
]
HowDeep: TypeAlias = Annotated[
    Depth | None,
    typer.Option(
        "--depth",
        metavar="DEPTH",
        help="quick reads no file (as does no --depth), full reads every file, deep compares each with its whole row.",
    ),
]
Deep: TypeAlias = Annotated[bool, typer.Option("--deep", help="Compare each file with its whole row.")]
Fixes: TypeAlias = Annotated[
    list[FixKind] | None,
    typer.Option("--fix", metavar="KIND", help=f"Repair findings of this kind, too: {', '.join(FixKind)}."),
]
FixMissing: TypeAlias = Annotated[bool, typer.Option("--fix-missing", help="The same as --fix missing.")]
Strict: TypeAlias = Annotated[bool, typer.Option("--strict", help="Let warnings count as findings.")]
WithAttachments: TypeAlias = Annotated[
    bool, typer.Option("--attachments/--no-attachments", help="Whether attachments are downloaded, too.")
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Upload what is on Drive already, too, as another revision.")
]
Against: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="PLACES",
        callback=_places,
        help=f"Compare these places of the day with its files and certify that they agree: {_PLACES}.",
    ),
]
SkipFetch: TypeAlias = Annotated[bool, typer.Option("--skip-fetch", help="Ask LangSmith for nothing.")]
SkipZip: TypeAlias = Annotated[bool, typer.Option("--skip-zip", help="Make no zip; one that is there is uploaded.")]
SkipUpload: TypeAlias = Annotated[bool, typer.Option("--skip-upload", help="Bring nothing to Drive.")]
SkipDb: TypeAlias = Annotated[bool, typer.Option("--skip-db", help="Load nothing into the database.")]
Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Do not fetch again days that were fetched whole after they were over.")
]
NoBrowser: TypeAlias = Annotated[bool, typer.Option("--no-browser", help="Print the address and open no browser.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

# ---------------------------------------------------------------------------------------------------------------------
# What is said

Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", "-j", help="Print the result as JSON.")]
KeepWatching: TypeAlias = Annotated[
    bool, typer.Option("--watch", "-w", help="Show it anew every two seconds, until Ctrl-C.")
]
Detailed: TypeAlias = Annotated[
    bool, typer.Option("--detailed", help="Say where each differing run differs; the sweep is a deep one.")
]
Reports: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        parser=_report,
        help="Write a report, too; its name ends in .json, .jsonl, .csv, .md or .html.",
    ),
]
Combined: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--combined",
        metavar="FILE",
        help="Write a line for every path: = the same, + only a file, - only in the database, * differs, ! unreadable.",
    ),
]
Limit: TypeAlias = Annotated[
    int,
    typer.Option(
        "--limit",
        metavar="ROWS",
        min=1,
        max=1_000_000,
        parser=_within(1, 1_000_000, int),
        help="Print at most this many.",
    ),
]
RepairId: TypeAlias = Annotated[
    UUID | None, typer.Option("--repair-id", metavar="ID", help="The fixes of this repair, which one command made.")
]
State: TypeAlias = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help="Only fixes that are applied, rolled_back or released.")
]
Reason: TypeAlias = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only what was quarantined for this reason.")
]

# ---------------------------------------------------------------------------------------------------------------------
# The sample

Runs: TypeAlias = Annotated[
    int,
    typer.Option(
        "--runs", metavar="N", min=1, max=1_000_000, parser=_within(1, 1_000_000, int), help="Run files to write."
    ),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="S",
        min=0,
        max=2**32 - 1,
        parser=_within(0, 2**32 - 1, int),
        help="Start of the random numbers: the same seed writes the same files.",
    ),
]
Hostile: TypeAlias = Annotated[
    float,
    typer.Option(
        "--hostile",
        metavar="SHARE",
        min=0,
        max=1,
        parser=_within(0, 1, float),
        help="Share of the files that are hard to load.",
    ),
]
IfEmpty: TypeAlias = Annotated[
    bool, typer.Option("--if-empty", help="Do nothing where the directory already holds something.")
]
