"""What a file's stamp, its ledger row and its run's row say together, over every combination there is."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple

import pytest

from run_files import run_id, run_path
from tracewatchd.model.findings import FACTS, FileState, Kind
from tracewatchd.model.ledger import LedgerRow, LedgerState, RowVersion
from tracewatchd.model.record import Reason
from tracewatchd.model.results import Outcome
from tracewatchd.model.stamp import Seen, Stamp, Version
from tracewatchd.reconcile.compare import STATE_AFTER, WORK, Known, doubtful, judge

RUN = run_id(1)
PATH = run_path(1)
HERE, CHANGED = Stamp(1, 2, 3), Stamp(1, 2, 4)
OURS, OTHER = b"\1" * 32, b"\2" * 32


class Case(NamedTuple):
    """One combination of everything that a judgement may look at."""

    seen: Seen | None
    ledger: LedgerState | None
    names_run: bool
    row: bytes | None
    """The sha256 of the run's row, None where there is none."""
    other_acknowledged: bool
    other_live: bool
    own_live: bool
    still_applies: bool


SEEN: list[Seen | None] = [
    None,
    *(Seen(stamp, sha256) for stamp in (HERE, CHANGED) for sha256 in (None, OURS, OTHER)),
]
LEDGER: list[LedgerState | None] = [None, "acknowledged", "quarantined"]
ROWS = [None, OURS, OTHER]
FLAGS = list(product([True, False], repeat=5))
CASES = [
    Case(seen, ledger, named, row, *flags) for seen, ledger, row, (named, *flags) in product(SEEN, LEDGER, ROWS, FLAGS)
]


def ledger_row(case: Case) -> LedgerRow | None:
    if case.ledger is None:
        return None
    return LedgerRow(
        path=PATH,
        stamp=HERE,
        state=case.ledger,
        file_sha256=OURS,
        run_id=RUN if case.names_run else None,
        reason=Reason.EMPTY if case.ledger == "quarantined" else None,
        detail=None,
        setting=None,
        rules=1,
    )


def version_of(sha256: bytes) -> RowVersion:
    return RowVersion(run_id=RUN, version=Version(datetime(2026, 1, 1, tzinfo=UTC), 1, sha256), rules=1)


def known(case: Case) -> Known:
    acknowledged = {(RUN, OURS)} if case.ledger == "acknowledged" else set()
    live = {(RUN, OURS)} if case.own_live else set()
    return Known(
        {RUN: version_of(case.row)} if case.row else {},
        acknowledged=acknowledged | ({(RUN, OTHER)} if case.other_acknowledged else set()),
        live=live | ({(RUN, OTHER)} if case.other_live else set()),
    )


def judged(case: Case) -> Kind | FileState | None:
    return judge(case.seen, ledger_row(case), known(case), lambda _: case.still_applies)


def expected(case: Case) -> Kind | FileState | None:
    """The table of the design, line by line: the first that matches wins."""
    file, ledger = case.seen is not None, case.ledger
    same_stamp = case.seen is not None and case.seen.stamp == HERE
    same_bytes = case.seen is not None and case.seen.sha256 == OURS
    other_bytes = case.seen is not None and case.seen.sha256 == OTHER
    quarantined, acknowledged = ledger == "quarantined", ledger == "acknowledged" and case.names_run
    row = case.row if case.names_run else None
    live = case.own_live if row == OURS else case.other_live
    table: list[tuple[bool, Kind | FileState | None]] = [
        (not file and ledger is None, None),
        (file and ledger is None, Kind.MISSING),
        (file and not same_stamp and not same_bytes, Kind.STALE),
        (file and other_bytes, Kind.ALTERED),
        (not file and (quarantined or not case.names_run), Kind.GONE),
        (quarantined and case.still_applies, FileState.QUARANTINED),
        (quarantined, Kind.STALE),
        (not file and row is None, Kind.LOST),
        (row is None, Kind.ORPHAN),
        (file and row == OURS, FileState.LOADED),
        (file and case.other_acknowledged, FileState.SUPERSEDED),
        (file, Kind.MISMATCH),
        (acknowledged and live, Kind.MOVED),
        (acknowledged, Kind.GONE),
    ]
    return next(answer for matches, answer in table if matches)


def test_every_combination_is_judged_as_the_design_says() -> None:
    """Over all combinations of file, ledger row and run's row the first line of the table that matches wins."""
    wrong = {case: judged(case) for case in CASES if judged(case) is not expected(case)}
    assert not wrong
    elsewhere = {FileState.PENDING, FileState.UNREADABLE, Kind.FOREIGN, Kind.MISPLACED, Kind.OUTDATED}
    assert {judged(case) for case in CASES} == {*Kind, *FileState, None} - elsewhere


def test_a_quarantined_file_is_never_called_orphan_or_lost() -> None:
    """What was never loaded cannot be missed in the table of runs."""
    assert {judged(case) for case in CASES if case.ledger == "quarantined"} == {
        Kind.GONE,
        Kind.STALE,
        Kind.ALTERED,
        FileState.QUARANTINED,
    }


def test_more_is_asked_only_of_runs_that_their_own_row_does_not_explain() -> None:
    """A file that is there and whose row holds its bytes costs no further question."""
    row = next(row for case in CASES if (row := ledger_row(case)) and row.state == "acknowledged" and row.run_id)

    def asked(sha256: bytes | None, *, on_disk: bool) -> bool:
        versions = {RUN: version_of(sha256)} if sha256 else {}
        return doubtful([row], versions, lambda _: on_disk) == {RUN}

    assert not asked(OURS, on_disk=True)
    assert asked(OTHER, on_disk=True)
    assert asked(OURS, on_disk=False)
    assert not asked(None, on_disk=False)


def test_the_line_puts_right_what_is_there_and_differs_from_the_ledger() -> None:
    """Only what a file's bytes can mend is offered to the line; everything else is never written by a sweep."""
    assert {Kind.MISSING, Kind.STALE, Kind.ORPHAN} == WORK
    with_file = {judged(case) for case in CASES if case.seen is not None}
    assert with_file >= WORK
    assert not {judged(case) for case in CASES if case.seen is None} & WORK


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_leaves_a_file_in_one_state(outcome: Outcome) -> None:
    """Every outcome of the line is a state of the file; only a file that vanished has none."""
    assert (outcome in STATE_AFTER) is (outcome is not Outcome.VANISHED)


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_says_what_it_means_and_what_to_do(kind: Kind) -> None:
    """Severities are those of the design, and no kind leaves an operator without a sentence."""
    severities = {
        Kind.MISSING: "error",
        Kind.STALE: "error",
        Kind.ALTERED: "critical",
        Kind.ORPHAN: "critical",
        Kind.LOST: "critical",
        Kind.MISMATCH: "critical",
        Kind.MOVED: "info",
        Kind.GONE: "warning",
        Kind.FOREIGN: "warning",
        Kind.QUARANTINED: "warning",
        Kind.MISPLACED: "warning",
        Kind.OUTDATED: "info",
        Kind.UNREADABLE: "error",
    }
    assert FACTS[kind].severity == severities[kind]
    assert FACTS[kind].meaning
    assert FACTS[kind].remedy
