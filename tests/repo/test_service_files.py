"""What the daemon is shipped with for systemd and for containers says what the code relies on."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tracewatchd.settings import SETTINGS, Settings

REPOSITORY = Path(__file__).parents[2]
UNIT = REPOSITORY / "systemd" / "tracewatchd.service"
DOCKERFILE = REPOSITORY / "Dockerfile"


def _unit() -> dict[str, list[str]]:
    """Every directive of the unit with its values, in order."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


def _stages() -> list[list[str]]:
    """The Dockerfile's instructions, one list per stage; what stands before the first FROM is the first list."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[str]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("FROM "):
            stages.append([])
        stages[-1].append(" ".join(line.split()))
    return stages


def _systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say (it returns 0 on unknown keys, so the output must be empty)."""
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?<=^ExecStart=)\S+", sys.executable, UNIT.read_text(), flags=re.MULTILINE))
    result = _systemd_analyze("verify", "--man=no", str(unit))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_unit_is_hardened() -> None:
    """Systemd rates the exposure at 2.0 or better (a unit without any hardening has 9.2)."""
    result = _systemd_analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT))
    assert result.returncode == 0, result.stdout[-300:]


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    """READY is awaited, a bad configuration not retried, anything else slowly and for ever; stopping has its time."""
    unit = _unit()
    assert unit["Type"] == ["notify"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert int(unit["RestartSec"][0]) >= 5
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert int(unit["TimeoutStopSec"][0]) > Settings().service.shutdown_s + 30
    assert unit["StateDirectory"] == ["tracewatchd"]
    assert unit["Environment"] == ["TRACEWATCHD_LOG__FORMAT=json"]
    assert unit["ExecStart"][0].split()[1:] == ["run", "--config", "/etc/tracewatchd/config.toml"]


def test_the_unit_shows_how_to_keep_the_database_url_secret() -> None:
    """The credential's name is the one that settings look for, and the URL itself is nowhere in the unit."""
    name = SETTINGS["database.url"].secret_file
    assert re.search(rf"^#LoadCredential={name}:/", UNIT.read_text(), flags=re.MULTILINE)
    assert "postgresql://" not in UNIT.read_text()


def test_the_image_runs_the_daemon_as_nobody_special() -> None:
    """An ordinary numeric user, JSON logs, `tracewatchd run`, and signals reach the daemon itself, not a shell."""
    *_, final = _stages()
    user = next(line for line in final if line.startswith("USER "))
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", user)
    assert any("TRACEWATCHD_LOG__FORMAT=json" in line for line in final)
    assert json.loads(final[-2].removeprefix("ENTRYPOINT ")) == ["tracewatchd"]
    assert json.loads(final[-1].removeprefix("CMD ")) == ["run"]


def test_the_image_has_a_base_of_ones_own_and_no_build_tools() -> None:
    """Both stages start from the argument BASE; what installs and builds stays in the first; versions are pinned."""
    arguments, build, final = _stages()
    assert arguments[0].startswith("ARG BASE=")
    assert [stage[0].split()[1] for stage in (build, final)] == ["${BASE}", "${BASE}"]
    assert any("--constraint constraints.txt" in line for line in build)
    assert not any(re.search(r"\b(pip|apt-get|gcc|make)\b", line) for line in final)


def test_the_image_is_built_from_what_is_named() -> None:
    """Whatever the Dockerfile copies is let through by .dockerignore and exists; nothing else is let through."""
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copies = [line.split()[1:-1] for line in _stages()[1] if line.startswith("COPY ")]
    copied = [name for names in copies for name in names]
    assert sorted(copied) == sorted(allowed)
    assert all((REPOSITORY / name).exists() for name in copied)
    assert not any(fnmatch.fnmatch(name, ".env*") for name in allowed)
