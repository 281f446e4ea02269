"""Where the embedded server lives, as whom it runs, and what is quoted of what it says."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tracewatchd.store import embedded, server_binaries
from tracewatchd.store.embedded import default_directory
from tracewatchd.store.server_binaries import Identity, environment, identities, last_words


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/s/a:/s/b", "HOME": "/h"}, "/s/a"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/tracewatchd"),
        ({"XDG_STATE_HOME": "not/absolute", "HOME": "/h"}, "/h/.local/state/tracewatchd"),
        ({"HOME": "/h"}, "/h/.local/state/tracewatchd"),
        ({}, f"{Path.home()}/.local/state/tracewatchd"),
    ],
)
def test_the_default_directory(
    environ: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor's directory comes first, then the user's; a relative XDG directory counts for nothing."""
    monkeypatch.setattr(embedded, "_SYSTEM_DIRECTORY", tmp_path / "absent")
    assert default_directory(environ) == Path(expected)


def test_an_existing_service_is_found_from_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service's directory exists a person's shell finds the same one."""
    monkeypatch.setattr(embedded, "_SYSTEM_DIRECTORY", tmp_path)
    assert default_directory({"HOME": "/h", "XDG_STATE_HOME": "/x"}) == tmp_path


def test_root_prefers_a_namespace_and_others_are_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's own directory is served in a namespace first, another's as its owner; a user is itself."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    nobody = pwd.getpwnam("nobody")
    first, *others = identities((0, 0))
    assert first == Identity(namespace=True)
    assert Identity((nobody.pw_uid, nobody.pw_gid)) in others
    assert identities((nobody.pw_uid, 7)) == [Identity((nobody.pw_uid, 7))]
    monkeypatch.setattr(os, "geteuid", lambda: nobody.pw_uid)
    assert identities((nobody.pw_uid, 7)) == [Identity()]


def test_a_user_without_a_name_gets_one_in_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Initdb needs a passwd entry: a numeric user of a container borrows that of nobody where it may."""
    nameless = 2_000_000_123
    monkeypatch.setattr(os, "geteuid", lambda: nameless)
    assert identities((nameless, 1)) == [Identity(namespace=True), Identity()]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert identities((nameless, 1)) == [Identity((nameless, 1), namespace=True), Identity((nameless, 1))]
    monkeypatch.setattr(server_binaries, "_FALLBACK_USERS", ("no such user",))
    assert identities((0, 0)) == [Identity(namespace=True)]


def test_the_server_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither secrets nor what would change a Postgres program get into its environment."""
    for name in ("TRACEWATCHD_DATABASE__URL", "PGDATA", "PGOPTIONS", "LANG", "LC_CTYPE"):
        monkeypatch.setenv(name, "x")
    assert set(environment()) <= {"PATH", "LD_LIBRARY_PATH", "LC_ALL", "TZ"}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("a LOG:  starting\na FATAL:  no room\na LOG:  database system is shut down\n", "a FATAL:  no room"),
        ("initdb: error: one\ninitdb: hint: two\n", "initdb: error: one"),
        ("only this\n\n", "only this"),
        ("", "it said nothing"),
    ],
)
def test_the_words_that_say_what_was_wrong(log: str, expected: str, tmp_path: Path) -> None:
    """The last complaint is quoted, not what came after it."""
    path = tmp_path / "log"
    path.write_text(log)
    assert last_words(path) == expected


def test_an_unreadable_log_says_so(tmp_path: Path) -> None:
    """Where there is no log its absence is what is quoted."""
    assert "No such file" in last_words(tmp_path / "absent")
