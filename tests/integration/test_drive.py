"""Google Drive from our side: downloads that break off, tokens that end, credentials that cannot be used, consent."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drive_faults import Fault, corrupted, internal_error, refused, reset, stall, unauthorized, unavailable
from drive_server import DriveServer, serving_drive
from drive_state import DriveState
from drives import CHUNK, DAY, HASTY, QUICK, Place
from tracewatchd.edges.drive_auth import Login, ServiceAccount, Tokens, read_client, read_grant
from tracewatchd.edges.drive_http import BusyError, Http, opened_session
from tracewatchd.edges.drive_login import log_in
from tracewatchd.model.drive import TransferProgress
from tracewatchd.model.errors import ConfigError, PermanentError, TransientError

# ---------------------------------------------------------------------------------------------------------------------
# Downloads


async def uploaded(place: Place) -> bytes:
    """A zip that is on Drive; its bytes."""
    path, _ = place.put()
    async with place.uploads() as uploads:
        await uploads.carry_out(DAY)
    return path.read_bytes()


def left_in(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_file()]


async def test_a_zip_comes_back(tmp_path: Path) -> None:
    """What is fetched is what was uploaded, chunk by chunk, and nothing else is left beside it."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        content = await uploaded(place)
        target, seen = tmp_path / "new" / "day.zip", list[TransferProgress]()
        async with place.drive() as drive:
            file = await drive.fetch_zip(DAY, target, seen.append)
        assert target.read_bytes() == content
        assert left_in(target.parent) == [target]
        assert file.zip_sha256 == file.sha256_checksum
        assert [progress.done_bytes for progress in seen] == [CHUNK, 2 * CHUNK, 3 * CHUNK, len(content)]
        assert len(server.asked("files.download")) == 4


