"""What the doctor says of the machine: room on disks, limits of the process, the systemd unit, and open secrets."""

from __future__ import annotations

import resource
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tracewatchd.edges.disk import Room, existing, room_for
from tracewatchd.edges.filesystem import file_system_of
from tracewatchd.edges.permissions import Closed, closed_level, is_open_to_all, our_user
from tracewatchd.edges.systemd_unit import UNIT, Unit, loaded_unit
from tracewatchd.model.diagnosis import Severity, Trouble
from tracewatchd.service.assemble import longest_wait_s
from tracewatchd.service.doctor import Check, in_thread
from tracewatchd.settings import MASK, SETTINGS, Loaded, Settings

_MIB = 1 << 20
_TOO_LITTLE_BYTES = 256 * _MIB
_LITTLE_BYTES = 1024 * _MIB
_FEW_FILES_SHARE = 0.05
_FILES_OF_ITS_OWN = 256
_FILES_PER_ROOT = 16
_STOPPING_S = 10.0
"""Beside the drain, a stop closes connections and stops an embedded server."""
_WATCHDOG_TIMES = 3
_CREDENTIALS = "LoadCredential=tracewatchd:/etc/tracewatchd/credentials"
_PROGRAM = "/opt/tracewatchd/bin/tracewatchd"
"""Both as in the shipped unit."""
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_HIDING = frozenset({"yes", "true", "tmpfs"})
_FILES_OF_SECRETS = ("drive.credentials_file", "drive.token_file")


class Kept(NamedTuple):
    """A directory that we write into: what it is for, and the setting that moves it elsewhere.

    One that is not named by that setting counts once it is there.
    """

    purpose: str
    path: Path
    setting: str
    is_database: bool = False
    is_named: bool = True


