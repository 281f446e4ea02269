"""The life of the installed daemon: ready, standby, take-over, and every way in which it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemons import daemon, ended, locked, query, rows_reach, settled, stopped
from postgres import Server
from run_files import put, run_body, run_path
from running import COMMAND, Running, command, environment, eventually
from tracewatchd.store.server_binaries import USER

TAKEN = "INSERT INTO leases"
SHA256 = "SELECT encode(file_sha256, 'hex') FROM runs"


@pytest.fixture
def env(database: str) -> dict[str, str]:
    return environment(TRACEWATCHD_DATABASE__URL=database, TRACEWATCHD_WATCH__SWEEP_INTERVAL_S="3600")


def put_runs(root: Path, count: int) -> None:
    for number in range(1, count + 1):
        put(root, run_path(number), run_body(number))


def waits_for_lock(dsn: str) -> bool:
    return bool(query(dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted"))


# ---- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_told_with_its_cause_and_ends_with_zero(
    root: Path, env: dict[str, str], database: str, number: signal.Signals
) -> None:
    """Either signal drains; what was loaded is loaded, nothing is left, and the leases are free at once."""
    put_runs(root, 3)
    with daemon(root, env=env) as found:
        settled(found)
        assert found.stop(number) == 0
        (stopping,) = found.named("daemon.stopping")
        assert stopping["cause"] == number.name
        last = stopped(found)
        assert (last["exit_code"], last["left_files"], last["cause"]) == (0, 0, number.name)
        assert last["uptime_s"] > 0
        assert found.events[0]["event"] == "daemon.started"
        assert (found.events[0]["pid"], found.events[0]["roots"]) == (found.pid, [str(root)])
    assert query(database, "SELECT count(*) FROM runs") == 3
    assert query(database, "SELECT count(*) FROM leases") == 0


def test_the_last_sweep_takes_up_what_no_hint_told_of(root: Path, env: dict[str, str], database: str) -> None:
    """A file that changed without any event is a row when the daemon has stopped."""
    put_runs(root, 1)
    outside = root.with_name("outside.json")
    with daemon(root, env=env) as found:
        settled(found)
        rows_reach(database, 1)
        before = query(database, SHA256)
        outside.hardlink_to(root / run_path(1))
        # Written through a name that is not watched.
        outside.write_bytes(run_body(1, age_days=0, text="changed"))
        assert found.stop() == 0
        assert [event["cause"] for event in found.named("sweep.finished")] == ["watch started", "stop"]
        assert found.named("sweep.finished")[-1]["states"] == {"loaded": 1}
    assert query(database, SHA256) != before


def test_a_second_signal_ends_it_at_once(root: Path, env: dict[str, str], database: str) -> None:
    """While a drain waits for the database, the second signal ends the process with 130 and says what was left."""
    with daemon(root, env=env | {"TRACEWATCHD_SERVICE__SHUTDOWN_S": "60"}) as found:
        settled(found)
        with locked(database):
            put_runs(root, 5)
            eventually(lambda: waits_for_lock(database))
            found.send(signal.SIGTERM)
            found.wait_for("daemon.stopping")
            started = time.monotonic()
            assert found.stop(signal.SIGINT) == 130
            assert time.monotonic() - started < 5
        last = stopped(found)
        assert (last["exit_code"], last["cause"], last["left_files"]) == (130, "SIGINT twice", 5)
        assert len(found.named("daemon.stopping")) == 1


def test_what_a_short_drain_leaves_is_counted_and_waits_for_the_next_start(
    root: Path, env: dict[str, str], database: str
) -> None:
    """With no time to drain the files that were seen but not committed are counted; the next start loads them."""
    with daemon(root, env=env | {"TRACEWATCHD_SERVICE__SHUTDOWN_S": "0"}) as found:
        settled(found)
        with locked(database):
            put_runs(root, 10)
            eventually(lambda: waits_for_lock(database))
            assert found.stop() == 0
        assert stopped(found)["left_files"] == 10
    with daemon(root, env=env) as found:
        settled(found)
        rows_reach(database, 10)
        assert found.stop() == 0
        assert stopped(found)["left_files"] == 0


def test_a_signal_to_the_whole_group_spares_the_embedded_server(root: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal: the drain is complete all the same, and the server goes last."""
    env = environment(TRACEWATCHD_DATABASE__EMBEDDED_DIR=str(tmp_path / "state"))
    with daemon(root, env=env, start_new_session=True) as found:
        settled(found)
        put_runs(root, 300)
        found.wait_for("batch.committed")
        os.killpg(found.pid, signal.SIGINT)
        assert ended(found) == 0
        last = stopped(found)
        assert (last["exit_code"], last["left_files"]) == (0, 0)
        assert found.events[-2]["event"] == "embedded.stopped"
        assert found.named("sweep.finished")[-1]["states"] == {"loaded": 300}
        assert not found.named("store.unavailable")


