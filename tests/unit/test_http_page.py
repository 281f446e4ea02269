"""What the page and its parts are made of: curves, calendar, escaped values; and the same as lines for a terminal."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from standings import ATTACK, START, day, points, quarantined, source, status, sweep, trouble
from tracewatchd.cli.standing_view import bars, lines_of
from tracewatchd.model.daemon_status import DatabaseAnswers, DatabaseNow
from tracewatchd.service.http.calendar import marks_of
from tracewatchd.service.http.curves import HEIGHT, WIDTH, curves, nice
from tracewatchd.service.http.page import login, page, script, style


def drawn(**given: Any) -> str:
    return page(status(**given), logged_in=False)


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (1.5, 2), (2.1, 5), (5.5, 10), (11, 20), (999, 1_000), (1_001, 2_000)]
)
def test_the_upper_edge_is_a_round_number(most: float, top: float) -> None:
    """The least of 1, 2 and 5 times a power of ten that holds everything."""
    assert nice(most) == top


def test_a_curve_ends_now_and_keeps_within_its_edges() -> None:
    """Points lie where their time is; the last one is near the right edge, the greatest below the upper one."""
    throughput, lag = curves(points(0, 50, 100, 20), START, lag_s=3)
    assert (throughput.title, throughput.now, throughput.most, throughput.top) == ("Throughput", 40, 200, 200)
    assert (lag.now, lag.most, lag.top) == (3, 10, 10)
    corners = [tuple(map(float, corner.split(","))) for corner in re.split("[ML]", throughput.line)[1:]]
    assert corners[-1][0] == pytest.approx(WIDTH * (1 - 15 / 300), abs=0.1)
    assert min(y for _, y in corners) == 0
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners)
    assert throughput.says == "Throughput, in rows per minute, over the last 5 min: now 40, at most 200"


def test_seconds_that_are_not_over_are_no_throughput() -> None:
    """The last half minute is drawn when it is whole; what waits in it is drawn at once, within the right edge."""
    unfinished = msgspec.structs.replace(points(9)[0], at=START - timedelta(seconds=5))
    throughput, lag = curves((*points(4, 8), unfinished), START, lag_s=0)
    assert (throughput.now, throughput.most, throughput.line.count("L")) == (16, 16, 1)
    assert lag.line.split("L")[-1].startswith(f"{WIDTH},")


def test_without_a_point_nothing_is_drawn() -> None:
    """A daemon that has just started has an empty curve."""
    for curve in curves((), START, lag_s=0):
        assert (curve.line, curve.area, curve.away, curve.most) == ("", "", (), 0)


def test_stretches_without_the_database_are_marked() -> None:
    """Each from its first to its last point, the one that goes on up to now."""
    curve, _ = curves(points(0, 0, 0, 0, 0, 0, away=frozenset({1, 2, 5})), START, lag_s=0)
    (first, last), (again, now) = curve.away
    assert last - first == pytest.approx(WIDTH * 60 / 300, abs=0.2)
    assert first < last < again < now == WIDTH


def test_the_calendar_shows_the_last_months_of_each_project() -> None:
    """Days lie in months; what is certified, in quarantine or due is marked and told; what is no day is left out."""
    days = [day(f"bot/2026-{month:02d}-05") for month in range(1, 12)]
    days += [day("bot/2026-11-06", certified_at=START, quarantined_files=2, days_left=1, why_due="never verified")]
    days += [day("bot/2026-11-07", verdict="", depth="", verified_at=None), day("strays")]
    marks = marks_of(days)
    (project,) = marks.projects
    assert [month.first.month for month in project.months] == [6, 7, 8, 9, 10, 11]
    assert marks.hidden == 5
    assert marks.certified == marks.quarantined == {("data", "bot/2026-11-06")}
    cells = {cell.day.day: cell for cell in project.months[-1].cells if cell}
    assert cells[5].says == "consistent by the quick sweep of 25 November, 12:00, 5 files"
    assert cells[6].says.endswith("2 in quarantine, certified 25 November, deleted upstream tomorrow: never verified")
    assert cells[7].says == "loaded, not looked at yet"


@pytest.mark.parametrize(
    ("health", "phase", "word"),
    [
        ("healthy", "watching", "Healthy"),
        ("healthy", "standby", "Standby"),
        ("attention", "watching", "Attention"),
        ("unhealthy", "standby", "Unhealthy"),
        ("unknown", "starting", "Not known yet"),
    ],
)
def test_the_heading_is_the_verdict(health: str, phase: str, word: str) -> None:
    """One word on top, also in the title."""
    html = drawn(health=health, phase=phase)
    assert f"<title>{word} \N{EN DASH} tracewatchd</title>" in html
    assert re.search(rf"<h1[^>]*>.*</span>{word}</h1>", html)


def test_whatever_is_told_is_escaped() -> None:
    """Names, errors and details from outside are text on the page and nothing else, wherever they stand."""
    html = drawn(
        sentence=ATTACK,
        troubles=(trouble(sentence=ATTACK, do=ATTACK), trouble(sentence=f"`{ATTACK}`")),
        database=DatabaseNow(name=ATTACK, up=False, error=ATTACK),
        sources=(
            source(source=ATTACK, root=ATTACK, mode="polling", file_system=ATTACK, sweeps=(sweep(error=ATTACK),)),
        ),
        answers=DatabaseAnswers(
            asked_at=START,
            error=ATTACK,
            quarantine=(quarantined(ATTACK, reason=ATTACK, detail=ATTACK, command=ATTACK),),
            days=(day(f"{ATTACK.replace('/', '')}/2026-11-20"),),
        ),
    )
    assert "<script>hacked" not in html
    assert "<img" not in html
    assert html.count("<script") == 1


def test_the_page_says_what_it_does_not_know() -> None:
    """Without answers of the database there is no calendar; with old ones it says of when they are and why."""
    assert "refused.</p>" in drawn(answers=DatabaseAnswers(error="refused"))
    assert "The database was not asked yet." in drawn(answers=DatabaseAnswers())
    old = drawn(answers=DatabaseAnswers(asked_at=START, error="refused"))
    assert "As of 25 November 2026, 12:00 UTC: refused." in old
    assert "No project-day is loaded yet." in old
    assert "No sweep has ended yet." in drawn(sources=(source(sweeps=(), mode="", states={}),))
    lost = drawn(answers=DatabaseAnswers(), sources=(source(states={"quarantined": 2}),))
    assert "2 files; the database cannot be asked which." in lost


def test_quarantine_has_the_command_to_run_next() -> None:
    """Each file with its reason in words, its detail and its command; of many only the last are listed."""
    many = tuple(quarantined(f"bot/2026-11-20/{number}.json") for number in range(60))
    html = drawn(
        answers=DatabaseAnswers(
            asked_at=START,
            quarantine=many,
            quarantined_files={"data": 500},
            quarantine_reasons={"invalid_json": 499, "empty": 1},
        )
    )
    assert "499 invalid json, 1 empty; the last 60 are listed." in html
    assert html.count("<code>tracewatchd quarantine show x</code>") == 50


def test_several_roots_are_told_apart() -> None:
    """With more than one root each sweep and project says whose it is; a root under another name shows both."""
    both = (source(source="a"), source(source="b", root="/srv/b", missing_since=START))
    html = drawn(sources=both, answers=DatabaseAnswers(asked_at=START, days=(day(source="b"),)))
    assert "<small><bdi>a</bdi></small>" in html
    assert '<bdi class="quiet">b</bdi>' in html
    assert "missing</span> since" in html


def test_there_is_a_way_out_for_whoever_logged_in() -> None:
    """The button is only there for a session."""
    assert "/logout" not in drawn()
    assert 'action="/logout"' in page(status(), logged_in=True)


def test_the_login_says_what_was_wrong() -> None:
    """The form asks for one thing, and an error is tied to it."""
    assert "role=" not in login("")
    assert 'aria-describedby="error"' in login("That is not the token.")


def test_style_and_script_load_nothing() -> None:
    """No address of another site stands in them."""
    assert "url(" not in style()
    assert "@import" not in style()
    assert "://" not in script() + style()


# ---- the same for a terminal


def told(**given: Any) -> str:
    return "\n".join(line.plain for line in lines_of(status(**given)))


def test_a_terminal_shows_the_same() -> None:
    """Verdict, what to do, database, roots with their sweeps, and the curves in one line each."""
    text = told(
        health="unhealthy",
        sentence="Two things.",
        troubles=(trouble("error", "One thing.", "Run `tracewatchd doctor`."), trouble()),
        database=DatabaseNow(name="here", up=False, error="refused", outage_s=130),
        sources=(
            source(
                backlog_files=3,
                oldest_s=4,
                sweeps=(sweep(findings={"stale": 2}, fixed={"missing": 1}), sweep("full", error="busy")),
            ),
            source(root="/srv/b", missing_since=START),
            source(root="/srv/c", mode="", states={}),
        ),
    )
    assert text.splitlines() == [
        "unhealthy: Two things.",
        "  ! One thing.",
        "    Run tracewatchd doctor.",
        "  ! Something.",
        "    Run tracewatchd doctor.",
        "daemon     watching: idle; process 7, version 1.2.3, up for 2 h",
        "database   away for 2 min, here: refused",
        "quarantine 0 files",
        "root       /srv/data watched by events; 3 waiting, the oldest for 4 s; 10 loaded",
        "  quick    consistent 5 min ago, 10 files in 2 days; found 2 stale; repaired 1 missing",
        "  full     failed 5 min ago: busy",
        "root       /srv/b is missing since 2026-11-25 12:00 UTC",
        "  quick    consistent 5 min ago, 10 files in 2 days",
        "root       /srv/c not watched yet; 0 waiting; not counted yet",
        "  quick    consistent 5 min ago, 10 files in 2 days",
        "rows        ▄█▂| at most 100 in 30 s",
        "lag         ▄█▂| at most 10 s",
    ]


def test_a_lone_trouble_is_not_said_twice() -> None:
    """The sentence says it; only what to do follows. Without a curve there is none."""
    text = told(sentence="One thing.", troubles=(trouble(sentence="One thing."),), curve=())
    assert text.count("One thing.") == 1
    assert "at most" not in text


def test_bars_show_where_the_database_was_away() -> None:
    """A cross stands where nothing could be written; what was written in the same half minute is shown."""
    curve = points(0, 8, 0, 4, away=frozenset({1, 2}))
    assert bars([point.rows for point in curve], curve) == " █x▄| at most 8"
    assert bars([], ()) == "| at most 0"
