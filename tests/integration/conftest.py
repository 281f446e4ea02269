"""Fixtures of the integration tests."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sweeps import Opening, Source, source


@pytest.fixture
def opened(root: Path, database: str) -> Opening:
    """Open the source; settings by keyword with ``__`` for the dot."""

    def open_it(**chosen: object) -> AbstractAsyncContextManager[Source]:
        return source(root, database, {key.replace("__", "."): value for key, value in chosen.items()})

    return open_it
