"""Claims on paths: one holder at a time, and none that outlives its process."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tracewatchd.edges.claiming import Claim
from tracewatchd.model.errors import PermanentError, TransientError


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """A second is refused while the first holds it, and gets it afterwards, with whatever is in the file."""
    path = tmp_path / ".part"
    with Claim(path) as claim:
        os.write(claim.descriptor, b"some")
        with pytest.raises(TransientError, match=f"{tmp_path}: another process is at work there and holds .part"):
            Claim(path)
    with Claim(path) as claim:
        assert os.read(claim.descriptor, 9) == b"some"
        claim.remove()
    assert not path.exists()


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    """A process that ends in the middle leaves the path to the next."""
    path = tmp_path / ".part"
    child = os.fork()
    if not child:
        Claim(path)
        os._exit(0)
    os.waitpid(child, 0)
    with Claim(path):
        assert path.exists()


def test_a_file_that_was_moved_away_is_not_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its last holder put in its place between opening and locking is not touched: the path is claimed anew."""
    path = tmp_path / ".part"
    lock = fcntl.flock
    moved: list[Path] = []

    def late(descriptor: int, operation: int) -> None:
        lock(descriptor, operation)
        if not moved:
            moved.append(path.rename(tmp_path / "done"))

    monkeypatch.setattr(fcntl, "flock", late)
    with Claim(path) as claim:
        os.write(claim.descriptor, b"mine")
        assert (tmp_path / "done").read_bytes() == b""
        path.rename(tmp_path / "also done")
        path.write_bytes(b"another's")
        claim.remove()
    assert path.read_bytes() == b"another's"
    assert (tmp_path / "also done").read_bytes() == b"mine"


def test_what_cannot_be_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symlink, a missing directory, a file system without locks: permanent, with the place."""
    (tmp_path / "link").symlink_to("elsewhere")
    for path in (tmp_path / "link", tmp_path / "missing" / ".part"):
        with pytest.raises(PermanentError, match=f"{path.parent}: cannot write {path.name}"):
            Claim(path)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(PermanentError, match="not supported"):
        Claim(tmp_path / ".part")
