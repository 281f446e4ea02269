"""Who may ask over HTTP: names, tokens, sessions."""

from __future__ import annotations

from itertools import count

import pytest

from tracewatchd.service.http.guard import SESSION_S, Guard, GuardSetting, is_same_site

TOKEN = "correct-horse-battery"


class Guarded:
    """A guard, and the clock that it looks at."""

    def __init__(self, *, token: str | None = TOKEN, loopback: bool = False) -> None:
        self.now_s = 0.0
        numbers = count()
        self.guard = Guard(
            GuardSetting(
                token=token, loopback=loopback, clock=lambda: self.now_s, secret=lambda: f"secret-{next(numbers)}"
            )
        )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9477", "127.0.0.1", "127.0.0.1:80", "[::1]:9477", "127.8.8.8"]
)
def test_names_of_this_machine_are_known(host: str) -> None:
    """Loopback under any of its names and any port, so that a forwarded port works too."""
    assert Guarded(loopback=True).guard.knows_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil", "[::1", "0"]
)
def test_other_names_are_not(host: str) -> None:
    """A name that somebody else lets mean 127.0.0.1 does not reach us; off loopback the token decides instead."""
    assert not Guarded(loopback=True).guard.knows_host(host)
    assert Guarded(loopback=False).guard.knows_host(host)


def test_without_a_token_nobody_is_asked() -> None:
    """Where no token is set, everybody is admitted."""
    guard = Guarded(token=None).guard
    assert not guard.asks_for_token
    assert guard.admits("", "")
    assert guard.log_in("") is None


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
def test_the_token_admits(given: str) -> None:
    """The scheme's name has no case, and blanks around the token do not matter."""
    assert Guarded().guard.admits(given, "")


@pytest.mark.parametrize(
    "given", ["", TOKEN, "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff"]
)
def test_anything_else_does_not(given: str) -> None:
    """Neither another token nor another scheme, nor bytes that are no text."""
    assert not Guarded().guard.admits(given, "")


def test_a_session_holds_for_its_time() -> None:
    """A login gives a secret that is not the token, admits with it, and ends after its time or by logging out."""
    guarded = Guarded()
    secret = guarded.guard.log_in(TOKEN)
    assert secret is not None
    assert TOKEN not in secret
    assert guarded.guard.admits("", secret)
    assert not guarded.guard.admits("", secret + "x")
    guarded.now_s = SESSION_S
    assert not guarded.guard.admits("", secret)
    other = guarded.guard.log_in(TOKEN)
    assert other is not None
    guarded.guard.log_out(other)
    guarded.guard.log_out("never was")
    assert not guarded.guard.admits("", other)


def test_sessions_are_bounded() -> None:
    """The oldest session makes room when there are a hundred."""
    guard = Guarded().guard
    secrets = [guard.log_in(TOKEN) for _ in range(101)]
    assert not guard.admits("", secrets[0] or "")
    assert all(guard.admits("", secret or "") for secret in secrets[1:])


def test_many_failures_make_tired() -> None:
    """After ten failures within a minute no login is tried; a minute later it is."""
    guarded = Guarded()
    for _ in range(10):
        assert not guarded.guard.is_tired
        assert guarded.guard.log_in("wrong") is None
    assert guarded.guard.is_tired
    guarded.now_s = 60
    assert not guarded.guard.is_tired


@pytest.mark.parametrize(
    ("origin", "same"),
    [("", True), ("http://here:9477", True), ("http://there:9477", False), ("null", False), ("http://here", False)],
)
def test_a_form_comes_from_our_own_page(origin: str, *, same: bool) -> None:
    """What a browser says of the sender must be the name that it called us by."""
    assert is_same_site(origin, "here:9477") is same
