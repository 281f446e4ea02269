"""The verdict of the page: one word, one sentence, and what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from standings import START, day, quarantined, source, sweep, trouble
from tracewatchd.model.daemon_status import DatabaseAnswers, DatabaseNow
from tracewatchd.model.findings import FACTS, Kind
from tracewatchd.service.http.judge import (
    health_of,
    in_days,
    plural,
    quarantined_files,
    sentence_of,
    spoken_s,
    troubles_of,
)

UP = DatabaseNow(name="postgresql://db.example/traces", up=True)
AWAY = DatabaseNow(name="postgresql://db.example/traces", up=False, error="connection refused", outage_s=200)


def troubles(**given: Any) -> list[tuple[str, str, str]]:
    usual: dict[str, Any] = {"stuck": "", "database": UP, "sources": (source(),), "answers": DatabaseAnswers()}
    return [(one.severity, one.sentence, one.do) for one in troubles_of(**usual | given)]


def test_where_all_is_well_there_is_no_trouble() -> None:
    """A source that is watched and consistent, a database that answers, days that are kept."""
    assert troubles(answers=DatabaseAnswers(asked_at=START, days=(day(),))) == []


def test_an_outage_says_how_long_and_that_nothing_is_lost() -> None:
    """The database is named, and waiting files are no trouble of their own meanwhile."""
    late = source(backlog_files=5, oldest_s=500)
    ((severity, sentence, do),) = troubles(database=AWAY, sources=(late,))
    assert severity == "error"
    assert sentence == (
        "The database has not answered for 3 min: connection refused. New files wait where they lie; nothing is lost."
    )
    assert "postgresql://db.example/traces" in do


def test_a_standstill_is_the_worst() -> None:
    """What stands still is said first, with where it does."""
    first, *_ = troubles(stuck="reading has stood still for 70 s", answers=DatabaseAnswers(days=(day(days_left=1),)))
    assert first[:2] == ("error", "The work stands still: reading has stood still for 70 s.")


def test_a_missing_root_is_named() -> None:
    """And that nothing in it counts as gone."""
    ((severity, sentence, _),) = troubles(sources=(source(missing_since=START),))
    assert (severity, sentence) == ("error", "The root /srv/data is not there; nothing in it counts as gone.")


@pytest.mark.parametrize("kind", [kind for kind in Kind if FACTS[kind].severity in {"error", "critical"}])
def test_findings_are_told_with_their_remedy(kind: Kind) -> None:
    """Errors of every kind are trouble, and what to do is what the catalogue of findings says."""
    ((severity, sentence, do),) = troubles(sources=(source(findings={str(kind): 3, "gone": 9}),))
    assert (severity, sentence) == ("error", f"Files and database disagree in data: 3 {kind}.")
    assert FACTS[kind].remedy in do


def test_the_worst_kind_decides_what_to_do() -> None:
    """A critical finding comes before many that are not."""
    ((_, _, do),) = troubles(sources=(source(findings={"stale": 50, "mismatch": 1}),))
    assert do.startswith("For mismatch: ")


def test_a_sweep_that_could_not_check_is_a_warning() -> None:
    """One that failed says why, one that could not check everything says so."""
    failed = sweep("full", error="busy")
    told = troubles(sources=(source(sweeps=(sweep(verdict="not_checked"), failed)),))
    assert [sentence for _, sentence, _ in told] == [
        "The last quick sweep of data could not check everything.",
        "The last full sweep of data failed: busy.",
    ]
    assert {severity for severity, _, _ in told} == {"warning"}


def test_a_file_that_waits_long_is_a_warning() -> None:
    """From a minute on, while the database answers."""
    assert troubles(sources=(source(oldest_s=59.9),)) == []
    ((severity, sentence, _),) = troubles(sources=(source(oldest_s=600),))
    assert (severity, sentence) == ("warning", "A file of data has waited for 10 min.")


def test_days_that_disagree_are_named() -> None:
    """Of many the first are; those of a source whose findings were told already are not told twice."""
    days = tuple(day(f"bot/2026-11-{number:02d}", verdict="inconsistent") for number in range(1, 6))
    ((severity, sentence, do),) = troubles(answers=DatabaseAnswers(asked_at=START, days=days))
    assert severity == "error"
    assert sentence == (
        "Files and database disagree in 5 project-days: bot/2026-11-01, bot/2026-11-02, bot/2026-11-03 and 2 more."
    )
    assert "`tracewatchd reconcile --once`" in do
    told = troubles(answers=DatabaseAnswers(days=days), sources=(source(findings={"stale": 1}),))
    assert len(told) == 1


def test_days_that_are_due_say_when() -> None:
    """The first deletion counts."""
    days = (day("bot/2026-11-12", days_left=3), day("bot/2026-11-11", days_left=1))
    ((severity, sentence, do),) = troubles(answers=DatabaseAnswers(days=days))
    assert severity == "warning"
    assert sentence == (
        "LangSmith deletes 2 project-days that are not proved to be kept here, the first tomorrow:"
        " bot/2026-11-12, bot/2026-11-11."
    )
    assert "--depth full" in do


def test_quarantine_is_a_warning_with_its_commands() -> None:
    """It is the database's count where there is one, else that of the sweeps."""
    answers = DatabaseAnswers(asked_at=START, quarantined_files={"data": 1}, quarantine=(quarantined(),))
    ((severity, sentence, do),) = troubles(answers=answers)
    assert severity == "warning"
    assert sentence == "1 file cannot be stored and is in quarantine; all others are not concerned."
    assert "`tracewatchd quarantine list`" in do
    counted = (source(states={"loaded": 1, "quarantined": 4}), source(states={"quarantined": 2}))
    assert quarantined_files(DatabaseAnswers(), counted) == 6


