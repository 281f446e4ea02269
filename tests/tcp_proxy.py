"""A TCP proxy in front of a unix socket that a test can turn into a black hole or cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_CHUNK_BYTES = 65_536


class TcpProxy:
    """Passes bytes between a port of the loopback interface and a socket, until told otherwise."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._passing = asyncio.Event()
        self._passing.set()
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.accepted = 0

    def swallow(self) -> None:
        """From now on nothing arrives anywhere, and nobody is told."""
        self._passing.clear()

    def passes_again(self) -> None:
        """End the black hole; what was held back arrives."""
        self._passing.set()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, there_writer}
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            self._links.add(asyncio.create_task(self._pass(source, sink)))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                await self._passing.wait()
                sink.write(chunk)
                await sink.drain()
        await self._passing.wait()
        sink.close()

    async def close(self) -> None:
        """Break everything and stop."""
        self.cut()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)


@asynccontextmanager
async def tcp_proxy(target: Path) -> AsyncIterator[TcpProxy]:
    """A proxy for the length of the block."""
    proxy = TcpProxy(target)
    server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
