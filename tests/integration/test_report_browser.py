"""The page of a report in a real browser: what people see, and that it needs nothing and asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import browser as chromium
from browser import Page
from reports import damaged
from tracewatchd.model.findings import Difference, Finding, Kind, VerificationResult
from tracewatchd.reconcile.report import as_data, write_report

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="no Chromium is installed (tests/system-packages installs one where it may)"
)
SHOWN = "[...document.querySelectorAll('.finding')].filter(one => one.checkVisibility())"
KINDS = f"{SHOWN}.map(one => one.dataset.kind)"
INPUT = "new Event('input', {bubbles: true})"
GROUND = "getComputedStyle(document.body).backgroundColor"
ATTACK = "</script><script>hacked=1</script><img src='http://127.0.0.1:9/x' onerror='hacked=1'>\u2028'\"><b>"


@pytest.fixture(scope="module")
def opened() -> Iterator[Page]:
    """One browser for this module."""
    with chromium.browser() as page:
        yield page


@pytest.fixture
def page(opened: Page, tmp_path: Path) -> Iterator[Page]:
    """The page of the damaged set at a desk, by day; when the test ends it has said nothing and asked nobody."""
    write_report([damaged()], tmp_path / "report.html")
    opened.look()
    opened.messages.clear()
    opened.requests.clear()
    opened.open(tmp_path / "report.html")
    yield opened
    assert opened.messages == []
    assert {address.partition(":")[0] for address in opened.requests} == {"file"}


def test_the_verdict_is_the_first_and_largest(page: Page) -> None:
    """The verdict stands on the first screen, larger than anything else on the page."""
    assert page.value("document.querySelector('h1').innerText.trim()") == "Inconsistent"
    assert page.value("document.querySelector('h1').getBoundingClientRect().bottom < innerHeight / 2")
    sizes = (
        "[...document.querySelectorAll('main *:not(h1, h1 *)')].map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert page.value(f"Math.max(...{sizes}) < parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)")
    assert "3 project-days will be deleted upstream within 2 days" in page.value("document.body.innerText")


def test_filters_change_what_is_visible(page: Page) -> None:
    """Kind, severity, words and held narrow the findings down, each alone and together; clearing shows all again."""
    every = page.value(KINDS)
    assert len(every) == len(as_data([damaged()])["findings"])
    choose = (
        f"(id, value) => {{ const it = document.getElementById(id); it.value = value; it.dispatchEvent({INPUT}); }}"
    )
    page.value(f"({choose})('by-kind', 'mismatch')")
    assert set(page.value(KINDS)) == {"mismatch"}
    assert page.value("document.getElementById('shown').innerText") == f"3 of {len(every)}"
    page.value("document.getElementById('by-held').click()")
    assert page.value(f"{SHOWN}.length") == 1
    page.value(f"({choose})('by-severity', 'warning')")
    assert page.value(KINDS) == []
    assert page.value("document.getElementById('none').checkVisibility()")
    page.value("document.querySelector('#filters [type=reset]').click()")
    page.value("new Promise(done => setTimeout(done))")
    assert page.value(KINDS) == every
    page.value(f"({choose})('by-text', 'BOT/2026-11-18 stale')")
    assert page.value(KINDS) == ["stale"]


def test_a_day_leads_to_its_findings(page: Page) -> None:
    """With the keyboard alone: a damaged day of the calendar shows that day's findings and no others."""
    page.value("document.querySelector('[data-directory=\"checkout-agent/2026-11-21\"]').focus()")
    page.press("Enter")
    assert sorted(page.value(KINDS)) == ["altered", "orphan", "orphan"]
    assert page.value("document.getElementById('by-text').value") == "checkout-agent/2026-11-21"
    page.value("document.querySelector('a[data-kind=gone]').focus()")
    page.press("Enter")
    assert set(page.value(KINDS)) == {"gone"}


def test_typing_narrows_down(page: Page) -> None:
    """What is typed into the field counts at once."""
    page.value("document.getElementById('by-text').focus()")
    page.type("held_101112")
    assert page.value(f"{SHOWN}.length") == 1