def test_a_stop_during_an_outage_needs_no_database(root: Path, server_of: Callable[..., Server], wheel: Path) -> None:
    """A daemon whose database is away, at start or later, stops within its limit and says what it leaves."""
    server = server_of(wheel)
    env = environment(TRACEWATCHD_DATABASE__URL=server.create_database(), TRACEWATCHD_SERVICE__SHUTDOWN_S="1")
    with daemon(root, env=env) as found:
        settled(found)
        server.stop(signal.SIGKILL)
        put_runs(root, 2)
        found.wait_for("store.unavailable")
        assert found.stop() == 0
        assert stopped(found)["left_files"] == 2
    with daemon(root, env=env) as found:
        found.wait_for("store.unavailable")
        assert found.stop() == 0
        assert not found.named("daemon.ready")


@pytest.mark.parametrize(
    ("lock_wait_s", "said"),
    [("0", "busy: other:1 has been sweeping"), ("60", "the last sweep was not finished within 1 s")],
)
def test_a_last_sweep_that_cannot_be_made_is_told_and_holds_up_nothing(
    root: Path, env: dict[str, str], database: str, lock_wait_s: str, said: str
) -> None:
    """Where another process sweeps, the stop says that nothing was checked and drains in the time that is left."""
    settings = {"TRACEWATCHD_SERVICE__SHUTDOWN_S": "2", "TRACEWATCHD_DATABASE__LOCK_WAIT_S": lock_wait_s}
    with daemon(root, env=env | settings) as found:
        settled(found)
        query(database, f"{TAKEN} VALUES ('sweep:{root}', 'other:1', now() + interval '1 hour')")
        put_runs(root, 2)
        rows_reach(database, 2)
        assert found.stop() == 0
        assert said in found.named("sweep.failed")[0]["error"]
        assert stopped(found)["left_files"] == 0


def test_another_database_in_its_place_is_filled_again(root: Path, env: dict[str, str], database: str) -> None:
    """When the database behind the URL is exchanged for an empty one, that is told and every file is loaded again."""
    with daemon(root, env=env) as found:
        settled(found)
        put_runs(root, 2)
        rows_reach(database, 2)
        query(
            database,
            "TRUNCATE runs, ledger",
            "UPDATE identity SET id = gen_random_uuid()",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'tracewatchd'",
        )
        put(root, run_path(3), run_body(3))
        found.wait_for("store.replaced")
        rows_reach(database, 3)
        eventually(lambda: "another database" in [event["cause"] for event in found.named("sweep.finished")])
        assert found.stop() == 0


# ---- failing


