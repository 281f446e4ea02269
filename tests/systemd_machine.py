"""A machine of its own for a test: a real systemd in a container, with the shipped units installed as they are.

Its root file system is an overlay of this machine's, kept in memory, so nothing is written to that; only the
interpreter, the packages and the source are mounted where the units expect an installation.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from running import eventually

REPOSITORY = Path(__file__).parents[1]
PATIENCE_S = 90.0
UNIT = "tracewatchd.service"
CONFIG = "etc/tracewatchd/config.toml"
CREDENTIALS = "etc/tracewatchd/credentials"

_HIERARCHIES = [path for path in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")) if path.is_dir()] or [
    Path("/sys/fs/cgroup")
]
# In mount namespaces of their own, so that the overlay goes with the last process.
_BOOT = """
set -e
for hierarchy in $HIERARCHIES; do mkdir -p "$hierarchy/$NAME"; echo $$ > "$hierarchy/$NAME/cgroup.procs"; done
mount -t tmpfs -o size=1g,mode=755 tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
rm -rf "$WORK"/root/etc/systemd/system/*.wants "$WORK/root/etc/tracewatchd" "$WORK/root/opt" "$WORK/root/run/log"
: > "$WORK/root/etc/machine-id"
make -s -C "$REPOSITORY" install-systemd DESTDIR="$WORK/root"
mkdir -p "$WORK/root/opt/tracewatchd/bin"
install -m 0755 "$PROGRAM" "$WORK/root/opt/tracewatchd/bin/tracewatchd"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet -D "$WORK/root" --machine="$NAME" --boot --register=no --keep-unit --console=pipe \\
  --private-network --resolv-conf=off --timezone=off "$@" systemd.unit=sysinit.target systemd.show_status=0 \\
  systemd.mask=systemd-timesyncd.service systemd.mask=systemd-pstore.service systemd.mask=systemd-firstboot.service
"""
_PROGRAM = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/{python} -IBc '
import sys
sys.path[:0] = ["/opt/source", "/opt/packages"]
from tracewatchd.cli.main import main
main()
' "$@"
"""


def why_not() -> str:
    """Why no machine can be booted here; empty where one can."""
    if os.geteuid() != 0:
        return "a systemd is booted by root alone"
    if shutil.which("systemd-nspawn") is None:
        return "not installed: systemd-container (tests/system-packages installs it)"
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False, timeout=30)
    return "" if done.returncode == 0 else f"no namespaces of our own: {done.stderr.strip()}"


class Machine:
    """A booted systemd, and what runs under it."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.root = Path(f"/proc/{leader}/root")

    def run(self, *words: str, check: bool = True) -> str:
        """What a command prints that runs inside, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "--", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def write(self, path: str, content: str, *, mode: int = 0o644) -> None:
        """A file inside, with the directories above it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)

    def configure(self, sections: Mapping[str, Mapping[str, Any]], *, drop_in: str = "") -> None:
        """Write the configuration, and a drop-in beside the daemon's unit, which stays as it is shipped."""
        tables = (
            f"[{section}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
            for section, table in sections.items()
        )
        self.write(CONFIG, "\n".join(tables))
        self.write(f"etc/systemd/system/{UNIT}.d/test.conf", f"[Service]\n{drop_in}\n")
        self.run("systemctl", "daemon-reload")

    def show(self, name: str, unit: str = UNIT) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def wait_for(self, name: str, wanted: str, unit: str = UNIT) -> None:
        """Wait until a property holds these words."""
        eventually(
            lambda: wanted in self.show(name, unit),
            patience_s=PATIENCE_S,
            every_s=0.1,
            why=lambda: (name, wanted, self.show(name, unit), self.journal(unit)[-6_000:]),
        )

    def journal(self, unit: str = "") -> str:
        """What a unit, or everything, has said so far, systemd's own words about it included."""
        chosen = [f"--unit={unit}"] if unit else []
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", *chosen, check=False)

    def events(self, event: str, unit: str = UNIT) -> list[dict[str, Any]]:
        """The events of this name that a unit has logged so far."""
        lines = self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}", check=False).splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in found if one["event"] == event]

    def wait_for_event(self, event: str, *, count: int = 1, unit: str = UNIT) -> dict[str, Any]:
        """The ``count``-th event of this name, waiting for it."""
        eventually(
            lambda: len(self.events(event, unit)) >= count,
            patience_s=PATIENCE_S,
            every_s=0.2,
            why=lambda: (event, self.journal(unit)[-6_000:]),
        )
        return self.events(event, unit)[count - 1]

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs inside for the length of the block."""
        process = subprocess.Popen(
            ["nsenter", "-t", str(self.leader), "-a", "--", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.communicate(timeout=PATIENCE_S)


@contextmanager
def machine(work: Path, binds: Mapping[str, Path]) -> Iterator[Machine]:
    """A machine for the length of the block; ``binds`` are directories of this one, by where they are inside."""
    name = f"tracewatchd-{uuid4().hex[:8]}"
    work.mkdir(parents=True)
    program = work.with_name("program")
    program.write_text(_PROGRAM.format(python=f"python{sysconfig.get_python_version()}"))
    mounts = {
        "/opt/python": Path(sys.base_prefix),
        "/opt/packages": Path(sysconfig.get_path("purelib")),
        "/opt/source": REPOSITORY / "daemon",
    }
    options = [f"--bind-ro={there}:{here}" for here, there in mounts.items()]
    options += [f"--bind={there}:{here}" for here, there in binds.items()]
    log = work.with_name("boot.log")
    with log.open("wb") as boot_log:
        holder = subprocess.Popen(
            ["unshare", "-m", "--propagation=private", "bash", "-c", _BOOT, "boot", *options],
            env=os.environ
            | {
                "NAME": name,
                "WORK": str(work),
                "REPOSITORY": str(REPOSITORY),
                "PROGRAM": str(program),
                "HIERARCHIES": " ".join(map(str, _HIERARCHIES)),
            },
            stdin=subprocess.DEVNULL,
            stdout=boot_log,
            stderr=boot_log,
            start_new_session=True,
        )
    try:
        leader = eventually(lambda: _leader(holder), patience_s=PATIENCE_S, why=lambda: log.read_text()[-4_000:])
        booted = Machine(leader)
        eventually(
            lambda: booted.run("systemctl", "is-system-running", check=False).strip() in {"running", "degraded"},
            patience_s=PATIENCE_S,
            every_s=0.1,
            why=lambda: log.read_text()[-4_000:],
        )
        booted.run("systemd-sysusers")
        booted.run("systemd-tmpfiles", "--create", "tracewatchd.conf")
        yield booted
    finally:
        _power_off(holder, name)


def _leader(holder: subprocess.Popen[bytes]) -> int:
    """The init of the container: the child of the program that booted it."""
    assert holder.poll() is None, "it did not boot"
    for child in psutil.Process(holder.pid).children():
        if child.name() == "systemd":
            return child.pid
    return 0


def _power_off(holder: subprocess.Popen[bytes], name: str) -> None:
    if holder.poll() is None:
        holder.send_signal(signal.SIGTERM)
        try:
            holder.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(holder.pid, signal.SIGKILL)
            holder.wait(PATIENCE_S)
    for hierarchy in _HIERARCHIES:
        eventually(partial(_removed, hierarchy / name), why="its control groups are still in use")


def _removed(group: Path) -> bool:
    """Remove a control group with those in it, as far as nothing runs there any more; whether it is gone."""
    for directory in (*sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True), group):
        with suppress(OSError):
            directory.rmdir()
    return not group.exists()