def test_many_findings_come_by_and_by(opened: Page, tmp_path: Path) -> None:
    """Of thousands some are shown and more on demand; the filters look at all of them."""
    result = VerificationResult("/srv/traces", "quick")
    result.findings = [Finding(Kind.MISSING, f"bot/2026-11-11/{number:04}.json", "x") for number in range(1_500)]
    result.counts[Kind.MISSING] = 1_500
    write_report([result], tmp_path / "report.html")
    opened.look()
    opened.open(tmp_path / "report.html")
    assert opened.value(f"{SHOWN}.length") == 200
    opened.value("document.getElementById('more').click()")
    assert opened.value(f"{SHOWN}.length") == 400
    opened.value("document.getElementById('by-text').focus()")
    opened.type("bot/2026-11-11/14")
    assert opened.value(f"{SHOWN}.length") == 100
    assert opened.value("document.getElementById('shown').innerText") == "100 of 1,500"
    assert not opened.value("document.getElementById('more').checkVisibility()")


def test_days_can_be_told_apart_without_colour(page: Page) -> None:
    """Each state has a sign of its own, and what is due another one."""
    sign = "(name) => document.querySelector('.grid .day' + name).querySelector('b').innerText"
    told = page.value(f"['.consistent', '.inconsistent', '.not_checked', '.due.blank'].map({sign})")
    assert told == ["✓", "✕", "?", "!"]


def test_light_and_dark(page: Page, tmp_path: Path) -> None:
    """The page follows the system; the switch overrides it and comes back to it; words stay legible in both."""
    light = page.value(GROUND)
    page.look(scheme="dark")
    dark = page.value(GROUND)
    assert _brightness(light) > 240
    assert _brightness(dark) < 30
    press = "document.getElementById('theme').click()"
    page.value(press)
    assert page.value(GROUND) == light
    page.value(press)
    page.look(scheme="light")
    assert page.value(GROUND) == dark
    page.value(press)
    assert page.value(GROUND) == light


def _brightness(colour: str) -> float:
    parts = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    return sum(parts) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page: Page, scheme: str) -> None:
    """At 360 pixels nothing is wider than the screen, and what is touched is large enough for a finger."""
    page.look(width=360, height=740, scheme=scheme)
    assert page.value("document.documentElement.scrollWidth") == 360
    assert page.value("[...document.querySelectorAll('main *')].filter(one => one.scrollWidth > 360).length") == 0
    heights = page.value(
        "[...document.querySelectorAll('a.day, button:not([hidden]), select')].map(one => one.offsetHeight)"
    )
    assert min(heights) >= 32


def test_it_can_be_read_without_its_script(page: Page, tmp_path: Path) -> None:
    """Where scripts are off all findings are there, and no filter that would do nothing."""
    page.open(tmp_path / "report.html", script=False)
    assert len(page.value(KINDS)) == len(as_data([damaged()])["findings"])
    text = page.value("document.querySelector('main').textContent")
    assert "/data/outputs/answer" in text
    assert not page.value("document.getElementById('filters').checkVisibility()")
    assert not page.value("document.getElementById('theme').checkVisibility()")


def test_nothing_that_files_hold_runs(opened: Page, tmp_path: Path) -> None:
    """Names and values that try to be script or image are text, and the browser asks for nothing because of them."""
    result = VerificationResult("/srv/traces", "deep")
    difference = (Difference(ATTACK, ATTACK, ATTACK),)
    result.findings = [Finding(Kind.MISMATCH, f"{ATTACK}/x.json", ATTACK, run_id=ATTACK, differences=difference)]
    result.counts[Kind.MISMATCH] = 1
    result.unchecked, result.closed = [ATTACK], {ATTACK: ATTACK}
    write_report([result], tmp_path / "report.html")
    opened.messages.clear()
    opened.requests.clear()
    opened.open(tmp_path / "report.html")
    assert opened.value("typeof hacked") == "undefined"
    assert opened.value("document.images.length") == 0
    assert "</script><script>hacked=1" in opened.value("document.querySelector('.finding').innerText")
    assert (opened.messages, opened.requests) == ([], [(tmp_path / "report.html").as_uri()])


def test_a_script_that_gets_in_does_not_run(opened: Page, tmp_path: Path) -> None:
    """Even if escaping failed, the page's policy would let no other script run and nothing be loaded."""
    write_report([damaged()], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    foreign = "<script>hacked=1</script><img src='x.png' onerror='hacked=1'>"
    (tmp_path / "report.html").write_text(text.replace("<main>", f"<main>{foreign}"))
    opened.messages.clear()
    opened.open(tmp_path / "report.html")
    assert opened.value("typeof hacked") == "undefined"
    assert any("Content Security Policy" in message for message in opened.messages)
