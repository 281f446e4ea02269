"""The daemon's page in a real browser: small and large, by day and night, without a script, and behind a login."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

import browser as chromium
from browser import Page
from http_serving import TOKEN, Served, serving
from running import eventually
from standings import ATTACK, START, day, quarantined, source, status, trouble
from tracewatchd.model.daemon_status import DatabaseAnswers

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="no Chromium is installed (tests/system-packages installs one where it may)"
)
T = TypeVar("T")
H1 = "document.querySelector('h1').innerText.trim()"
FULL = status(
    health="unhealthy",
    sentence=ATTACK,
    troubles=(trouble("error", ATTACK, ATTACK), trouble()),
    sources=(source(root="/srv/" + "deep/" * 40, findings={"stale": 2}),),
    answers=DatabaseAnswers(
        asked_at=START,
        quarantine=(quarantined("bot/2026-11-20/" + "x" * 200, detail=ATTACK),),
        quarantined_files={"data": 1},
        quarantine_reasons={"invalid_json": 1},
        days=tuple(day(f"bot/2026-{month:02d}-{number:02d}") for month in (9, 10, 11) for number in range(1, 29)),
    ),
)


async def looked(served: Served, look: Callable[[Page, str], T]) -> T:
    """What somebody saw who had a browser of their own; it asked nobody but us, and its console said nothing."""

    def with_browser() -> T:
        with chromium.browser() as page:
            page.look()
            seen = look(page, served.url)
            assert page.messages == []
            assert {"/".join(address.split("/")[:3]) for address in page.requests} == {served.url}
            return seen

    return await asyncio.to_thread(with_browser)


async def test_it_fits_a_phone_and_a_desk() -> None:
    """At no width does anything stick out, however long names and paths are; the verdict is on the first screen."""

    def look(page: Page, url: str) -> dict[int, tuple[bool, bool]]:
        fits = {}
        for width in (320, 390, 800, 1_400):
            page.look(width=width, height=800)
            page.open(url + "/")
            inside = page.value("document.documentElement.scrollWidth <= innerWidth")
            fits[width] = (
                inside,
                page.value("document.querySelector('h1').getBoundingClientRect().bottom < innerHeight"),
            )
        return fits

    async with serving(status=FULL) as served:
        assert await looked(served, look) == dict.fromkeys((320, 390, 800, 1_400), (True, True))


async def test_day_and_night_and_the_reader_decides() -> None:
    """It follows the system, and the button is remembered over a reload."""

    def look(page: Page, url: str) -> list[str]:
        ground = "getComputedStyle(document.body).backgroundColor"
        seen = []
        for scheme in ("light", "dark"):
            page.look(scheme=scheme)
            page.open(url + "/")
            seen.append(page.value(ground))
        page.value("document.getElementById('theme').click()")
        seen.append(page.value(ground))
        page.open(url + "/")
        return [*seen, page.value(ground)]

    async with serving() as served:
        light, dark, chosen, remembered = await looked(served, look)
    assert light != dark
    assert chosen == remembered == light


async def test_nothing_that_is_told_runs() -> None:
    """Names from outside are shown as they are, also when the script exchanges parts of the page."""

    def look(page: Page, url: str) -> tuple[object, ...]:
        page.open(url + "/")
        asked = len(page.requests)
        eventually(lambda: page.value("document.readyState") and len(page.requests) >= asked + 2, patience_s=60)
        return page.value("typeof hacked"), page.value("document.images.length"), page.value("document.body.innerText")

    async with serving(status=FULL) as served:
        kind, images, text = await looked(served, look)
    assert (kind, images) == ("undefined", 0)
    assert "<script>hacked=1</script>" in str(text)


async def test_it_can_be_read_without_a_script() -> None:
    """Everything is there, only what needs a script is not shown."""

    def look(page: Page, url: str) -> tuple[str, bool]:
        page.open(url + "/", script=False)
        return page.value(H1), page.value("document.getElementById('theme').checkVisibility()")

    async with serving(status=FULL) as served:
        assert await looked(served, look) == ("Unhealthy", False)


async def test_what_somebody_reads_is_not_taken_away() -> None:
    """A part with the focus in it stays as it is until the focus is gone; all others follow the daemon."""

    def look(page: Page, url: str) -> tuple[str, str]:
        page.open(url + "/")
        page.value("document.querySelector('#quarantine .copy').focus()")
        served.status = status()
        eventually(lambda: page.value(H1) == "Healthy", patience_s=60)
        kept = page.value("document.getElementById('quarantine').innerText")
        page.value("document.activeElement.blur()")
        eventually(lambda: "None." in page.value("document.getElementById('quarantine').innerText"), patience_s=60)
        return kept, page.value("document.getElementById('quarantine').innerText")

    async with serving(status=FULL) as served:
        kept, followed = await looked(served, look)
    assert "Copy" in kept
    assert "Copy" not in followed


async def test_a_login_by_keyboard() -> None:
    """Type the token, press Enter, and the page is there; when the session is over the form comes back by itself."""

    def look(page: Page, url: str) -> str:
        page.open(url + "/")
        assert page.value(H1) == "Log in"
        page.value("document.getElementById('token').focus()")
        page.type(TOKEN)
        page.press("Enter")
        eventually(lambda: page.value(f"document.querySelector('#verdict') && {H1}") == "Healthy", patience_s=60)
        assert page.value("document.cookie") == ""
        assert TOKEN not in page.value("location.href")
        page.value("fetch('/logout', {method: 'POST'}).then(() => null)")
        eventually(lambda: page.value(H1) == "Log in", patience_s=60)
        return str(page.value("location.pathname"))

    async with serving(token=TOKEN) as served:
        assert await looked(served, look) == "/login"


async def test_each_picture_and_field_has_a_name() -> None:
    """Curves and days are told in words, the sections and the field of the login have names."""

    def look(page: Page, url: str) -> tuple[object, ...]:
        page.open(url + "/")
        return (
            page.value("[...document.querySelectorAll('[role=img]')].every(one => one.getAttribute('aria-label'))"),
            page.value("[...document.querySelectorAll('main > section')].every("
                       "one => one.ariaLabel || document.getElementById(one.getAttribute('aria-labelledby')))"),
            page.value("document.querySelectorAll('h1').length"),
        )  # fmt: skip

    async with serving(status=FULL) as served:
        assert await looked(served, look) == (True, True, 1)
