"""Access to Drive: which credentials there are, and the short-lived tokens that they are exchanged for.

Two kinds: a service account's key file, and a person's login (`tracewatchd.edges.drive_login`), which is an OAuth
client and a refresh token in one file. Google's own library reads keys and signs with them; the exchange is ours, so
that it has the limits and the errors of every other request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

import msgspec
from google.auth import crypt, jwt

from tracewatchd.edges.drive_http import RATE_REASONS, Answer, Http, Patience, accepted, is_trustworthy, reason_of
from tracewatchd.edges.writing import make_directory, write_file
from tracewatchd.model.errors import ConfigError, PermanentError

SCOPE = "https://www.googleapis.com/auth/drive"
"""The whole Drive: with less, a folder that a person made and shared could not be written into."""
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no secret

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ASSERTION_S = 3_600  # the longest life that Google allows a signed claim
_LEEWAY_S = 60.0  # a token is renewed this long before its end
_LOGIN_HINT = "Log in with `tracewatchd archive drive login`."
_NONE_HINT = (
    "Set drive.credentials_file (or GOOGLE_APPLICATION_CREDENTIALS) to a service account's key, or to an OAuth client's"
    " file for `tracewatchd archive drive login`."
)


class Grant(Protocol):
    """What tokens are had for."""

    token_uri: str
    renewal: str
    """What to do when it is not accepted any more."""

    def form(self, now_s: float) -> Mapping[str, str]:
        """The request for a token, at this time (seconds since 1970)."""
        ...


class ServiceAccount:
    """A service account, by its key file's content.

    Raises:
        ConfigError: it is no usable key.
    """

    renewal = "Give the service account another key and name its file as drive.credentials_file."

    def __init__(self, key: Mapping[str, object], place: Path) -> None:
        try:
            self._signer = crypt.RSASigner.from_service_account_info(key)  # type: ignore[no-untyped-call]  # google's own
            self._email = str(key["client_email"])
        except (ValueError, KeyError, TypeError):
            # Not chained: what it says may hold the key.
            raise ConfigError(f"{place}: is no usable key of a service account", hint=_NONE_HINT) from None
        self.token_uri = _safe(str(key.get("token_uri") or TOKEN_URI), place)

    def form(self, now_s: float) -> Mapping[str, str]:
        """A claim of our own that this account may have a token, signed."""
        issued = int(now_s)
        claims = {
            "iss": self._email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": issued,
            "exp": issued + _ASSERTION_S,
        }
        signed = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]  # google's own
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed.decode()}


class Client(msgspec.Struct, frozen=True):
    """An OAuth client for installed applications, as its file from the Google Cloud console says it."""

    client_id: str
    client_secret: str
    auth_uri: str = "https://accounts.google.com/o/oauth2/v2/auth"
    token_uri: str = TOKEN_URI

    def __repr__(self) -> str:
        """No secret in it."""
        return f"Client({self.client_id})"


class Login:
    """A person's login: an OAuth client and the refresh token that it was given."""

    renewal = _LOGIN_HINT

    def __init__(self, client: Client, refresh_token: str) -> None:
        self._client = client
        self._refresh_token = refresh_token
        self.token_uri = client.token_uri

    def form(self, now_s: float) -> Mapping[str, str]:  # noqa: ARG002 - a refresh token does not depend on the time
        """The refresh token."""
        return {
            "grant_type": "refresh_token",
            "refresh_token": self._refresh_token,
            "client_id": self._client.client_id,
            "client_secret": self._client.client_secret,
        }

    def save(self, path: Path) -> None:
        """Write it where `read_grant` finds it, in one step, for the owner's eyes alone, as Google's libraries do.

        Raises:
            TransientError, PermanentError: it cannot be written there.
        """
        content = {"type": "authorized_user", "token_uri": self.token_uri, **self.form(0)}
        del content["grant_type"]
        make_directory(path.parent)
        write_file(path, json.dumps(content).encode(), durable=True, private=True)


