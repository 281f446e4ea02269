"""An HTTPS proxy on loopback that is itself the host that it is asked for, with a certificate of its own making.

A client that trusts the certificate and uses the proxy talks to a plain HTTP server of ours where it means
www.googleapis.com. Connections to any other host are refused, so that nothing leaves loopback.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PIECE_BYTES = 65_536
_PATIENCE_S = 30.0


def certificate(place: Path, host: str) -> Path:
    """A certificate for a host that is its own authority, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return place


class ConnectProxy:
    """Answers CONNECT for one host and passes what is said inside to a port of loopback."""

    def __init__(self, host: str, port: int, certificate: Path) -> None:
        self._host = host
        self._target = ("127.0.0.1", port)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.refused: list[str] = []
        """Hosts that were asked for and are not ours."""
        self._start(self._accept)

    def _start(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._meet, self._listening.accept()[0])

    def _meet(self, client: socket.socket) -> None:
        self._open.add(client)
        with suppress(OSError):
            head = self._head(client)
            host = head.split(" ")[1].partition(":")[0] if head.startswith("CONNECT ") else head[:80]
            if host != self._host:
                self.refused.append(host)
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                client.close()
                return
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            inside = self._tls.wrap_socket(client, server_side=True)
            there = socket.create_connection(self._target, _PATIENCE_S)
            there.settimeout(None)
            self._open |= {inside, there}
            self._start(self._pass, inside, there)
            self._pass(there, inside)

    def _head(self, client: socket.socket) -> str:
        head = b""
        while b"\r\n\r\n" not in head and (piece := client.recv(1)):
            head += piece
        return head.decode()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break everything and stop."""
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        for one in (self._listening, *self._open):
            one.close()


@contextmanager
def connect_proxy(host: str, port: int, certificate: Path) -> Iterator[ConnectProxy]:
    """A proxy for the length of the block."""
    proxy = ConnectProxy(host, port, certificate)
    try:
        yield proxy
    finally:
        proxy.close()
