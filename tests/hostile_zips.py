"""Zips that are not to be believed: how each is made, and the sentence that refuses it."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracewatchd.model.manifest import MANIFEST_NAME, MAX_FILES
from zips import Forged, manifest, with_manifest, write_good

TWO = {"a.json": b'{"a": 1}' * 50, "b.json": b"{}"}
"""The files of the honest zip that most are made from."""


def forged(members: list[tuple[str, bytes]], **chosen: Any) -> Callable[[Path], None]:
    return Forged(members, **chosen).write


def patched(before: bytes, after: bytes, members: list[tuple[str, bytes]]) -> Callable[[Path], None]:
    """A zip in whose bytes one text is replaced by another of its length."""

    def write(path: Path) -> None:
        Forged(members).write(path)
        path.write_bytes(path.read_bytes().replace(before, after))

    return write


def bytes_of(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def good_but(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_good(path, TWO)
        path.write_bytes(change(path.read_bytes()))

    return write


def claimed(**chosen: int) -> Callable[[dict[str, zipfile.ZipInfo]], None]:
    """What the zip's directory claims of b.json."""

    def change(infos: dict[str, zipfile.ZipInfo]) -> None:
        for name, value in chosen.items():
            setattr(infos["b.json"], name, value)

    return change


def rotten(whole: bytes) -> bytes:
    """The last file's bytes are others, as they are compressed."""
    at = whole.rindex(b"b.json", 0, whole.index(b"PK\1\2")) + len("b.json")
    return whole[:at] + b"\0" + whole[at + 1 :]


def stacked(infos: dict[str, zipfile.ZipInfo]) -> None:
    infos["b.json"].header_offset = infos["a.json"].header_offset


def absurd(path: Path) -> None:
    """The end of a zip that claims five million members."""
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 5_000_000, 5_000_000, 1 << 40, 0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(b"PK\3\4" + end64 + struct.pack("<4sLQL", b"PK\6\7", 0, 4, 1) + end)


HONEST = with_manifest(manifest(TWO), TWO)
SPACES = [(MANIFEST_NAME, HONEST[0][1] + b" " * 100_000), *HONEST[1:]]

HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (bytes_of(b""), "does not end as a zip of a day does"),
    "no zip": (bytes_of(b"this is a note, not a zip\n" * 9), "does not end as a zip of a day does"),
    "cut off": (good_but(lambda whole: whole[:-30]), "does not end as a zip of a day does"),
    "only its end": (good_but(lambda whole: whole[-22:]), "damaged"),
    "a comment": (good_but(lambda whole: whole[:-2] + b"\3\0abc"), "does not end as a zip of a day does"),
    "made by another program": (forged([*TWO.items()]), "it has no MANIFEST.json"),
    "no manifest in it": (forged([(MANIFEST_NAME, b"# Contents\n"), *TWO.items()]), "manifest cannot be read"),
    "climbing out": (forged([*HONEST, ("../x.json", b"{}")]), r"'\.\./x\.json' is in the zip, and not in the manifest"),
    "climbing out, and manifest too": (
        forged(with_manifest(manifest({"../x.json": b"{}"}), {"../x.json": b"{}"})),
        r"no file of a day is called '\.\./x\.json'",
    ),
    "an absolute path": (
        forged(with_manifest(manifest({"/etc/x.json": b"{}"}), {"/etc/x.json": b"{}"})),
        "no file of a day is called",
    ),
    "a drive": (forged([*HONEST, ("C:\\x.json", b"{}")]), "is in the zip, and not in the manifest"),
    "backslashes": (
        forged(with_manifest(manifest({"a\\..\\x.json": b"{}"}), {"a\\..\\x.json": b"{}"})),
        "is in the manifest, and not in the zip",
    ),
    "a directory": (forged([*HONEST, ("sub/", b"")]), "is in the zip, and not in the manifest"),
    "a NUL in a name": (patched(b"b.json", b"\0.json", with_manifest(manifest({}), {"b.json": b""})), "is no name of"),
    "a symlink": (forged(HONEST, mode=0o120777 << 16), "'a.json' is no regular file"),
    "a name twice": (forged([*HONEST, HONEST[-1]]), "'b.json' stands in it twice"),
    "encrypted": (forged(HONEST, before_close=claimed(flag_bits=1)), "'b.json' is encrypted$"),
    "flags of other programs": (forged(HONEST, before_close=claimed(flag_bits=8)), "'b.json' has flags that no member"),
    "another method": (forged(HONEST, method=zipfile.ZIP_STORED), "is compressed in a way"),
    "a bomb": (forged(HONEST, before_close=claimed(file_size=1 << 40)), "claims 1099511627776 bytes out of"),
    "members that share bytes": (forged(HONEST, before_close=stacked), "overlaps what comes after it"),
    "a manifest full of spaces": (forged(SPACES), "its manifest would have"),
    "absurd counts": (absurd, f"claims 5000000 members .* {MAX_FILES} files is the limit"),
    "a file less": (forged(HONEST[:-1]), "'b.json' is in the manifest, and not in the zip"),
    "a file more": (forged([*HONEST, ("c.json", b"{}")]), "'c.json' is in the zip, and not in the manifest"),
    "a file of another size": (forged([*HONEST[:-1], ("b.json", b"{ }")]), "has 3 bytes in the zip and 2 in the manif"),
    "other bytes": (forged([*HONEST[:-1], ("b.json", b"[]")]), "b.json: its bytes are not those that the manifest"),
    "bytes that rotted": (good_but(rotten), "b.json: the zip is damaged"),
}
