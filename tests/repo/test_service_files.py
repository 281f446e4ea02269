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

from tracewatchd.service.assemble import longest_wait_s
from tracewatchd.settings import SETTINGS, Settings

REPOSITORY = Path(__file__).parents[2]
UNITS = REPOSITORY / "systemd"
UNIT = UNITS / "tracewatchd.service"
RECONCILE = UNITS / "tracewatchd-reconcile.service"
TIMER = UNITS / "tracewatchd-reconcile.timer"
DOCKERFILE = REPOSITORY / "Dockerfile"
WORST_EXPOSURE = 1.2
"""By `systemd-analyze security`: a network client that reads a data directory cannot be much below 1.1."""


def _unit(file: Path = UNIT) -> dict[str, list[str]]:
    """Every directive of the unit with its values, in order."""
    values: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
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


def _installed(destination: Path) -> Path:
    """Install below a directory, with a program that is there, and say where the units are."""
    make = [
        "make",
        "-s",
        "-C",
        str(REPOSITORY),
        "install-systemd",
        f"DESTDIR={destination}",
        f"COMMAND={sys.executable}",
    ]
    subprocess.run(make, check=True, timeout=60)
    return destination / "usr/local/lib/systemd/system"


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say (it returns 0 on unknown keys, so the output must be empty)."""
    units = sorted(map(str, _installed(tmp_path).iterdir()))
    result = _systemd_analyze("verify", "--man=no", *units)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("example", sorted((UNITS / "examples").iterdir()), ids=lambda path: path.name)
def test_systemd_understands_the_drop_ins(tmp_path: Path, example: Path) -> None:
    """Each example, put where it says, changes the unit without a word of systemd's."""
    units = _installed(tmp_path)
    assert f"/etc/systemd/system/tracewatchd.service.d/{example.name}" in example.read_text()
    drop_ins = units / "tracewatchd.service.d"
    drop_ins.mkdir()
    shutil.copy(example, drop_ins)
    result = _systemd_analyze("verify", "--man=no", str(units / UNIT.name))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", [UNIT, RECONCILE], ids=lambda path: path.name)
def test_the_units_are_hardened(unit: Path) -> None:
    """Systemd rates the exposure at 1.2 or better (a unit without any hardening has 9.2)."""
    threshold = f"--threshold={WORST_EXPOSURE * 10:.0f}"
    result = _systemd_analyze("security", "--offline=true", "--no-pager", threshold, str(unit))
    assert result.returncode == 0, result.stdout[-300:]


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    """READY is awaited, a bad configuration not retried, anything else slowly and for ever; stopping has its time."""
    unit = _unit()
    assert unit["Type"] == ["notify"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert int(unit["RestartSec"][0]) >= 5
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert int(unit["TimeoutStopSec"][0]) > Settings().service.shutdown_s + 30
    assert unit["StateDirectory"] == ["tracewatchd"]
    assert unit["Environment"] == ["TRACEWATCHD_LOG__FORMAT=json"]
    assert unit["ExecStart"][0].split()[1:] == ["run", "--config", "/etc/tracewatchd/config.toml"]


def test_the_watchdog_is_patient() -> None:
    """It waits three times as long as the longest wait that is declared, by default and in each example."""
    stuck = re.compile(r"TRACEWATCHD_SERVICE__STUCK_S=(\d+)")
    for file in (UNIT, *(UNITS / "examples").iterdir()):
        values = _unit(file)
        if "WatchdogSec" in values:
            chosen = stuck.findall(file.read_text())
            settings = Settings()
            longest_s = longest_wait_s(settings) - settings.service.stuck_s
            longest_s += float(chosen[0]) if chosen else settings.service.stuck_s
            assert float(values["WatchdogSec"][0]) >= 3 * longest_s, file.name


def test_the_units_run_as_a_user_of_their_own_with_credentials() -> None:
    """The user is the one that sysusers makes; a file in the directory of credentials becomes one of our secrets."""
    made = (UNITS / "sysusers.conf").read_text().splitlines()[-1].split()
    for file in (UNIT, RECONCILE):
        unit = _unit(file)
        assert unit["User"] == unit["Group"] == [made[1]]
        name, _, directory = unit["LoadCredential"][0].partition(":")
        assert f"d {directory} 0700 root root" in (UNITS / "tmpfiles.conf").read_text()
        secrets = {setting.secret_file for setting in SETTINGS.values() if setting.secret}
        assert f"{name}_database__url" in secrets
        assert all(secret.startswith(f"{name}_") for secret in secrets)
        assert "postgresql://" not in file.read_text()


def test_what_runs_by_the_timer_is_a_sweep_whose_failure_is_told() -> None:
    """Once a day, made up for after a pause, spread; the unit that tells is a template that is there."""
    timer, reconcile = _unit(TIMER), _unit(RECONCILE)
    assert (timer["Persistent"], timer["RandomizedDelaySec"]) == (["yes"], ["30min"])
    assert reconcile["ExecStart"][0].split()[1:3] == ["reconcile", "--once"]
    for unit in (reconcile, _unit()):
        (failed,) = unit["OnFailure"]
        assert (UNITS / failed.replace("%n", "")).is_file()


def test_the_two_services_are_confined_alike() -> None:
    """What confines the daemon confines the sweep too, line by line, but for what only the daemon has to see."""
    daemon, sweep = (_unit(file) for file in (UNIT, RECONCILE))
    words = r"Protect|Private|Restrict[A-Z]|SystemCall|Capability|NoNew|Memory|UMask"
    confining = {key for key in daemon if re.match(words, key)}
    assert len(confining) > 20
    assert {key: daemon[key] for key in confining} == {key: sweep[key] for key in confining}


def test_installing_again_changes_nothing_of_the_operators(tmp_path: Path) -> None:
    """A configuration that is there stays, nothing is enabled, and directories of secrets are closed to others."""
    units = _installed(tmp_path)
    config = tmp_path / "etc/tracewatchd/config.toml"
    assert config.read_text() == (REPOSITORY / "config.example.toml").read_text()
    config.write_text("# mine\n")
    before = sorted(tmp_path.rglob("*"))
    assert _installed(tmp_path) == units
    assert config.read_text() == "# mine\n"
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "etc/tracewatchd/credentials").stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.rglob("*.wants"))


def test_the_image_runs_the_daemon_as_nobody_special() -> None:
    """An ordinary numeric user, JSON logs, `tracewatchd run` under an init and no shell; probed by `health`."""
    *_, final = _stages()
    user = next(line for line in final if line.startswith("USER "))
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", user)
    assert any("TRACEWATCHD_LOG__FORMAT=json" in line for line in final)
    assert json.loads(final[-2].removeprefix("ENTRYPOINT ")) == ["tini", "-s", "--", "tracewatchd"]
    assert json.loads(final[-1].removeprefix("CMD ")) == ["run"]
    (check,) = [line for line in final if line.startswith("HEALTHCHECK ")]
    assert json.loads(check.partition(" CMD ")[2]) == ["tracewatchd", "health"]


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
