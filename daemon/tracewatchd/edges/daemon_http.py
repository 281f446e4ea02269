"""Asking a daemon of this machine: one small request over HTTP, with a limit to everything."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from ipaddress import ip_address

from tracewatchd.model.errors import NotCheckedError

_TIMEOUT_S = 5.0
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """Where a daemon listens, as it is configured; ``token`` is what it asks for."""

    host: str
    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        """The address as people write it; no token is in it."""
        host = _reachable(self.host)
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


@dataclass(frozen=True, slots=True)
class DaemonAnswer:
    """What it said."""

    status: int
    body: bytes

    @property
    def word(self) -> str:
        """The body as one line."""
        return " ".join(self.body.decode("utf-8", "replace").split())


def ask(address: DaemonAddress, path: str) -> DaemonAnswer:
    """The daemon's answer, whatever its status.

    Raises:
        NotCheckedError: nobody answers there, or not as a daemon does.
    """
    headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
    connection = HTTPConnection(_reachable(address.host), address.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
        if answer.length:  # what is left of what was announced
            raise IncompleteRead(body, answer.length)
    except OSError as error:
        raise _silent(address, error.strerror or str(error) or type(error).__name__) from error
    except HTTPException as error:
        raise _silent(address, f"what answers there speaks no HTTP to its end ({type(error).__name__})") from error
    finally:
        connection.close()
    return DaemonAnswer(answer.status, body)


def _silent(address: DaemonAddress, why: str) -> NotCheckedError:
    return NotCheckedError(
        f"no daemon answers at {address.url}: {why}",
        hint="see that it runs, and that http.host and http.port are the ones that it was started with",
    )


def _reachable(host: str) -> str:
    """An address that can be called: every address of this machine is called by its loopback."""
    if not ip_address(host).is_unspecified:
        return host
    return "::1" if ":" in host else "127.0.0.1"
