"""A person's consent, given in a browser: OAuth for installed applications, answered on loopback, with PKCE.

The browser comes back to a port of this machine with a code; only who knows the verifier that we kept can exchange it,
and only an answer with the state that we sent is taken.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from tracewatchd.edges.drive_auth import SCOPE, Client, Login, exchange
from tracewatchd.edges.drive_http import Http, Patience
from tracewatchd.model.errors import PermanentError, TransientError

_HOST = "127.0.0.1"
_RANDOM_BYTES = 48  # 64 characters; the RFC allows 43 to 128
_THANKS = "tracewatchd may use this Google Drive now. You can close this page."
_REFUSED = "tracewatchd was not given access. You can close this page."
_STRANGER = "This page waits for the answer to another question."


class Asked(NamedTuple):
    """What only we know of one question to the user."""

    state: str
    verifier: str

    @property
    def challenge(self) -> str:
        """What of the verifier is told beforehand."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def new_question() -> Asked:
    """A question that nobody can guess."""
    return Asked(secrets.token_urlsafe(_RANDOM_BYTES), secrets.token_urlsafe(_RANDOM_BYTES))


def consent_url(client: Client, asked: Asked, redirect_uri: str) -> str:
    """Where the user is asked. A refresh token is wanted, also where consent was given before."""
    parameters = {
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": SCOPE,
        "access_type": "offline",
        "prompt": "consent",
        "state": asked.state,
        "code_challenge": asked.challenge,
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(client.auth_uri).query else "?"
    return f"{client.auth_uri}{joint}{urlencode(parameters)}"


async def log_in(
    client: Client, http: Http, patience: Patience, *, show: Callable[[str], None], within_s: float
) -> Login:
    """Ask the user, wait for the answer, and exchange it; ``show`` gets the address where the user is asked.

    Raises:
        TransientError: nobody answered in time, or Google did not.
        PermanentError: the user said no, or Google does not take the code.
    """
    asked = new_question()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    runner = web.AppRunner(_waiting(asked, answer), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _HOST, 0)
        await site.start()
        redirect_uri = f"http://{_HOST}:{runner.addresses[0][1]}/"
        show(consent_url(client, asked, redirect_uri))
        code = await _answered(answer, within_s)
    finally:
        await runner.cleanup()
    return await _exchanged(client, http, patience, _form(client, asked, redirect_uri, code))


async def _answered(answer: asyncio.Future[str], within_s: float) -> str:
    try:
        async with asyncio.timeout(within_s):
            code = await answer
    except TimeoutError:
        raise TransientError(
            f"nobody answered in the browser within {within_s:g} s",
            hint="Run the command again; on a machine without a browser, forward the port that the address names.",
        ) from None
    if not code:
        raise PermanentError("access to Google Drive was not given", hint="Run the command again and allow it.")
    return code


def _waiting(asked: Asked, answer: asyncio.Future[str]) -> web.Application:
    """A server for the one page that the browser comes back to."""

    async def come_back(request: web.Request) -> web.Response:
        if not secrets.compare_digest(request.query.get("state", "").encode(), asked.state.encode()):
            return web.Response(status=400, text=_STRANGER)
        code = request.query.get("code", "")
        if not answer.done():
            answer.set_result(code)
        return web.Response(text=_THANKS if code else _REFUSED)

    app = web.Application()
    app.router.add_get("/", come_back)
    return app


def _form(client: Client, asked: Asked, redirect_uri: str, code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": client.client_id,
        "client_secret": client.client_secret,
        "redirect_uri": redirect_uri,
        "code_verifier": asked.verifier,
    }


async def _exchanged(client: Client, http: Http, patience: Patience, form: dict[str, str]) -> Login:
    hint = "Run `tracewatchd archive drive login` again."
    token = await patience.over(lambda: exchange(http, client.token_uri, form, renewal=hint))
    if not token.refresh_token:
        raise PermanentError("Google gave no lasting access to Drive", hint=hint)
    return Login(client, token.refresh_token)