def machine_checks(loaded: Loaded, kept: Iterable[Kept]) -> list[Check]:
    """The checks of the machine that need nobody else."""
    settings = loaded.settings
    return [
        *(Check(f"disk {one.path}", partial(_disk, one)) for one in kept),
        Check("limits", partial(_limits, settings)),
        Check("systemd", partial(_systemd, settings)),
        Check("secrets", partial(_secrets, loaded)),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Disks


async def _disk(kept: Kept) -> list[Trouble]:
    return await in_thread(partial(kept_troubles, kept))


def kept_troubles(kept: Kept) -> list[Trouble]:
    """Whether we may write there, whether there is room, and whether what is written stays; blocks."""
    closed = closed_level(kept.path, "rwx")
    if closed is not None and closed.is_missing:
        if not kept.is_named:
            return []
        closed = closed_level(existing(kept.path), "wx")
    if closed is not None:
        return [_closed(kept, closed)]
    return [*room_troubles(kept, room_for(kept.path)), *_lasting(kept)]


def _closed(kept: Kept, closed: Closed) -> Trouble:
    user = our_user()
    return Trouble(
        "permissions",
        "error",
        f"{kept.purpose} in {kept.path}: user {user} may not write into {closed.path} (mode {closed.mode}, owner"
        f" {closed.owner})",
        f"`chown {user} {shlex.quote(str(closed.path))}`, or let {kept.setting} name another directory",
    )


def room_troubles(kept: Kept, room: Room) -> Iterator[Trouble]:
    """Whether there is room, in bytes and in files."""
    name = kept.setting
    remedy = f"make room on the disk of {room.path} (`df -h {shlex.quote(str(room.path))}`), or let {name} name another"
    if room.free_bytes < _LITTLE_BYTES:
        severity: Severity = "error" if room.free_bytes < _TOO_LITTLE_BYTES else "warning"
        yield Trouble(
            "disk",
            severity,
            f"the disk of {kept.purpose} in {kept.path} has {room.free_bytes // _MIB} MiB left",
            remedy,
        )
    if room.files_share < _FEW_FILES_SHARE:
        yield Trouble(
            "disk",
            "warning",
            f"the disk of {kept.purpose} in {kept.path} has {room.files_share:.1%} of its inodes left",
            remedy.replace("df -h", "df -i"),
        )


def _lasting(kept: Kept) -> Iterator[Trouble]:
    place = existing(kept.path)
    if not place.is_dir():
        yield Trouble(
            "permissions",
            "error",
            f"{kept.purpose} in {kept.path}: {place} is no directory",
            f"let {kept.setting} name another one",
        )
    found = file_system_of(place)
    if found.kind == "overlay" or (kept.is_database and not found.sends_events):
        why = "ends with the container" if found.kind == "overlay" else "does not sync as a database needs it"
        yield Trouble(
            "file system",
            "warning",
            f"{kept.purpose} in {kept.path} lies on {found.kind}, which {why}",
            f"mount a volume of a local disk there, or let {kept.setting} name a directory on one",
        )


# ---------------------------------------------------------------------------------------------------------------------
# Limits


def files_needed(settings: Settings) -> int:
    """Descriptors that the daemon may want at once, with room to spare."""
    return _FILES_OF_ITS_OWN + settings.database.connections + _FILES_PER_ROOT * len(settings.watch.roots)


async def _limits(settings: Settings) -> list[Trouble]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = files_needed(settings)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return []
    return [
        Trouble(
            "limits",
            "error",
            f"this process may open {soft} files, but the daemon may want {needed}",
            f"`ulimit -n {2 * needed}` before it is started, or LimitNOFILE={2 * needed} in its unit",
        )
    ]


async def _systemd(settings: Settings) -> list[Trouble]:
    unit = await in_thread(loaded_unit)
    return list(unit_troubles(unit, settings)) if unit else []


def unit_troubles(unit: Unit, settings: Settings) -> Iterator[Trouble]:
    """Whether the installed unit lets the daemon do what the settings say."""
    edit = f"`systemctl edit {UNIT}`: [Service]"
    needed, shutdown_s = files_needed(settings), settings.service.shutdown_s
    if unit.open_files is not None and unit.open_files < needed:
        yield Trouble(
            "systemd",
            "error",
            f"{UNIT} lets the daemon open {unit.open_files} files, but it may want {needed}",
            f"{edit} LimitNOFILE={2 * needed}",
        )
    if unit.stop_s < shutdown_s + _STOPPING_S:
        yield Trouble(
            "systemd",
            "warning",
            f"{UNIT} is killed {unit.stop_s:g} s after a stop, but service.shutdown_s lets it drain for"
            f" {shutdown_s:g} s",
            f"{edit} TimeoutStopSec={shutdown_s + 3 * _STOPPING_S:g}",
        )
    longest_s = longest_wait_s(settings)
    if unit.watchdog_s < _WATCHDOG_TIMES * longest_s:
        yield Trouble(
            "systemd",
            "warning",
            f"{UNIT} is killed after {unit.watchdog_s:g} s without a sign of life, but a wait that is no hang may take"
            f" {longest_s:g} s (service.stuck_s, database.commit_timeout_s and database.connect_timeout_s together)",
            f"{edit} WatchdogSec={_WATCHDOG_TIMES * longest_s:g}",
        )
    hidden = [root.path for root in settings.watch.roots if any(root.path.is_relative_to(home) for home in _HOMES)]
    if hidden and unit.protect_home in _HIDING:
        yield Trouble(
            "systemd",
            "error",
            f"{UNIT} hides {hidden[0]} from the daemon (ProtectHome={unit.protect_home})",
            f"{edit} ProtectHome=read-only",
        )
    if unit.user not in {"", our_user()}:
        yield Trouble(
            "systemd",
            "note",
            f"{UNIT} runs as user {unit.user}, but the doctor looked as {our_user()}, who may do other things"
            " and may not have its credentials",
            f"`systemd-run --quiet --pipe --wait --uid={unit.user} --property={_CREDENTIALS} {_PROGRAM} doctor`",
        )


# ---------------------------------------------------------------------------------------------------------------------
# Secrets


async def _secrets(loaded: Loaded) -> list[Trouble]:
    return await in_thread(lambda: list(secret_troubles(loaded)))


def secret_troubles(loaded: Loaded) -> Iterator[Trouble]:
    """Files that hold a secret and may be read by everybody on the machine; blocks."""
    for path, keys in _files_of_secrets(loaded).items():
        if is_open_to_all(path):
            yield Trouble(
                "secrets",
                "warning",
                f"{path} holds {' and '.join(keys)} and may be read by everybody on this machine",
                f"`chmod o= {shlex.quote(str(path))}`",
            )


def _files_of_secrets(loaded: Loaded) -> Mapping[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    shown = loaded.shown()
    for key, origin in loaded.origins.items():
        # A masked value is a secret; an address without a password is none.
        if SETTINGS[key].secret and MASK in str(shown[key]):
            for kind in ("file ", "secret file "):
                if origin.startswith(kind):
                    found.setdefault(Path(origin.removeprefix(kind)), []).append(key)
        elif key in _FILES_OF_SECRETS and shown[key]:
            found.setdefault(Path(str(shown[key])), []).append(key)
    return found
