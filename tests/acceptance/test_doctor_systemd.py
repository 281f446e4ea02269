"""The doctor beside the shipped unit, under a real systemd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from systemd_machine import CREDENTIALS, UNIT, Machine, machine, why_not

pytestmark = pytest.mark.xdist_group("systemd")

PROGRAM = "/opt/tracewatchd/bin/tracewatchd"
AWAY = "postgresql://traces@/traces?host=/nowhere/at/all"
"""A database that nobody answers for, known to the unit by its credential alone."""


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the units installed and a directory to watch."""
    if reason := why_not():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("doctor")
    traces = directory / "traces"
    traces.mkdir(mode=0o755)
    with machine(directory / "machine", {"/srv/traces": traces}) as running:
        yield running


def configure(machine: Machine, config: str = '[watch]\nroots = ["/srv/traces"]\n', *, drop_in: str = "") -> None:
    """Write the configuration, and a drop-in beside the unit."""
    machine.write("etc/tracewatchd/config.toml", config)
    machine.write(f"etc/systemd/system/{UNIT}.d/test.conf", f"[Service]\n{drop_in}\n")
    machine.run("systemctl", "daemon-reload")


def asked(machine: Machine, *before: str) -> dict[str, Any]:
    """The doctor's answer from inside."""
    said = machine.run(*before, PROGRAM, "doctor", "--json", check=False)
    answer: dict[str, Any] = json.loads(said)
    return answer


def said_of_systemd(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """What was found about the unit: severity and remedy."""
    troubles = [trouble for trouble in answer["troubles"] if trouble["check"] == "systemd"]
    return [(trouble["severity"], trouble["remedy"].rpartition(" ")[2]) for trouble in troubles]


def test_the_shipped_unit_fits_the_defaults(booted: Machine) -> None:
    """Of the unit as it is, only its user is told, to whoever asks as another one."""
    configure(booted)
    answer = asked(booted)
    (trouble,) = [trouble for trouble in answer["troubles"] if trouble["check"] == "systemd"]
    assert trouble["sentence"].startswith("tracewatchd.service runs as user tracewatchd, but the doctor looked as root")


def test_each_setting_that_does_not_fit_is_told(booted: Machine) -> None:
    """What systemd itself says of the unit and its drop-in is held against the settings."""
    configure(
        booted,
        '[watch]\nroots = ["/srv/traces", "/home/ann/traces"]\n[service]\nshutdown_s = 60\n',
        drop_in="TimeoutStopSec=1min 5s\nLimitNOFILE=100",
    )
    assert said_of_systemd(asked(booted)) == [
        ("error", "LimitNOFILE=588"),
        ("warning", "TimeoutStopSec=90"),
        ("error", "ProtectHome=read-only"),
        ("note", "doctor`"),
    ]


def test_a_watchdog_that_is_too_quick_is_told_while_the_daemon_runs(booted: Machine) -> None:
    """Each wait that the settings allow has to end three times before the watchdog bites."""
    booted.write(f"{CREDENTIALS}/database__url", AWAY, mode=0o600)
    configure(booted, drop_in="WatchdogSec=4min")
    booted.run("systemctl", "start", UNIT)
    try:
        assert said_of_systemd(asked(booted)) == [("warning", "WatchdogSec=300"), ("note", "doctor`")]
    finally:
        booted.run("systemctl", "stop", UNIT)


def test_the_remedy_looks_as_the_daemon_does(booted: Machine) -> None:
    """The command that the doctor names runs as the unit's user and sees its credentials."""
    configure(booted)
    booted.write(f"{CREDENTIALS}/database__url", AWAY, mode=0o600)
    booted.run("systemctl", "start", "dbus.service")  # where a machine has come up further it runs
    (trouble,) = [trouble for trouble in asked(booted)["troubles"] if trouble["check"] == "systemd"]
    words = trouble["remedy"].strip("`").split()
    assert words[-2:] == [PROGRAM, "doctor"]
    answer = asked(booted, *words[:-2])
    assert said_of_systemd(answer) == []
    (missed,) = answer["unchecked"]
    assert missed["sentence"].startswith(f"the database ({AWAY}) cannot be reached")