def read_grant(credentials_file: Path | None, token_file: Path) -> Grant:
    """The credentials to use: a service account's key, a login that Google's tools made, else our own login.

    Raises:
        ConfigError: there are none, or what is there cannot be used.
    """
    given = _read(credentials_file) if credentials_file else {}
    match given.get("type"):
        case "service_account":
            return ServiceAccount(given, credentials_file or token_file)
        case "authorized_user":
            return _login(given, credentials_file or token_file)
    if token_file.exists():
        return _login(_read(token_file), token_file)
    if credentials_file and (given.keys() & {"installed", "web"}):
        raise ConfigError(f"{token_file}: nobody has logged in yet", hint=_LOGIN_HINT)
    if credentials_file:
        raise ConfigError(f"{credentials_file}: holds credentials of another kind", hint=_NONE_HINT)
    raise ConfigError("drive.credentials_file: there are no credentials for Google Drive", hint=_NONE_HINT)


def read_client(credentials_file: Path | None) -> Client:
    """The OAuth client that a person can log in with.

    Raises:
        ConfigError: none is configured, or the file is something else.
    """
    if credentials_file is None:
        raise ConfigError("drive.credentials_file: no OAuth client is named", hint=_NONE_HINT)
    content = _read(credentials_file)
    return _client(content.get("installed") or content.get("web"), credentials_file)


def _login(content: Mapping[str, object], place: Path) -> Login:
    refresh_token = content.get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token:
        raise ConfigError(f"{place}: holds no refresh token", hint=_LOGIN_HINT)
    return Login(_client(content, place), refresh_token)


def _client(content: object, place: Path) -> Client:
    try:
        client = msgspec.convert(content, Client)
    except msgspec.ValidationError:
        raise ConfigError(f"{place}: is no OAuth client of an installed application", hint=_NONE_HINT) from None
    _safe(client.auth_uri, place)
    _safe(client.token_uri, place)
    return client


def _safe(uri: str, place: Path) -> str:
    if not is_trustworthy(uri):
        raise ConfigError(f"{place}: an address in it is not https", hint="Fetch the file anew from Google.")
    return uri


def _read(path: Path) -> dict[str, object]:
    try:
        content = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=_NONE_HINT) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(f"{path}: is not JSON", hint=_NONE_HINT) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no credentials", hint=_NONE_HINT)
    return content


class Token(msgspec.Struct, frozen=True):
    """What a token endpoint gives; ``expires_in`` in seconds."""

    access_token: str
    expires_in: float = 3_600.0
    refresh_token: str = ""

    def __repr__(self) -> str:
        """No secret in it."""
        return f"Token(expires_in={self.expires_in:g})"


async def exchange(http: Http, token_uri: str, form: Mapping[str, str], *, renewal: str) -> Token:
    """One attempt to have a token.

    Raises:
        BusyError: this may work later.
        PermanentError: what we have is not accepted; ``renewal`` says what to do.
    """
    answer = await http.once("POST", token_uri, headers=_FORM, body=urlencode(form).encode())
    if _is_final(answer):
        cause = reason_of(answer) or f"status {answer.status}"
        raise PermanentError(f"Google does not accept these credentials any more: {cause}", hint=renewal)
    return accepted(answer, "give a token", 200).decoded(Token)


def _is_final(answer: Answer) -> bool:
    return answer.status in {400, 401, 403} and reason_of(answer) not in RATE_REASONS


class Tokens:
    """The token of the moment, renewed before it ends and when Drive says that it has ended; one renewal at a time."""

    def __init__(self, grant: Grant, http: Http, patience: Patience, *, clock: Callable[[], float] = time.time) -> None:
        self._grant = grant
        self._http = http
        self._patience = patience
        self._clock = clock
        self._token = ""
        self._ends_s = 0.0
        self._renewing = asyncio.Lock()

    async def current(self) -> str:
        """A token that has not ended yet.

        Raises:
            BusyError: none could be had for as long as patience goes.
            PermanentError: the credentials are not accepted any more.
        """
        async with self._renewing:
            if self._clock() >= self._ends_s - _LEEWAY_S:
                await self._renew()
            return self._token

    async def instead_of(self, refused: str) -> str:
        """Another token than one that Drive refused.

        Raises:
            BusyError, PermanentError: as above.
        """
        async with self._renewing:
            if self._token == refused:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        token = await self._patience.over(self._ask)
        self._token = token.access_token
        self._ends_s = self._clock() + token.expires_in

    async def _ask(self) -> Token:
        now_s = self._clock()
        form = await asyncio.to_thread(self._grant.form, now_s)  # signing takes a while
        return await exchange(self._http, self._grant.token_uri, form, renewal=self._grant.renewal)
