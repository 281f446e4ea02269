"""docs/security.md names every secret and every place that it may come from."""

from __future__ import annotations

import re
from pathlib import Path

from command_tree import commands
from tracewatchd.settings import SETTINGS

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text()


def test_every_secret_has_a_line() -> None:
    """Each secret setting with its variable and its file, and nothing else."""
    told = set(re.findall(r"(?m)^\| [^|`]+ \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", PAGE))
    assert told == {(key, setting.variable, setting.secret_file) for key, setting in SETTINGS.items() if setting.secret}


def test_no_option_takes_a_secret() -> None:
    """A command line is seen by everybody, so no option is named like a secret."""
    words = {"password", "token", "key", "secret", "url"}
    named = {name for found in commands() for option in found.parameters for name in option.opts}
    assert {name for name in named if words & set(name.strip("-").split("-"))} == set()


def test_limits_that_stand_against_hostile_files_exist() -> None:
    """Each setting that a threat is answered by is one."""
    threats = PAGE.partition("| threat |")[2].partition("## ")[0]
    assert {"ingest.max_file_bytes", "ingest.bytes_in_flight"} <= {*re.findall(r"`(\w+\.\w+)`", threats)} & {*SETTINGS}


def test_the_units_do_what_the_page_says() -> None:
    """No core dumps, no new privileges, no other processes, a filter of system calls."""
    unit = (REPOSITORY / "systemd" / "tracewatchd.service").read_text()
    for line in ("LimitCORE=0", "NoNewPrivileges=yes", "ProtectProc=invisible", "PrivateDevices=yes"):
        assert f"\n{line}\n" in unit
    assert re.search(r"(?m)^SystemCallFilter=@system-service$", unit)
