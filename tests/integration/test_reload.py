"""SIGHUP: what is taken over, what is not, and that a wrong configuration changes nothing."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from daemons import daemon, ended, settled
from running import COMMAND, Running, environment
from soon import soon
from tracewatchd.model.errors import ConfigError
from tracewatchd.model.events import ConfigRejected, ConfigReloaded, DaemonReloading, Event
from tracewatchd.service.reload import Reload, changed, merge
from tracewatchd.settings import RELOADED, SETTINGS, Settings, load

NOWHERE = {"TRACEWATCHD_SECRETS_DIR": "no-such-directory"}
SECRET = "postgresql://app:correct-horse@db.example/traces"


@pytest.fixture
def env(database: str) -> dict[str, str]:
    """A daemon on a database of its own."""
    return environment(TRACEWATCHD_DATABASE__URL=database)


def settings(tmp_path: Path, text: str = "") -> Settings:
    """The settings of a configuration file."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(file, {}, NOWHERE).settings


async def reloaded(before: Settings, *texts: str, at: Path) -> tuple[list[Settings], list[Event]]:
    """What is taken over and told when these configurations are read one after the other."""
    taken: list[Settings] = []
    told: list[Event] = []
    left = iter(texts)
    reload = Reload(before, lambda: settings(at, next(left)), taken.append, told.append)
    task = asyncio.create_task(reload.run())
    for answers in range(2, 2 * len(texts) + 1, 2):
        reload.ask()
        await soon(partial(_has, told, answers))
    task.cancel()
    await asyncio.wait([task])
    assert all(isinstance(event, DaemonReloading) for event in told[::2])
    return taken, told[1::2]


def _has(told: Sequence[Event], count: int) -> bool:
    return len(told) == count


def test_what_is_reloaded_are_settings() -> None:
    """Every name in the list is that of a setting, and nothing secret is among them."""
    assert SETTINGS.keys() >= RELOADED
    assert not any(SETTINGS[key].secret for key in RELOADED)


async def test_what_can_change_is_taken_over_and_the_rest_is_named(tmp_path: Path) -> None:
    """Names only: no value of a secret is told; what needed a restart still does at the next reload."""
    text = (
        f'database.url = "{SECRET}"\n[watch]\nsweep_interval_s = 7\nsettle_s = 9\n[langsmith]\nrequest_timeout_s = 3\n'
    )
    taken, told = await reloaded(settings(tmp_path), text, text, at=tmp_path)
    needed = ("watch.settle_s", "database.url")
    assert told == [
        ConfigReloaded(taken_over=("watch.sweep_interval_s",), needs_restart=needed),
        ConfigReloaded(taken_over=(), needs_restart=needed),
    ]
    assert taken[0].watch.sweep_interval_s == 7
    assert taken[0].watch.settle_s == Settings().watch.settle_s
    assert taken[0].database.url is None
    assert "correct-horse" not in repr(told)


async def test_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    """Its faults are told, nothing is taken over, and a right one after it is."""
    taken, told = await reloaded(
        settings(tmp_path),
        "watch.sweep_interval_s = 0\n",
        "sweep.grace_s = 1\nno TOML",
        "sweep.grace_s = 1\n",
        at=tmp_path,
    )
    assert [type(event) for event in told] == [ConfigRejected, ConfigRejected, ConfigReloaded]
    assert isinstance(told[0], ConfigRejected)
    assert told[0].faults[0].endswith("watch.sweep_interval_s: must be a number from 1 to 86400 seconds, not 0")
    assert [one.sweep.grace_s for one in taken] == [1]


def test_what_contradicts_what_stays_is_refused(tmp_path: Path) -> None:
    """A project of a root that only a restart adds is not half taken over."""
    project = '{project = "p", retention_days = 14, first_day = "2026-11-11", source = "new"}'
    before = settings(tmp_path, '[watch]\nroots = ["/a"]\n')
    read = settings(tmp_path, f'retention.projects = [{project}]\n[watch]\nroots = [{{path = "/b", source = "new"}}]\n')
    with pytest.raises(ConfigError, match=r"retention\.projects: p: no root has the source new"):
        merge(before, read)


@pytest.mark.parametrize("key", sorted(RELOADED))
def test_each_of_them_is_merged(key: str, tmp_path: Path) -> None:
    """Every setting that is said to be taken over is."""
    values = {
        "sweep.repairs": '["missing", "stale", "orphan"]',
        "log.level": '"warning"',
        "retention.projects": '[{project = "p", retention_days = 14, first_day = "2026-11-11"}]',
    }
    merged = merge(Settings(), settings(tmp_path, f"{key} = {values.get(key, '77')}\n"))
    assert list(changed(Settings(), merged)) == [key]


def test_a_running_daemon_takes_it_over(root: Path, env: dict[str, str], tmp_path: Path) -> None:
    """The installed command: another interval and level count at once; a broken file is told and the daemon lives."""
    config = tmp_path / "config.toml"
    config.write_text("watch.sweep_interval_s = 3600\n")
    with daemon(root, env=env | {"TRACEWATCHD_CONFIG": str(config)}) as found:
        settled(found)
        config.write_text("watch.sweep_interval_s = 1\nretention.warn_days = 9\ningest.batch_rows = 3\n")
        found.send(signal.SIGHUP)
        told = found.wait_for("config.reloaded")
        assert told["taken_over"] == ["watch.sweep_interval_s", "retention.warn_days"]
        assert told["needs_restart"] == ["ingest.batch_rows"]
        assert found.wait_for("sweep.finished", count=3)["cause"] == "interval"
        config.write_text("watch.sweep_interval_s = 'often'\n")
        found.send(signal.SIGHUP)
        assert "must be a number" in found.wait_for("config.rejected")["faults"][0]
        found.wait_for("sweep.finished", count=len(found.named("sweep.finished")) + 1)
        assert found.stop() == 0


def test_a_terminal_that_is_closed_stops_the_daemon(root: Path, env: dict[str, str]) -> None:
    """There SIGHUP means that nobody looks any more: it drains and ends, as at any other stop."""
    keeper, terminal = pty.openpty()
    process = subprocess.Popen([COMMAND, "run", str(root)], env=env, stdin=terminal, stderr=subprocess.PIPE, text=True)
    try:
        found = Running(process)
        settled(found)
        found.send(signal.SIGHUP)
        assert ended(found) == 0
        assert found.wait_for("daemon.stopping")["cause"] == "SIGHUP"
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        os.close(keeper)
        os.close(terminal)
