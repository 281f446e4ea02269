"""Over TLS to a server with a certificate of our own making."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import Server
from run_files import run_id
from running import eventually
from stores import SOURCE, database_at, opened, version
from tcp_proxy import tcp_proxy
from tracewatchd.model.errors import PermanentError, TransientError
from tracewatchd.store.server_binaries import environment


def certificate(directory: Path, name: str, host: str) -> Path:
    """A self-signed certificate for a host, and its key beside it."""
    made = directory / f"{name}.crt"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
            "-keyout", str(made.with_suffix(".key")), "-out", str(made),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return made


class TlsServer(Server):
    """A server on a port of the loopback interface, since Postgres speaks no TLS on unix sockets."""

    port = 0

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = f"-cport={self.port} -clisten_addresses=127.0.0.1 -cunix_socket_directories= -cssl=on".split()
        command = self.binaries.command("postgres", "-D", str(self.data), *options, death_signal=signal.SIGQUIT)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd="/", env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._ready, why=self.log.read_text)

    def has(self, certificate: Path) -> None:
        """Use this certificate, and let nobody in without TLS."""
        for path in (certificate, certificate.with_suffix(".key")):
            place = self.data / f"server{path.suffix}"
            place.write_bytes(path.read_bytes())
            place.chmod(0o600)
            self._hand_over(place)
        (self.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")

    def url(self, mode: str, authority: Path | None = None, host: str = "localhost") -> str:
        root = f"&sslrootcert={authority}" if authority else ""
        return f"postgresql://tracewatchd@{host}:{self.port}/postgres?sslmode={mode}{root}"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The server's certificate, which is its own authority, and one that has nothing to do with it."""
    directory = tmp_path_factory.mktemp("certificates")
    return {name: certificate(directory, name, "localhost") for name in ("right", "wrong")}


@pytest.fixture(scope="module")
def encrypted(debian_postgres: Path, authorities: dict[str, Path]) -> Iterator[TlsServer]:
    """A server that lets nobody in without TLS."""
    server = TlsServer(debian_postgres)
    server.has(authorities["right"])
    with server:
        yield server


async def test_the_whole_way_with_a_verified_certificate(encrypted: TlsServer, authorities: dict[str, Path]) -> None:
    """With verify-full and the right authority tables come about and runs are stored, encrypted."""
    url = encrypted.url("verify-full", authorities["right"])
    async with opened(url, migrate=True, schema="secret") as store:
        await store.commit(SOURCE, [version(1)])
        assert run_id(1) in await store.row_versions([run_id(1)])
        async with store._sessions.use() as connection:
            assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@pytest.mark.parametrize(("authority", "host"), [("wrong", "localhost"), ("right", "127.0.0.1")])
async def test_a_certificate_that_does_not_verify_is_refused_at_once(
    encrypted: TlsServer, authorities: dict[str, Path], authority: str, host: str
) -> None:
    """Another authority or another name than the URL's is permanent, waited out by nobody, and hinted at."""
    store = database_at(encrypted.url("verify-full", authorities[authority], host))
    with pytest.raises(PermanentError, match="certificate") as met:
        await store.open(migrate=False, wait=True)
    assert "sslrootcert" in met.value.hint


async def test_what_the_server_refuses_unencrypted_is_permanent(encrypted: TlsServer) -> None:
    """A server that wants TLS says so with its SQLSTATE."""
    with pytest.raises(PermanentError, match="no encryption") as met:
        await database_at(encrypted.url("disable")).open(migrate=False)
    assert met.value.sqlstate == "28000"


async def test_a_server_without_tls_is_told(server: Server) -> None:
    """Where TLS is asked for and the server has none, nothing is sent in the clear."""
    async with tcp_proxy(server.directory / ".s.PGSQL.5432") as proxy:
        with pytest.raises(TransientError, match="SSL"):
            await database_at(f"postgresql://tracewatchd@127.0.0.1:{proxy.port}/postgres?sslmode=require").open(
                migrate=False
            )