def test_a_role_without_rights_ends_it_with_cause_and_hint(root: Path, env: dict[str, str], database: str) -> None:
    """What does not heal is not retried: exit status 70, and the last event says why and what to do."""
    role = f"tenant_{database.rpartition('/')[2].partition('?')[0]}"
    query(database, f"CREATE ROLE {role} LOGIN")
    try:
        url = database.replace(f"//{USER}@", f"//{role}@")
        with daemon(root, env=env | {"TRACEWATCHD_DATABASE__URL": url}) as found:
            assert ended(found) == 70
            last = stopped(found)
            assert last["exit_code"] == 70
            assert "permission denied" in last["cause"]
            assert last["hint"]
            assert not found.named("daemon.ready")
    finally:
        query(database, f"DROP ROLE {role}")


def test_tables_of_a_newer_program_end_it_with_cause_and_hint(root: Path, env: dict[str, str], database: str) -> None:
    """An older program does not touch newer tables."""
    query(database, "INSERT INTO schema_version (version) VALUES (999)")
    with daemon(root, env=env) as found:
        assert ended(found) == 70
        last = stopped(found)
        assert "version 999" in last["cause"]
        assert "newer tracewatchd" in last["hint"]


def test_a_part_that_dies_ends_all(root: Path, env: dict[str, str], database: str) -> None:
    """When the line can go on no more, the watch and the sweeps end with it, and the exit status says so."""
    with daemon(root, env=env) as found:
        settled(found)
        query(database, "ALTER TABLE runs RENAME TO elsewhere")
        put_runs(root, 1)
        assert ended(found) == 70
        last = stopped(found)
        assert (last["exit_code"], last["left_files"]) == (70, 1)
        assert "runs" in last["cause"]
        assert not found.named("daemon.stopping")


def test_a_duty_that_cannot_be_kept_ends_all(root: Path, env: dict[str, str], database: str) -> None:
    """When leases cannot be renewed for a reason that does not heal, the process ends and says why."""
    with daemon(root, env=env | {"TRACEWATCHD_DATABASE__LEASE_TTL_S": "1"}) as found:
        settled(found)
        query(database, "ALTER TABLE leases RENAME TO elsewhere")
        assert ended(found) == 70
        assert "leases" in stopped(found)["cause"]


@pytest.mark.parametrize(
    ("setting", "value", "status"),
    [("TRACEWATCHD_WATCH__SWEEP_INTERVAL_S", "never", 78), ("TRACEWATCHD_WATCH__ROOTS", "/a:/a/b", 78)],
)
def test_a_configuration_that_cannot_be_used_starts_nothing(
    env: dict[str, str], setting: str, value: str, status: int
) -> None:
    """A fault ends the command before its first event."""
    ended = command("run", env=env | {setting: value})
    assert ended.returncode == status
    assert "daemon.started" not in ended.stderr
    assert "Traceback" not in ended.stderr


# ---- one daemon per source


@pytest.fixture
def quick(env: dict[str, str]) -> dict[str, str]:
    """Leases that expire soon."""
    return env | {"TRACEWATCHD_DATABASE__LEASE_TTL_S": "1"}


@contextmanager
def first_and_second(root: Path, env: dict[str, str]) -> Iterator[tuple[Running, Running]]:
    """A daemon at work and another that stands by for it."""
    with daemon(root, env=env) as first:
        settled(first)
        with daemon(root, env=env) as second:
            second.wait_for("daemon.standby")
            yield first, second


def test_a_standby_takes_over_when_the_first_stops(root: Path, quick: dict[str, str], database: str) -> None:
    """The second daemon says once for whom it waits, and is ready soon after the first ends."""
    with first_and_second(root, quick) as (first, second):
        (standby,) = second.named("daemon.standby")
        assert standby["source"] == str(root)
        assert f":{first.pid}:" in standby["holder"]
        put_runs(root, 3)
        rows_reach(database, 3)
        assert first.stop() == 0
        settled(second)
        put(root, run_path(4), run_body(4))
        rows_reach(database, 4)
        assert second.stop() == 0
        assert len(second.named("daemon.standby")) == len(second.named("daemon.ready")) == 1


