"""Images that are built and containers that run, without an engine on the machine and without a registry.

buildah and podman run in mount and process namespaces of their own, with all that they store in memory: when the
namespaces end, everything that was started, mounted or written in them is gone, however the test ended.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from running import eventually

PROGRAMS = ("buildah", "podman", "crun", "mmdebstrap", "unshare", "nsenter")
BUILD_LIMIT_S = 600.0
CALL_LIMIT_S = 90.0
_PIP_CONFIG = Path("/etc/pip.conf")
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian's programs look for certificates."""
_NAMESPACES = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc")
# crun wants a pure tree of cgroup 2. When the pipe to its standard input breaks, bash ends, and all others with it. A
# bash that has had a child buries orphans too while it waits.
_HOLD = """
mount -t tmpfs -o size=4g,mode=755 tmpfs "$1" || exit 1
if ! [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
fi
/bin/true; echo ready; read -r
"""


def why_not() -> str:
    """Why images cannot be built and run here; empty where they can."""
    if os.geteuid() != 0:
        return "images are built and run by root alone"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/system-packages installs them)"
    if not any(path.is_file() for path in _SOURCES):
        return "the base image is made from Debian's packages, and apt names no source of them"
    done = subprocess.run([*_NAMESPACES, "true"], capture_output=True, text=True, timeout=CALL_LIMIT_S, check=False)
    return "" if done.returncode == 0 else f"no namespaces of our own: {done.stderr.strip()}"


class Engine:
    """What builds and runs, with all that it stores in one directory."""

    def __init__(self, directory: Path, inside: int) -> None:
        self._directory = directory
        enter = ("nsenter", f"--target={inside}", "--mount", "--pid", "--")
        self._enter = (*enter, "env", f"TMPDIR={directory}")
        places = (f"--root={directory / 'store'}", f"--runroot={directory / 'run'}")
        self._places = (*places, "--storage-driver=overlay")

    def call(self, *words: str, check: bool = True, limit_s: float = CALL_LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Run a command to its end where containers run; with ``check`` it must succeed."""
        done = subprocess.run(
            [*self._enter, *words],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, (words, done.stdout[-4_000:], done.stderr[-4_000:])
        return done

    def podman(
        self, *words: str, check: bool = True, limit_s: float = CALL_LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run podman to its end; with ``check`` it must succeed."""
        managers = ("--cgroup-manager", "cgroupfs", "--events-backend", "file")
        return self.call("podman", *self._places, *managers, *words, check=check, limit_s=limit_s)

    def make_base(self, tag: str) -> None:
        """A small Debian with its own Python, from the packages that this machine's apt would install."""
        archive = self._directory / "base.tar"
        release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
        suite = release["VERSION_CODENAME"].strip('"')
        sources = next(str(path) for path in _SOURCES if path.is_file())
        packages = "--include=ca-certificates,python3-venv,python3-pip"
        words = ("mmdebstrap", "--quiet", "--variant=minbase", packages, suite, str(archive), sources)
        self.call(*words, limit_s=BUILD_LIMIT_S)
        self.podman("import", "--quiet", str(archive), tag, limit_s=BUILD_LIMIT_S)
        self.call("rm", str(archive))

    def build(self, tag: str, base: str, context: Path) -> None:
        """Build the Dockerfile of a directory on this base; nothing is pulled."""
        words = ["buildah", *self._places, "bud", "--isolation=chroot", "--network=host", "--pull-never"]
        words += ["--format=docker", "--build-arg", f"BASE={base}", *_access(), "--tag", tag, str(context)]
        self.call(*words, limit_s=BUILD_LIMIT_S)

    def size_bytes(self, image: str) -> int:
        """All layers of an image together."""
        return int(self.podman("image", "inspect", "--format", "{{.Size}}", image).stdout)


def _access() -> list[str]:
    """How this machine reaches packages of Python, where that is special: for the build alone, not in the image."""
    bundle = ssl.get_default_verify_paths().cafile
    places = {_BUNDLE: bundle, str(_PIP_CONFIG): str(_PIP_CONFIG) if _PIP_CONFIG.is_file() else None}
    return [f"--volume={here}:{there}:ro" for there, here in places.items() if here is not None]


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="tracewatchd-images-") as directory:
        holder = subprocess.Popen(
            [*_NAMESPACES, "bash", "-c", _HOLD, "bash", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            (inside,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            yield Engine(Path(directory), int(inside))
        finally:
            holder.communicate(timeout=CALL_LIMIT_S)


class Container:
    """A container of the image under test, without rights, without a network, its root file system read-only."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything that it logged so far, all of which must be JSON."""
        done = self._engine.podman("logs", self.name)
        return [json.loads(line) for line in done.stderr.splitlines()]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of this name so far."""
        return [one for one in self.events if one["event"] == event]

    def wait_for(self, event: str, *, count: int = 1) -> dict[str, Any]:
        """The ``count``-th event of this name, waiting for it."""
        eventually(lambda: len(self.named(event)) >= count, patience_s=CALL_LIMIT_S, every_s=0.2, why=self._said)
        return self.named(event)[count - 1]

    def _said(self) -> str:
        done = self._engine.podman("logs", self.name, check=False)
        return (done.stderr or done.stdout)[-4_000:]

    def run(self, *words: str) -> str:
        """What a command prints that runs in it."""
        return self._engine.podman("exec", self.name, *words).stdout.strip()

    def healthy(self) -> bool:
        """Do what the engine does every 30 s; whether the container says that it is well."""
        return self._engine.podman("healthcheck", "run", self.name, check=False).returncode == 0

    def inspect(self, form: str) -> str:
        """A piece of what the engine knows about it, by a template."""
        return self._engine.podman("inspect", "--format", form, self.name).stdout.strip()

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        return int(self._engine.podman("wait", self.name).stdout)

    def stop(self, grace_s: int = 60) -> int:
        """SIGTERM, and SIGKILL after the grace; its exit status."""
        self._engine.podman("stop", "--time", str(grace_s), self.name)
        return self.wait()


@contextmanager
def container(
    engine: Engine, image: str, name: str, *options: str, command: tuple[str, ...] = ()
) -> Iterator[Container]:
    """A container for the length of the block, removed at its end with its anonymous volumes."""
    words = ["run", "--detach", "--name", name, "--hostname", name, "--network=none", "--cgroups=disabled"]
    words += ["--ulimit=host", "--cap-drop=all", "--security-opt=no-new-privileges"]
    words += ["--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp", *options, image, *command]
    engine.podman(*words)
    try:
        yield Container(engine, name)
    finally:
        engine.podman("rm", "--force", "--time=0", "--volumes", name)


@contextmanager
def volume(engine: Engine, name: str) -> Iterator[str]:
    """A named volume for the length of the block, and where it lies for `Engine.call`."""
    engine.podman("volume", "create", name)
    try:
        yield engine.podman("volume", "inspect", "--format={{.Mountpoint}}", name).stdout.strip()
    finally:
        engine.podman("volume", "rm", "--force", name)
