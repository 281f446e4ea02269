"""OAuth of the Drive stand-in: tokens that expire, consent with PKCE, service accounts, and what each may see."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from drive_asking import FILES, Answer, Asking
from drive_oauth import FILE_SCOPE, FULL_SCOPE, GOOGLE_AUDIENCE, JWT_GRANT
from drive_server import DriveServer, serving_drive
from drive_state import FOLDER, DriveState

BACK = "http://127.0.0.1:8085/"
VERIFIER = "a-verifier-that-is-long-enough-for-everyone-who-reads-it"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Clock:
    """A time that a test moves."""

    now_s = 1_756_425_600.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[DriveServer]:
    with serving_drive(DriveState(clock=clock), token=None) as running:
        yield running


def post(server: DriveServer, path: str, **form: str) -> Answer:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return Asking(server, None)("POST", path, urlencode(form).encode(), kind)


def refreshed(server: DriveServer, credentials: dict[str, str], **changed: str) -> Answer:
    form = {key: credentials[key] for key in ("client_id", "client_secret", "refresh_token")}
    return post(server, "/token", grant_type="refresh_token", **(form | changed))


def assertion(key: dict[str, str], clock: Clock, **changed: Any) -> str:
    """The signed claim of a service account; None as a value leaves it out."""
    claims: dict[str, Any] = {"iss": key["client_email"], "scope": FULL_SCOPE, "aud": key["token_uri"]}
    claims |= {"iat": int(clock()), "exp": int(clock()) + 3600} | changed
    parts = [{"alg": "RS256", "typ": "JWT"}, {name: value for name, value in claims.items() if value is not None}]
    said = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    private = serialization.load_pem_private_key(key["private_key"].encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    signature = private.sign(said, padding.PKCS1v15(), hashes.SHA256())
    return (said + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


# ---------------------------------------------------------------------------------------------------------------------
# Tokens


def test_an_access_token_lives_an_hour(server: DriveServer, clock: Clock) -> None:
    """A refresh token buys access tokens; each is good for an hour of the clock, and 401 afterwards."""
    credentials = server.oauth.user_credentials()
    issued = refreshed(server, credentials).json
    assert (issued["expires_in"], issued["token_type"], issued["scope"]) == (3600, "Bearer", FULL_SCOPE)
    ask = Asking(server, issued["access_token"])
    clock.now_s += 3599
    assert ask.listed().status == 200
    clock.now_s += 1
    assert (ask.listed().status, ask.listed().reason) == (401, "authError")
    assert Asking(server, refreshed(server, credentials).json["access_token"]).listed().status == 200
    assert server.oauth.issued == 2
    server.oauth.expire()
    assert ask.listed().status == 401


def test_a_revoked_consent(server: DriveServer) -> None:
    """Refresh and access tokens are over: 400 invalid_grant, 401; `/revoke` does the same, once."""
    credentials = server.oauth.user_credentials()
    ask = Asking(server, refreshed(server, credentials).json["access_token"])
    server.oauth.revoke()
    answer = refreshed(server, credentials)
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
    assert ask.listed().status == 401
    credentials = server.oauth.user_credentials()
    access = refreshed(server, credentials).json["access_token"]
    assert post(server, "/revoke", token=credentials["refresh_token"]).status == 200
    assert Asking(server, access).listed().status == 401
    assert post(server, "/revoke", token=credentials["refresh_token"]).json["error"] == "invalid_token"
    access = refreshed(server, server.oauth.user_credentials()).json["access_token"]
    assert post(server, "/revoke", token=access).status == 200
    assert Asking(server, access).listed().status == 401


def test_what_the_token_endpoint_refuses(server: DriveServer) -> None:
    """Another client, another grant and unknown scopes are refused, each with its code."""
    credentials = server.oauth.user_credentials()
    stranger = refreshed(server, credentials, client_secret="guessed")
    assert (stranger.status, stranger.json["error"]) == (401, "invalid_client")
    assert post(server, "/token", grant_type="password").json["error"] == "unsupported_grant_type"
    assert refreshed(server, credentials, scope="https://mail.google.com/").json["error"] == "invalid_scope"


def test_the_scope_of_own_files_sees_nothing_else(server: DriveServer) -> None:
    """With drive.file a folder that somebody made by hand is not there; what the application made is."""
    folder = server.drive.add_folder("by hand").id
    credentials = server.oauth.user_credentials(FILE_SCOPE)
    ask = Asking(server, refreshed(server, credentials).json["access_token"])
    assert ask.create({"name": "ours", "mimeType": FOLDER}).status == 200
    assert ask.names() == ["ours"]
    assert (ask.get(folder).status, ask.create({"name": "x", "parents": [folder]}).status) == (404, 404)
    everything = Asking(server, refreshed(server, server.oauth.user_credentials()).json["access_token"])
    assert everything.names() == ["by hand", "ours"]


# ---------------------------------------------------------------------------------------------------------------------
# Consent


def consent(server: DriveServer, **changed: str) -> Answer:
    secrets = server.oauth.client_secrets()["installed"]
    asked = {
        "client_id": secrets["client_id"], "response_type": "code", "redirect_uri": BACK, "scope": FULL_SCOPE,
        "state": "xyz", "code_challenge": CHALLENGE, "code_challenge_method": "S256", "access_type": "offline",
    } | changed  # fmt: skip
    return Asking(server, None)("GET", urlsplit(secrets["auth_uri"]).path, **asked)


def sent_back(answer: Answer) -> dict[str, str]:
    """What the browser brings to the loopback address."""
    assert (answer.status, answer.headers["Location"].startswith(BACK)) == (302, True), answer.body
    return {key: values[0] for key, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def exchanged(server: DriveServer, code: str, **changed: str) -> Answer:
    client_id, client_secret = server.oauth.client
    form = {"client_id": client_id, "client_secret": client_secret, "redirect_uri": BACK, "code_verifier": VERIFIER}
    return post(server, "/token", grant_type="authorization_code", code=code, **(form | changed))


def test_a_consent(server: DriveServer) -> None:
    """The browser is sent back with state and code; the code serves once, and gives a refresh token that works."""
    back = sent_back(consent(server))
    assert back["state"] == "xyz"
    issued = exchanged(server, back["code"]).json
    credentials = server.oauth.user_credentials() | {"refresh_token": issued["refresh_token"]}
    for token in (issued["access_token"], refreshed(server, credentials).json["access_token"]):
        assert Asking(server, token).listed().status == 200
    assert exchanged(server, back["code"]).json["error"] == "invalid_grant"


def test_no_refresh_token_unless_offline(server: DriveServer) -> None:
    """Who forgets access_type=offline gets an access token alone."""
    assert "refresh_token" not in exchanged(server, sent_back(consent(server, access_type=""))["code"]).json


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_verifier": "another"}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:9/"}, "redirect_uri_mismatch"),
        ({"client_secret": "guessed"}, "invalid_client"),
    ],
)
def test_a_code_is_good_for_who_asked(server: DriveServer, changed: dict[str, str], error: str) -> None:
    """Without the verifier, the address or the secret of the one who began, a code is worth nothing."""
    assert exchanged(server, sent_back(consent(server))["code"], **changed).json["error"] == error


def test_a_user_who_says_no(server: DriveServer) -> None:
    """The browser comes back with an error and the state, and without a code."""
    server.oauth.consents = False
    assert sent_back(consent(server)) == {"state": "xyz", "error": "access_denied"}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uri": "http://example.com/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://127.0.0.1/"}, "redirect_uri_mismatch"),
        ({"client_id": "another"}, "invalid_request"),
        ({"response_type": "token"}, "invalid_request"),
        ({"scope": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_a_consent_that_is_asked_wrongly(server: DriveServer, changed: dict[str, str], error: str) -> None:
    """Only loopback, the known client, a code and S256 are taken; the browser is not sent anywhere else."""
    answer = consent(server, **changed)
    assert (answer.status, answer.json["error"]) == (400, error)


# ---------------------------------------------------------------------------------------------------------------------
# Service accounts


def claimed(server: DriveServer, said: str) -> Answer:
    return post(server, "/token", grant_type=JWT_GRANT, assertion=said)


def test_a_service_account(server: DriveServer, clock: Clock) -> None:
    """A signed claim buys a token. It can own no file: it uploads to a shared drive, or what is the user's."""
    key = server.oauth.service_account()
    assert claimed(server, assertion(key, clock, aud=GOOGLE_AUDIENCE)).status == 200
    ask = Asking(server, claimed(server, assertion(key, clock)).json["access_token"])
    mine = ask.begin({"name": "day.zip"}, 3)
    assert (mine.status, mine.reason) == (403, "storageQuotaExceeded")
    assert ask.begin({}, 3, server.drive.add_file("day.zip", b"old").id).status == 200
    team = server.drive.add_shared_drive("team").id
    assert ask.begin({"name": "day.zip", "parents": [team]}, 3, "", supportsAllDrives="true").status == 200
    assert ask("POST", FILES, {"name": "proj", "mimeType": FOLDER}).status == 200
    about = ask("GET", "/drive/v3/about", fields="user/emailAddress").json
    assert about == {"user": {"emailAddress": key["client_email"]}}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"exp": 1_756_425_600 + 3601}, "short-lived"),
        ({"exp": None}, "short-lived"),
        ({"iat": 1_756_425_600 + 900, "exp": 1_756_425_600 + 1800}, "short-lived"),
        ({"aud": "https://example.com/token"}, "audience"),
        ({"scope": None}, "scope"),
        ({"iss": "nobody@stand-in.iam.gserviceaccount.com"}, "account not found"),
    ],
)
def test_a_claim_that_is_not_taken(server: DriveServer, clock: Clock, changed: dict[str, Any], sentence: str) -> None:
    """Life, audience, scope and account of a claim are checked."""
    answer = claimed(server, assertion(server.oauth.service_account(), clock, **changed))
    assert answer.status == 400
    assert sentence in answer.json["error_description"]


def test_a_claim_that_is_not_signed(server: DriveServer, clock: Clock) -> None:
    """Another account's signature, a changed claim and what is no claim at all are refused."""
    key = server.oauth.service_account("a@stand-in.iam.gserviceaccount.com")
    other = server.oauth.service_account("b@stand-in.iam.gserviceaccount.com")
    forged = assertion(other | {"client_email": key["client_email"]}, clock)
    unsigned = assertion(key, clock).rpartition(".")[0] + "."
    for said in (forged, unsigned, "a.b.c", "no claim", ""):
        answer = claimed(server, said)
        assert (answer.status, answer.json["error"]) == (400, "invalid_grant"), said
    assert claimed(server, assertion(key, clock)).status == 200