def test_a_standby_takes_over_from_a_killed_daemon(root: Path, quick: dict[str, str], database: str) -> None:
    """After kill -9 nobody gives the lease back: the standby has it when it has expired."""
    with first_and_second(root, quick) as (first, second):
        first.kill()
        put_runs(root, 1)
        settled(second)
        rows_reach(database, 1)
        assert second.stop() == 0


def test_a_standby_stops_when_it_is_asked_to(root: Path, quick: dict[str, str]) -> None:
    """A daemon that only waits ends at once, leaves the other's lease alone, and never says that it is ready."""
    with first_and_second(root, quick) as (first, second):
        assert second.stop() == 0
        assert (stopped(second)["exit_code"], second.named("daemon.ready")) == (0, [])
        assert first.stop() == 0
        assert not first.named("lease.lost")


def test_a_daemon_that_lost_its_lease_stands_by_and_comes_back(
    root: Path, quick: dict[str, str], database: str
) -> None:
    """Who was silent for too long steps back without a sweep of its own, and goes on when the other ends."""
    with daemon(root, env=quick) as found:
        settled(found)
        query(database, "UPDATE leases SET holder = 'other:1', expires_at = now() + interval '1 hour'")
        assert found.wait_for("lease.lost")["holder"] == "other:1"
        assert found.wait_for("daemon.standby")["holder"] == "other:1"
        put_runs(root, 2)
        assert len(found.named("sweep.finished")) == 1
        query(database, "DELETE FROM leases")
        found.wait_for("daemon.ready", count=2)
        rows_reach(database, 2)
        assert found.stop() == 0
        assert stopped(found)["left_files"] == 0


def test_a_daemon_that_stood_still_while_another_took_over_steps_back(
    root: Path, quick: dict[str, str], database: str
) -> None:
    """SIGSTOP for longer than the lease lives, SIGCONT: the other goes on, and this one stands by."""
    with first_and_second(root, quick) as (first, second):
        first.send(signal.SIGSTOP)
        settled(second)
        first.send(signal.SIGCONT)
        assert f":{second.pid}:" in first.wait_for("lease.lost")["holder"]
        first.wait_for("daemon.standby")
        put_runs(root, 2)
        rows_reach(database, 2)
        assert second.stop() == 0
        first.wait_for("daemon.ready", count=2)
        assert first.stop() == 0


# ---- the supervisor


def test_a_supervisor_is_told_that_it_is_ready_and_that_it_stops(
    root: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """The installed command notifies systemd's socket, which its unit waits for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(30)
        with daemon(root, env=env | {"NOTIFY_SOCKET": str(tmp_path / "notify")}) as found:
            assert supervisor.recv(1_000) == b"EXTEND_TIMEOUT_USEC=30000000\nSTATUS=starting"
            assert supervisor.recv(1_000) == b"READY=1\nSTATUS=watching"
            assert found.stop() == 0
            while not (said := supervisor.recv(1_000)).startswith(b"STOPPING=1\n"):
                assert said.startswith(b"STATUS=watching 1 root: ")
            assert said.endswith(b"\nSTATUS=stopping")


def test_a_reader_of_the_log_that_stands_still_stops_no_file(root: Path, env: dict[str, str], database: str) -> None:
    """While nobody reads standard error, far beyond what its pipe holds, files become rows; no line is broken."""
    unread = subprocess.Popen(
        [COMMAND, "run", str(root)],
        env=env | {"TRACEWATCHD_INGEST__BATCH_ROWS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        pipesize=4096,
    )
    try:
        put_runs(root, 300)
        rows_reach(database, 300)
        found = Running(unread)
        assert found.stop() == 0
        assert found.other == []
        assert len(found.named("batch.committed")) >= 300
        assert stopped(found)["exit_code"] == 0
    finally:
        unread.kill()
        unread.wait()
        assert unread.stderr
        unread.stderr.close()
