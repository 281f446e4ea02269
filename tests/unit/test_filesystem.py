"""What the kernel's list of mounts says about a root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracewatchd.edges import filesystem
from tracewatchd.edges.filesystem import FileSystem, file_system_of

NEW, OLD = "6.18.5-generic", "6.12.9"


def mount(point: str, kind: str) -> str:
    """One line of mountinfo, with the optional fields that some mounts have."""
    return f"36 35 98:0 / {point} rw,noatime shared:1 master:2 - {kind} /dev/x rw,errors=continue\n"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse", "fuse.sshfs", "fuseblk"])
def test_file_systems_without_events_are_known(tmp_path: Path, kind: str) -> None:
    """Network and FUSE file systems are polled, and their clocks are taken to be coarse."""
    assert file_system_of(tmp_path, mounts=mount("/", kind), release=NEW) == FileSystem(kind, False, 2.0)  # noqa: FBT003 - a tuple's field


@pytest.mark.parametrize(
    ("kind", "release", "grain_s"),
    [
        ("ext4", NEW, 0.0),
        ("xfs", "6.13.0", 0.0),
        ("tmpfs", "7.0", 0.0),
        ("ext4", OLD, 2.0),
        ("overlay", NEW, 2.0),
        ("ext4", "no number", 2.0),
    ],
)
def test_local_file_systems_send_events(tmp_path: Path, kind: str, release: str, grain_s: float) -> None:
    """They are watched; only new kernels on file systems with fine stamps need no second look."""
    found = file_system_of(tmp_path, mounts=mount("/", kind), release=release)
    assert found == FileSystem(kind, True, grain_s)  # noqa: FBT003 - a tuple's field


def test_the_innermost_and_last_mount_counts(tmp_path: Path) -> None:
    """The longest mount point above a path holds it; of two on one point the later one covers the earlier."""
    (tmp_path / "in").mkdir()
    (tmp_path / "inner").mkdir()
    mounts = mount("/", "ext4") + mount(f"{tmp_path}/in", "xfs") + mount(f"{tmp_path}/in", "nfs4")
    assert file_system_of(tmp_path / "in", mounts=mounts).kind == "nfs4"
    assert file_system_of(tmp_path / "inner", mounts=mounts).kind == "ext4"
    assert file_system_of(tmp_path, mounts=mounts).kind == "ext4"


def test_mount_points_are_unescaped_and_links_followed(tmp_path: Path) -> None:
    r"""A space stands as \040 in the list; a root that is a symlink lies where it points."""
    place = tmp_path / "two words"
    place.mkdir()
    (tmp_path / "link").symlink_to(place)
    mounts = mount("/", "ext4") + mount(str(place).replace(" ", "\\040"), "nfs")
    assert file_system_of(tmp_path / "link", mounts=mounts).kind == "nfs"


@pytest.mark.parametrize("mounts", ["", "garbage\n", "1 2 3 - ext4 x rw\n", "36 35 98:0 / / rw no separator\n"])
def test_an_unreadable_list_means_unknown(tmp_path: Path, mounts: str) -> None:
    """What cannot be understood is watched all the same, with a coarse clock."""
    assert file_system_of(tmp_path, mounts=mounts, release=NEW) == FileSystem("unknown", True, 2.0)  # noqa: FBT003 - a tuple's field


def test_the_list_comes_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here and now the kernel names a file system; where its list is missing, it is unknown."""
    assert file_system_of(tmp_path).kind != "unknown"
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "missing")
    assert file_system_of(tmp_path).kind == "unknown"