@pytest.mark.parametrize(
    "fault",
    [
        unavailable(on="files.download"),
        internal_error(on="files.download", skip=1),
        unauthorized(on="files.download", skip=1),
        reset(CHUNK // 2, on="files.download"),
        stall(CHUNK // 2, on="files.download"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status} {fault.reason}",
)
async def test_a_download_in_bad_weather(tmp_path: Path, fault: Fault) -> None:
    """A fault costs one chunk; the bytes are right in the end."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server, timeout_s=0.5)
        content = await uploaded(place)
        server.faults.add(Fault(**vars(fault)))
        target = tmp_path / "day.zip"
        async with place.drive() as drive:
            await drive.fetch_zip(DAY, target)
        assert target.read_bytes() == content
        assert server.faults.left == []
        assert len(server.asked("files.download")) == 5


async def test_a_broken_download_goes_on(tmp_path: Path) -> None:
    """What has arrived waits unseen, and the next download asks for the rest only."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        content = await uploaded(place)
        server.faults.add(unavailable(on="files.download", skip=2, times=1_000))
        target = tmp_path / "out" / "day.zip"
        place.patience = HASTY
        async with place.drive() as drive:
            with pytest.raises(TransientError, match="did not give a part of a file"):
                await drive.fetch_zip(DAY, target)
        assert not target.exists()
        assert [path.stat().st_size for path in left_in(target.parent)] == [2 * CHUNK]
        server.faults._faults.clear()
        server.requests.clear()
        async with place.drive() as drive:
            await drive.fetch_zip(DAY, target)
        assert target.read_bytes() == content
        assert server.asked("files.download")[0].headers["Range"] == f"bytes={2 * CHUNK}-{3 * CHUNK - 1}"


async def test_bytes_that_changed_on_the_way(tmp_path: Path) -> None:
    """A download with another checksum is thrown away and told; what lies at the target already stays."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        await uploaded(place)
        server.faults.add(corrupted(on="files.download"))
        target = tmp_path / "out" / "day.zip"
        target.parent.mkdir()
        target.write_bytes(b"what was there")
        async with place.drive() as drive:
            with pytest.raises(PermanentError, match="another checksum than Drive says"):
                await drive.fetch_zip(DAY, target)
        assert left_in(target.parent) == [target]
        assert target.read_bytes() == b"what was there"


async def test_an_old_file_is_compared_by_md5(tmp_path: Path) -> None:
    """Where Drive keeps no sha256 the md5 and the size decide, in both directions."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        content = await uploaded(place)
        (file,) = server.drive.named("2026-11-20.zip")
        file.checksums = frozenset({"md5"})
        async with place.drive() as drive:
            await drive.fetch_zip(DAY, tmp_path / "day.zip")
            assert (tmp_path / "day.zip").read_bytes() == content
            server.faults.add(corrupted(on="files.download"))
            with pytest.raises(PermanentError, match="another checksum"):
                await drive.fetch_zip(DAY, tmp_path / "day.zip")


async def test_what_is_not_there_or_not_ours_any_more(tmp_path: Path) -> None:
    """No zip of the day, or one whose bytes somebody replaced on Drive, is refused before anything is fetched."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        async with place.drive() as drive:
            with pytest.raises(PermanentError, match="holds no zip of support-bot/2026-11-20"):
                await drive.fetch_zip(DAY, tmp_path / "day.zip")
            await uploaded(place)
            (file,) = server.drive.named("2026-11-20.zip")
            server.drive._revise(file, b"another")
            with pytest.raises(PermanentError, match="is not what was uploaded"):
                await drive.fetch_zip(DAY, tmp_path / "day.zip")
        assert server.asked("files.download") == []


async def test_a_file_that_is_replaced_meanwhile(tmp_path: Path) -> None:
    """A part of another size than the file had is told, not pasted to what came before."""
    with serving_drive(DriveState()) as server:
        place = Place(tmp_path, server)
        await uploaded(place)
        (file,) = server.drive.named("2026-11-20.zip")

        def replace(progress: TransferProgress) -> None:
            server.drive._revise(file, file.content + b"more")

        async with place.drive() as drive:
            with pytest.raises(PermanentError, match=r"another part of \S+ than was asked for"):
                await drive.fetch_zip(DAY, tmp_path / "day.zip", replace)


# ---------------------------------------------------------------------------------------------------------------------
# Tokens


async def test_one_token_for_all_and_another_when_it_ends(tmp_path: Path) -> None:
    """A token is asked for once, renewed before its end, and only once for all who find it refused."""
    now_s = 1_000_000.0
    with serving_drive(DriveState()) as server:
        grant = Login(read_client(_client_file(server, tmp_path)), server.oauth.user_credentials()["refresh_token"])
        async with opened_session() as session:
            tokens = Tokens(grant, Http(session, timeout_s=5), QUICK, clock=lambda: now_s)
            first = await tokens.current()
            assert await tokens.current() == first
            now_s += 3_600 - 59
            second = await tokens.current()
            assert second != first
            renewed = await asyncio.gather(*(tokens.instead_of(second) for _ in range(5)))
            assert len(set(renewed) - {second}) == 1
        assert server.oauth.issued == 3


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_key_that_google_does_not_know(tmp_path: Path, status: int) -> None:
    """Credentials that are refused end at once, with what to do; they stand in no text."""
    with serving_drive(DriveState(), faults=[]) as server:
        key = server.oauth.service_account()
        server.oauth._keys.clear()
        server.faults.add(Fault("refuse", on="oauth.token", status=status, times=status - 400))
        async with opened_session() as session:
            tokens = Tokens(ServiceAccount(key, tmp_path), Http(session, timeout_s=5), QUICK)
            with pytest.raises(PermanentError, match="does not accept these credentials") as failed:
                await tokens.current()
        assert "service account another key" in failed.value.hint
        assert len(server.asked("oauth.token")) == 1


def _client_file(server: DriveServer, directory: Path) -> Path:
    path = directory / "client.json"
    path.write_text(json.dumps(server.oauth.client_secrets()))
    return path


def test_which_credentials_are_used(tmp_path: Path) -> None:
    """A service account's key or a login of Google's tools wins; an OAuth client needs a login of ours."""
    with serving_drive(DriveState()) as server:
        key, login, token = tmp_path / "key.json", tmp_path / "adc.json", tmp_path / "token.json"
        key.write_text(json.dumps(server.oauth.service_account()))
        login.write_text(json.dumps(server.oauth.user_credentials()))
        client = _client_file(server, tmp_path)
        assert isinstance(read_grant(key, token), ServiceAccount)
        assert isinstance(read_grant(login, token), Login)
        with pytest.raises(ConfigError, match="nobody has logged in yet") as failed:
            read_grant(client, token)
        assert failed.value.hint == "Log in with `tracewatchd archive drive login`."
        Login(read_client(client), "1//refresh").save(token)
        assert isinstance(read_grant(client, token), Login)
        assert isinstance(read_grant(None, token), Login)
        assert stat.S_IMODE(token.stat().st_mode) == 0o600


INSECURE = """{"type": "authorized_user", "refresh_token": "SECRET", "client_id": "a", "client_secret": "SECRET",
    "token_uri": "http://example.org/token"}"""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there are no credentials for Google Drive"),
        ("{", "is not JSON"),
        ("[]", "holds no credentials"),
        ('{"type": "external_account"}', "credentials of another kind"),
        ('{"type": "service_account", "private_key": "SECRET"}', "no usable key"),
        ('{"type": "authorized_user", "client_id": "a", "client_secret": "SECRET"}', "no refresh token"),
        ('{"type": "authorized_user", "refresh_token": "SECRET"}', "no OAuth client"),
        (INSECURE, "is not https"),
    ],
)
def test_credentials_that_cannot_be_used(tmp_path: Path, content: str | None, told: str) -> None:
    """Each ends with a sentence that names the file, a hint, and no secret."""
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=told) as failed:
        read_grant(path if content is not None else None, tmp_path / "token.json")
    assert failed.value.hint
    assert "SECRET" not in str(failed.value)
    assert content is None or str(path) in str(failed.value)


def test_a_credentials_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is named and not there is told by its name, and so is that none is named where one is needed."""
    with pytest.raises(ConfigError, match=r"missing\.json: cannot be read: No such file"):
        read_grant(tmp_path / "missing.json", tmp_path / "token.json")
    with pytest.raises(ConfigError, match="no OAuth client is named"):
        read_client(None)


# ---------------------------------------------------------------------------------------------------------------------
# Consent


async def consent(
    server: DriveServer, directory: Path, browser: Callable[[str], object], *, within_s: float = 20
) -> Login:
    """A login in which this browser is shown the address."""
    loop = asyncio.get_running_loop()

    def show(address: str) -> None:
        loop.run_in_executor(None, browser, address)

    async with opened_session() as session:
        return await log_in(
            read_client(_client_file(server, directory)),
            Http(session, timeout_s=5),
            QUICK,
            show=show,
            within_s=within_s,
        )


def browse(address: str) -> str:
    """What a browser shows in the end."""
    with urllib.request.urlopen(address, timeout=10) as page:  # noqa: S310 - a loopback server of this test
        return str(page.read().decode())


async def test_consent_gives_a_lasting_login(tmp_path: Path) -> None:
    """The browser is asked with a state and a PKCE challenge, and what comes back is a login that gives tokens."""
    pages: list[str] = []
    with serving_drive(DriveState()) as server:
        login = await consent(server, tmp_path, lambda address: pages.append(browse(address)))
        assert "You can close this page" in pages[0]
        (asked,) = server.asked("oauth.authorize")
        assert asked.query["code_challenge_method"] == "S256"
        assert len(asked.query["state"]) >= 43
        assert urlsplit(asked.query["redirect_uri"]).hostname == "127.0.0.1"
        async with opened_session() as session:
            assert await Tokens(login, Http(session, timeout_s=5), QUICK).current()


async def test_an_answer_to_another_question(tmp_path: Path) -> None:
    """A page that comes back without our state is refused, and the right one is still waited for."""
    with serving_drive(DriveState()) as server:

        def attacked(address: str) -> None:
            back = parse_qs(urlsplit(address).query)["redirect_uri"][0]
            for query in ("", "?code=theirs", "?code=theirs&state=wrong"):
                with pytest.raises(urllib.error.HTTPError, match="400"):
                    browse(back + query)
            browse(address)

        assert isinstance(await consent(server, tmp_path, attacked), Login)
        assert b"theirs" not in b"".join(request.said for request in server.requests)


async def test_consent_that_is_not_given(tmp_path: Path) -> None:
    """A user who says no, and nobody who says anything, end with a sentence; nothing is kept."""
    with serving_drive(DriveState()) as server:
        server.oauth.consents = False
        with pytest.raises(PermanentError, match="was not given"):
            await consent(server, tmp_path, browse)
        with pytest.raises(TransientError, match=r"nobody answered in the browser within 0\.05 s"):
            await consent(server, tmp_path, lambda _: None, within_s=0.05)


async def test_consent_without_lasting_access(tmp_path: Path) -> None:
    """A token that cannot be renewed is no login."""
    with serving_drive(DriveState()) as server, pytest.raises(PermanentError, match="no lasting access"):
        await consent(server, tmp_path, lambda address: browse(address.replace("offline", "online")))


# ---------------------------------------------------------------------------------------------------------------------
# The edge itself


async def test_answers_that_are_not_drives(tmp_path: Path) -> None:
    """Bytes that are no JSON, an answer without end and an address that is none are told without a traceback."""
    with serving_drive(DriveState()) as server:
        await uploaded(Place(tmp_path, server))
        (file,) = server.drive.named("2026-11-20.zip")
        media = f"{server.url}/drive/v3/files/{file.id}?alt=media"
        async with opened_session() as session:
            http = Http(session, timeout_s=5)
            headers = {"Authorization": f"Bearer {next(iter(server.oauth._access))}"}
            with pytest.raises(PermanentError, match="more than 1000 bytes was not asked for"):
                await http.once("GET", media, headers=headers, limit_bytes=1_000)
            answer = await http.once("GET", media, headers=headers)
            with pytest.raises(PermanentError, match="is not what Google Drive says"):
                answer.decoded(dict)
            with pytest.raises(PermanentError, match="cannot be used"):
                await http.once("GET", "http://[")
            with pytest.raises(BusyError, match="no answer from"):
                await http.once("GET", "http://127.0.0.1:1/secret")


async def test_a_list_in_circles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list whose pages do not end is given up."""
    monkeypatch.setattr("tracewatchd.edges.drive._PAGE_FILES", 1)
    monkeypatch.setattr("tracewatchd.edges.drive._PAGES", 2)
    with serving_drive(DriveState()) as server:
        for _ in range(3):
            properties = {"kind": "tracewatchd.day-zip", "archive": server.drive.root_id}
            server.drive.add_file("zip", b"", app_properties=properties)
        async with Place(tmp_path, server).drive() as drive:
            with pytest.raises(PermanentError, match="does not end"):
                await drive.zips()


async def test_a_folder_that_may_not_be_looked_at(tmp_path: Path) -> None:
    """What is wrong with the archive's folder besides its absence is told as Drive says it."""
    with serving_drive(DriveState(), faults=[refused("insufficientFilePermissions", on="files.get")]) as server:
        async with Place(tmp_path, server).drive() as drive:
            with pytest.raises(PermanentError, match="insufficientFilePermissions"):
                await drive.archive()


def certificate(directory: Path) -> Path:
    """A certificate that nobody has signed but itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    form = serialization.PrivateFormat.PKCS8
    path = directory / "stranger.pem"
    path.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
    return path


async def test_a_certificate_that_cannot_be_trusted(tmp_path: Path) -> None:
    """A server that is not who it says ends the attempt for good, with a hint at proxies."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, opened_session() as session:
        with pytest.raises(PermanentError, match=rf"the certificate of 127\.0\.0\.1:{port} cannot be trusted"):
            await Http(session, timeout_s=5).once("GET", f"https://127.0.0.1:{port}/")