@pytest.mark.parametrize(
    ("phase", "severities", "sweeps", "health"),
    [
        ("watching", [], [sweep()], "healthy"),
        ("watching", ["info"], [sweep()], "healthy"),
        ("watching", ["warning"], [sweep()], "attention"),
        ("watching", ["warning", "error"], [sweep()], "unhealthy"),
        ("watching", [], [], "unknown"),
        ("watching", ["warning"], [sweep(error="busy")], "unknown"),
        ("watching", [], [sweep("full")], "unknown"),
        ("starting", [], [], "unknown"),
        ("starting", ["error"], [], "unhealthy"),
        ("stopping", [], [sweep()], "unknown"),
        ("standby", [], [], "healthy"),
    ],
)
def test_the_word(phase: str, severities: list[str], sweeps: list[Any], health: str) -> None:
    """Errors make unhealthy; what was not compared yet is not known to be well, unless another daemon does the work."""
    assert health_of(phase, [trouble(severity) for severity in severities], sweeps) == health


def test_the_sentence_is_the_worst_trouble() -> None:
    """Of several the rest is counted."""
    assert sentence_of("watching", "", [trouble(sentence="One.")], [sweep()], START) == "One."
    many = [trouble(sentence="One."), trouble(), trouble()]
    assert sentence_of("watching", "", many, [], START) == "One. And 2 other things below."


@pytest.mark.parametrize(
    ("phase", "sweeps", "words"),
    [
        ("starting", [], "The daemon is starting: nothing was compared yet."),
        ("stopping", [sweep()], "The daemon is stopping: what is under way is committed first."),
        ("watching", [], "The first sweep is under way: nothing was compared yet."),
        (
            "standby",
            [],
            "Another daemon does the work; this one takes over when it ends (standby: other watches data).",
        ),
        (
            "watching",
            [sweep(), sweep(files=5, at=START - timedelta(hours=3)), sweep("full", files=99)],
            "Every run file is a row: 15 run files compared 3 h ago, and what comes is loaded at once.",
        ),
    ],
)
def test_the_sentence_without_trouble(phase: str, sweeps: list[Any], words: str) -> None:
    """It says what was compared and when: of several roots, the one that was compared the longest time ago."""
    assert sentence_of(phase, "standby: other watches data", [], sweeps, START) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (200_000, "2 days"),
    ],
)
def test_times_are_spoken_in_one_unit(seconds: float, words: str) -> None:
    """Cut, never rounded up."""
    assert spoken_s(seconds) == words


def test_counts_and_days_in_words() -> None:
    """One is no plural, and near days have names."""
    assert [plural(number, "file") for number in (0, 1, 2_000)] == ["0 files", "1 file", "2,000 files"]
    assert [in_days(number) for number in (0, 1, 2)] == ["today", "tomorrow", "in 2 days"]
