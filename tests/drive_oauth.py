"""Google's OAuth for the Drive stand-in: tokens that expire, refresh tokens, service accounts, consent with PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from drive_state import USER, Caller

FULL_SCOPE = "https://www.googleapis.com/auth/drive"
FILE_SCOPE = "https://www.googleapis.com/auth/drive.file"
SCOPES = {FULL_SCOPE, FILE_SCOPE}
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
"""google-auth names this audience whatever the key file's token_uri says; others name the token_uri."""
_JWT_LIFETIME_S = 3600
_JWT_SKEW_S = 300


class OAuthError(Exception):
    """An answer of the token endpoint that is an error: its code, a sentence, the status."""

    def __init__(self, code: str, sentence: str, *, status: int = 400) -> None:
        self.status = status
        self.body = {"error": code, "error_description": sentence}
        super().__init__(code)


@dataclass
class _Granted:
    caller: Caller
    scope: str
    expires_s: float


@dataclass
class _Code:
    """A consent that waits to be exchanged."""

    redirect_uri: str
    challenge: str
    scope: str
    offline: bool


class OAuth:
    """The accounts: one installed application, the user's refresh tokens, service accounts.

    `url` is where the server listens. A test may `expire()` all access tokens, `revoke()` all refresh tokens, set
    `consents` to False (the user says no) and `lifetime_s`.
    """

    def __init__(self, url: str, clock: Callable[[], float], token: str | None) -> None:
        self._url = url
        self._clock = clock
        self.client = ("stand-in.apps.googleusercontent.com", "GOCSPX-stand-in")
        self.lifetime_s = 3600.0
        self.consents = True
        self.issued = 0
        self._access = {token: _Granted(USER, FULL_SCOPE, float("inf"))} if token else {}
        self._refresh: dict[str, str] = {}
        self._codes: dict[str, _Code] = {}
        self._keys: dict[str, rsa.RSAPublicKey] = {}

    # -----------------------------------------------------------------------------------------------------------------
    # For tests

    def expire(self) -> None:
        """Every access token is over at once."""
        self._access.clear()

    def revoke(self) -> None:
        """The user takes the consent back: refresh and access tokens are over."""
        self._refresh.clear()
        self.expire()

    def user_credentials(self, scope: str = FULL_SCOPE) -> dict[str, str]:
        """What a token file of an authorised user holds."""
        refresh = f"1//{secrets.token_urlsafe(24)}"
        self._refresh[refresh] = scope
        client_id, client_secret = self.client
        return {
            "type": "authorized_user",
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_token": refresh,
            "token_uri": f"{self._url}/token",
        }

    def client_secrets(self) -> dict[str, Any]:
        """What Google's console gives for an installed application."""
        client_id, client_secret = self.client
        return {
            "installed": {
                "client_id": client_id,
                "client_secret": client_secret,
                "project_id": "stand-in",
                "auth_uri": f"{self._url}/o/oauth2/auth",
                "token_uri": f"{self._url}/token",
                "redirect_uris": ["http://localhost"],
            }
        }

    def service_account(self, email: str = "robot@stand-in.iam.gserviceaccount.com") -> dict[str, str]:
        """The key file of a service account."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys[email] = key.public_key()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "stand-in",
            "private_key_id": secrets.token_hex(20),
            "private_key": pem.decode(),
            "client_email": email,
            "client_id": "100000000000000000000",
            "auth_uri": f"{self._url}/o/oauth2/auth",
            "token_uri": f"{self._url}/token",
            "universe_domain": "googleapis.com",
        }

    # -----------------------------------------------------------------------------------------------------------------
    # For the server

    def caller(self, authorization: str | None) -> Caller | None:
        """Who carries this header, None when its token is over or was never issued."""
        kind, _, token = (authorization or "").partition(" ")
        granted = self._access.get(token)
        if kind.casefold() != "bearer" or granted is None or granted.expires_s <= self._clock():
            return None
        return granted.caller

    def over(self, authorization: str | None) -> None:
        """The token in this header is over."""
        self._access.pop((authorization or "").partition(" ")[2], None)

    def consent(self, asked: dict[str, str]) -> str:
        """Where the browser goes after the user was asked."""
        client_id, _ = self.client
        if asked.get("client_id") != client_id or asked.get("response_type") != "code" or not asked.get("scope"):
            raise OAuthError("invalid_request", "Missing or unknown client_id, response_type or scope.")
        back = asked.get("redirect_uri", "")
        if urlsplit(back).scheme != "http" or urlsplit(back).hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise OAuthError("redirect_uri_mismatch", "An installed application is answered on loopback alone.")
        if asked.get("code_challenge") and asked.get("code_challenge_method") != "S256":
            raise OAuthError("invalid_request", "Only S256 is taken.")
        answer = {"state": asked["state"]} if "state" in asked else {}
        if not self.consents:
            return f"{back}?{urlencode(answer | {'error': 'access_denied'})}"
        code = f"4/{secrets.token_urlsafe(24)}"
        offline = asked.get("access_type") == "offline"
        self._codes[code] = _Code(back, asked.get("code_challenge", ""), asked["scope"], offline)
        return f"{back}?{urlencode(answer | {'code': code, 'scope': asked['scope']})}"

    def token(self, form: str) -> dict[str, Any]:
        """What the token endpoint answers."""
        asked = dict(parse_qsl(form))
        grant = asked.get("grant_type")
        if grant == JWT_GRANT:
            return self._for_service(asked.get("assertion", ""))
        if grant not in {"refresh_token", "authorization_code"}:
            raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {grant}")
        if (asked.get("client_id"), asked.get("client_secret")) != self.client:
            raise OAuthError("invalid_client", "The OAuth client was not found.", status=401)
        return self._refreshed(asked) if grant == "refresh_token" else self._exchanged(asked)

    def revoked(self, form: str) -> None:
        """One token is over: an access token, or a refresh token with all that came from it."""
        token = dict(parse_qsl(form)).get("token", "")
        if token not in self._refresh and token not in self._access:
            raise OAuthError("invalid_token", "Token expired or revoked")
        if self._refresh.pop(token, None) is not None:
            self.expire()
        self._access.pop(token, None)

    def _refreshed(self, asked: dict[str, str]) -> dict[str, Any]:
        scope = self._refresh.get(asked.get("refresh_token", ""))
        if scope is None:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        return self._issue(USER, asked.get("scope") or scope)

    def _exchanged(self, asked: dict[str, str]) -> dict[str, Any]:
        """A code serves once, for the address that it was sent to, and for who knows the verifier."""
        code = self._codes.pop(asked.get("code", ""), None)
        if code is None:
            raise OAuthError("invalid_grant", "Malformed auth code.")
        if asked.get("redirect_uri") != code.redirect_uri:
            raise OAuthError("redirect_uri_mismatch", "Bad Request")
        if code.challenge and _s256(asked.get("code_verifier", "")) != code.challenge:
            raise OAuthError("invalid_grant", "Invalid code verifier.")
        issued = self._issue(USER, code.scope)
        if code.offline:
            issued["refresh_token"] = f"1//{secrets.token_urlsafe(24)}"
            self._refresh[issued["refresh_token"]] = code.scope
        return issued

    def _for_service(self, assertion: str) -> dict[str, Any]:
        claims = self._claims(assertion)
        now = self._clock()
        issued, expires = claims.get("iat", 0), claims.get("exp", 0)
        if not (issued - _JWT_SKEW_S <= now < expires and 0 < expires - issued <= _JWT_LIFETIME_S):
            raise OAuthError("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes).")
        if claims.get("aud") not in {f"{self._url}/token", GOOGLE_AUDIENCE}:
            raise OAuthError("invalid_grant", "Invalid JWT: Failed audience check.")
        if not claims.get("scope"):
            raise OAuthError("invalid_scope", "Empty or missing scope not allowed.")
        return self._issue(Caller(claims["iss"], service=True), claims["scope"])

    def _claims(self, assertion: str) -> dict[str, Any]:
        """What a service account says about itself, once its signature is checked."""
        try:
            head, body, signature = assertion.split(".")
            claims: dict[str, Any] = json.loads(_decoded(body))
            algorithm = json.loads(_decoded(head))["alg"]
        except (ValueError, KeyError):
            raise OAuthError("invalid_grant", "Invalid JWT.") from None
        key = self._keys.get(claims.get("iss", ""))
        if key is None:
            raise OAuthError("invalid_grant", "Invalid grant: account not found")
        try:
            key.verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            algorithm = ""
        if algorithm != "RS256":
            raise OAuthError("invalid_grant", "Invalid JWT Signature.")
        return claims

    def _issue(self, caller: Caller, scope: str) -> dict[str, Any]:
        scopes = set(scope.split())
        if scopes - SCOPES:
            raise OAuthError("invalid_scope", "Some requested scopes were invalid.")
        self.issued += 1
        token = f"ya29.{secrets.token_urlsafe(32)}"
        seen = Caller(caller.email, caller.service, own_files_only=scopes == {FILE_SCOPE})
        self._access[token] = _Granted(seen, scope, self._clock() + self.lifetime_s)
        return {"access_token": token, "expires_in": int(self.lifetime_s), "scope": scope, "token_type": "Bearer"}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
