from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from running import COMMAND, command, environment
from tracewatchd import __version__
from tracewatchd.cli import config
from tracewatchd.settings import SETTINGS, Root


def test_check_says_what_was_read(tmp_path: Path) -> None:
    """Exit 0, the file, how many settings differ, and what a look at each root finds."""
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "tracewatchd.toml").write_text(
        '[watch]\nroots = ["here", "later", "file/under"]\n[ingest]\nwriters = 4'
    )
    result = command("config", "check", env=environment(), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"configuration file: {tmp_path / 'tracewatchd.toml'}",
        "settings that differ from their defaults: 3",
        f"root {tmp_path / 'here'} (source {tmp_path / 'here'}): ready; 0 run files, 0 other entries ignored",
        f"root {tmp_path / 'later'} (source {tmp_path / 'later'}): does not exist yet",
        f"root {tmp_path / 'file/under'} (source {tmp_path / 'file/under'}): does not exist yet",
    ]
    told = json.loads(command("config", "check", "--json", env=environment(), cwd=tmp_path).stdout)
    assert told["file"] == str(tmp_path / "tracewatchd.toml")
    assert told["differing"] == ["watch.roots", "log.format", "http.port"]
    assert [root["state"] for root in told["roots"]] == ["ready", "does not exist yet", "does not exist yet"]


def test_the_state_of_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a path that the kernel refuses and a directory without permission are told apart."""
    (tmp_path / "file").touch()
    roots = {name: Root(path=tmp_path / name, source=name) for name in ("file", "x" * 300, ".")}
    assert config._state(roots["file"]) == "is no directory"
    assert config._state(roots["x" * 300]) == "cannot be looked at: File name too long"
    # Root may read everything, so the kernel's answer to an ordinary user is given in its place.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert config._state(roots["."]) == "cannot be read by this user"


def test_check_tells_every_fault(tmp_path: Path) -> None:
    """Exit 78, nothing on standard output, one line per fault and then a hint on standard error."""
    file = tmp_path / "bad.toml"
    file.write_text("[ingest]\nwriters = 99\nbatch_rows = 0")
    result = command("config", "check", "-c", str(file), env=environment(TRACEWATCHD_LOG__LEVEL="loud"))
    assert (result.returncode, result.stdout) == (78, "")
    *faults, hint = result.stderr.splitlines()
    assert sorted(faults) == [
        f"{file}: ingest.batch_rows: must be a whole number from 1 to 2000, not 0",
        f"{file}: ingest.writers: must be a whole number from 1 to 32, not 99",
        'TRACEWATCHD_LOG__LEVEL: must be "debug" or "info" or "warning" or "error", not \'loud\'',
    ]
    assert hint.startswith("hint: ")


def test_show_tells_values_and_origins(tmp_path: Path) -> None:
    """Every setting with its value and its origin; the password is masked, host and database are not."""
    env = environment(DATABASE_URL="postgresql://me:hidden@db.example/runs", TRACEWATCHD_INGEST__WRITERS="2")
    table = command("config", "show", env=env, cwd=tmp_path)
    told = json.loads(command("config", "show", "-j", env=env, cwd=tmp_path).stdout)
    assert list(told) == list(SETTINGS)
    assert told["ingest.writers"] == {"value": 2, "origin": "environment TRACEWATCHD_INGEST__WRITERS"}
    assert told["database.url"] == {"value": "postgresql://me:********@db.example/runs", "origin": "DATABASE_URL"}
    assert told["watch.stamp_grain_s"] == {"value": None, "origin": "default"}
    lines = table.stdout.splitlines()
    assert len(lines) == len(SETTINGS) + 1
    assert '"postgresql://me:********@db.example/runs"  DATABASE_URL' in table.stdout
    assert "unset" in table.stdout
    assert "hidden" not in table.stdout + json.dumps(told)


def test_a_root_that_is_not_utf8(tmp_path: Path) -> None:
    """Its path is printed with the odd bytes escaped instead of ending the command."""
    env = environment(TRACEWATCHD_WATCH__ROOTS=os.fsdecode(b"/a/\xff"))
    result = command("config", "check", env=env, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "root /a/\\udcff (source /a/%FF): does not exist yet" in result.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_styles_on_a_terminal_alone(tmp_path: Path, no_color: str) -> None:
    """A terminal gets a bold header and no colour; a pipe never gets an escape code."""
    master, terminal = pty.openpty()
    try:
        env = environment(TERM="xterm-256color", NO_COLOR=no_color, COLUMNS="200")
        subprocess.run([COMMAND, "config", "show"], env=env, stdout=terminal, cwd=tmp_path, check=True, timeout=60)
        written = os.read(master, 4096).decode()
    finally:
        os.close(terminal)
        os.close(master)
    assert "\x1b[1m" in written  # the header is bold, which is no colour
    assert "\x1b[3" not in written
    assert "watch.roots" in written
    assert "\x1b" not in command("config", "show", env=environment(), cwd=tmp_path).stdout


@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "show", "--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away(tmp_path: Path, arguments: list[str], unbuffered: str) -> None:
    """A closed pipe ends the command quietly, with the status of a program that SIGPIPE ended."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [COMMAND, *arguments],
            env=environment(PYTHONUNBUFFERED=unbuffered),
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (141, b"")


def test_version_help_and_both_names(tmp_path: Path) -> None:
    """`tracewatchd`, `python -m tracewatchd` and `python -m tracewatchd.cli.main` are the same program."""
    for program in ([COMMAND], [sys.executable, "-m", "tracewatchd"], [sys.executable, "-m", "tracewatchd.cli.main"]):
        result = subprocess.run(
            [*program, "--version"], env=environment(), capture_output=True, text=True, check=True, timeout=60
        )
        assert result.stdout == f"tracewatchd {__version__}\n"
    usage = command("config", "check", "--wrong", env=environment())
    assert usage.returncode == 2
    assert "Try 'tracewatchd config check -h' for help." in usage.stderr


def test_completion() -> None:
    """The shells' completion can be shown, and it completes commands."""
    shown = command("--show-completion", "bash", env=environment())
    assert "_TRACEWATCHD_COMPLETE" in shown.stdout
    env = environment(_TRACEWATCHD_COMPLETE="complete_bash", COMP_WORDS="tracewatchd conf", COMP_CWORD="1")
    assert command(env=env).stdout.split() == ["config"]
