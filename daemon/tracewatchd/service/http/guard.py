"""Who may ask: the token of programs, the sessions of people, and the names under which this machine may be called."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

COOKIE = "tracewatchd"
SESSION_S = 12 * 3_600.0
"""How long a login holds."""

_MOST_SESSIONS = 100
_FAILURES = 10
_FAILURES_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSetting:
    """``token`` is None where nobody is asked for one; ``secret`` makes a random text nobody can guess."""

    token: str | None
    loopback: bool
    clock: Callable[[], float]
    secret: Callable[[], str]


class Guard:
    """Decides on each request from what its headers say. What is compared is compared in constant time."""

    def __init__(self, setting: GuardSetting) -> None:
        self._set = setting
        self._token = None if setting.token is None else _digest(setting.token)
        self._sessions: dict[bytes, float] = {}
        self._failed: deque[float] = deque(maxlen=_FAILURES)

    @property
    def asks_for_token(self) -> bool:
        """Whether a token is asked for at all."""
        return self._token is not None

    def knows_host(self, host: str) -> bool:
        """Whether we may be called so. On loopback only a name of this machine will do.

        Else a page of any site could reach us by a name of its own that it lets mean 127.0.0.1.
        """
        return not self._set.loopback or _is_of_this_machine(host)

    def admits(self, authorization: str, cookie: str) -> bool:
        """Whether the token, or the session of somebody who gave it, is there."""
        if self._token is None:
            return True
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return True
        return bool(cookie) and self._sessions.get(_digest(cookie), 0.0) > self._set.clock()

    def log_in(self, given: str) -> str | None:
        """A session's secret for the token; None for anything else."""
        if not self._is_token(given):
            self._failed.append(self._set.clock())
            return None
        now = self._set.clock()
        self._sessions = {key: ends for key, ends in self._sessions.items() if ends > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        secret = self._set.secret()
        self._sessions[_digest(secret)] = now + SESSION_S
        return secret

    def log_out(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(cookie), None)

    @property
    def is_tired(self) -> bool:
        """Whether so many logins failed within a minute that none is tried now."""
        return len(self._failed) == _FAILURES and self._set.clock() - self._failed[0] < _FAILURES_WITHIN_S

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(_digest(given), self._token)


def is_same_site(origin: str, host: str) -> bool:
    """Whether a form was sent by a page of ours; a browser says where it comes from, other programs need not."""
    return not origin or urlsplit(origin).netloc == host


def _is_of_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in {"localhost", "localhost."}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _digest(text: str) -> bytes:
    """What is compared is equally long, whatever was given; and no session is kept as its owner has it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
