"""The daemon over HTTP, as probes, monitors and people find it, and the commands that ask it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

import browser as chromium
from daemons import daemon, ended, settled, stopped
from one_shot import Desk
from postgres import Server
from running import COMMAND, Running, eventually, running

TOKEN = "correct-horse-battery"


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body of an answer, whatever the status."""
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as answer:  # noqa: S310 - of this machine
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def served(desk: Desk) -> Iterator[tuple[Running, str]]:
    """A daemon at a port that commands are told, too, and where it answers."""
    desk.settings["TRACEWATCHD_HTTP__PORT"] = str(free_port())
    with daemon(env=desk.env, cwd=desk.directory) as found:
        yield found, found.wait_for("http.started")["url"].rstrip("/")


def metric(url: str, name: str, **labels: str) -> float | None:
    """A sample of the exposition."""
    _, text = get(f"{url}/metrics")
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return next((one.value for one in samples if one.name == name and labels.items() <= one.labels.items()), None)


def status(url: str) -> dict[str, Any]:
    code, text = get(f"{url}/status")
    assert code == 200
    answer: dict[str, Any] = json.loads(text)
    return answer


@pytest.fixture
def desk(tmp_path: Path, database: str) -> Desk:
    return Desk(tmp_path, database)


@pytest.fixture
def own_server(server_of: Callable[..., Server], wheel: Path) -> Server:
    """A server that the test may stop."""
    return server_of(wheel)


def test_a_healthy_daemon(desk: Desk) -> None:
    """Probes, metrics, status and both commands say that all is well; nobody answers when the daemon has stopped."""
    for number in range(20):
        desk.put(number)
    with served(desk) as (found, url):
        settled(found)
        assert get(f"{url}/livez") == (200, "alive\n")
        eventually(lambda: get(f"{url}/readyz") == (200, "ready\n"), why=found.tail)
        eventually(lambda: status(url)["health"] == "healthy", why=lambda: status(url))
        assert metric(url, "tracewatchd_rows_total") == 20
        assert metric(url, "tracewatchd_files_total", outcome="loaded") == 20
        assert metric(url, "tracewatchd_ledger_files", state="loaded") == 20
        assert metric(url, "tracewatchd_database_up") == 1
        assert metric(url, "tracewatchd_last_sweep_timestamp_seconds", depth="quick") is not None
        told = status(url)
        assert told["pid"] == found.pid
        assert sum(point["rows"] for point in told["curve"]) == 20
        assert [day["verdict"] for day in told["answers"]["days"]] == ["consistent"]
        assert desk.database not in json.dumps(told)
        health = desk.run("health")
        assert (health.returncode, health.stdout) == (0, "healthy\n")
        shown = desk.run("status")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith("healthy: Every run file is a row: 20 run files compared ")
        assert desk.json("status")["daemon"]["health"] == "healthy"
        assert found.stop() == 0
    silent = desk.run("health")
    assert (silent.returncode, silent.stdout) == (3, "")
    assert "no daemon answers at http://127.0.0.1:" in silent.stderr
    assert "hint: " in silent.stderr


def test_quarantine_wants_a_person(desk: Desk) -> None:
    """A file that cannot be stored is a warning with the command to run next; that command works as it stands."""
    desk.put(1)
    desk.put(2, b"this is a note, not a run\n")
    with served(desk) as (found, url):
        settled(found)
        found.wait_for("file.quarantined")
        told = eventually(lambda: (now := status(url))["health"] == "attention" and now, why=lambda: status(url))
        (file,) = told["answers"]["quarantine"]
        assert file["reason"] == "invalid_json"
        shown = subprocess.run(  # noqa: S602 - as a person pastes it into a shell
            file["command"].replace("tracewatchd", COMMAND, 1),
            shell=True,
            env=desk.env,
            capture_output=True,
            check=False,
        )
        assert shown.returncode == 0, shown.stderr
        assert b"invalid_json" in shown.stdout
        assert "1 file cannot be stored" in told["sentence"]
        assert desk.run("status").returncode == 0
        assert desk.run("status", "--strict").returncode == 1
        assert desk.run("health").returncode == 0
        assert metric(url, "tracewatchd_quarantine_files") == 1


@pytest.mark.timeout(240)
def test_an_outage_is_told_at_once_and_kills_nobody(tmp_path: Path, own_server: Server) -> None:
    """With Postgres gone the daemon is alive, not ready, and says why; every answer comes within seconds."""
    desk = Desk(tmp_path, own_server.dsn(), {"TRACEWATCHD_DATABASE__LEASE_TTL_S": "4"})
    desk.put(1)
    with served(desk) as (found, url):
        settled(found)
        eventually(lambda: status(url)["health"] == "healthy")
        own_server.stop(signal.SIGKILL)
        found.wait_for("store.unavailable")
        began = monotonic()
        assert get(f"{url}/livez") == (200, "alive\n")
        code, word = get(f"{url}/readyz")
        assert code == 503
        assert word.startswith("waiting for database for ")
        told = status(url)
        assert (told["health"], told["database"]["up"]) == ("unhealthy", False)
        assert told["sentence"].startswith("The database has not answered for ")
        assert [day["directory"] for day in told["answers"]["days"]] != []
        assert told["answers"]["error"] == "the database cannot be asked now"
        assert "Unhealthy" in get(url)[1]
        assert metric(url, "tracewatchd_database_up") == 0
        assert monotonic() - began < 15
        health = desk.run("health")
        assert health.returncode == 1
        assert health.stdout.startswith("unhealthy: waiting for database for ")
        assert desk.run("status").returncode == 1
        own_server.start()
        found.wait_for("store.recovered")
        eventually(lambda: get(f"{url}/readyz")[0] == 200)
        eventually(lambda: status(url)["health"] == "healthy")
        assert (metric(url, "tracewatchd_database_outage_seconds_total") or 0) > 0


def test_it_answers_before_its_database_does(tmp_path: Path, own_server: Server) -> None:
    """A daemon that waits for Postgres from the start is alive and says what it waits for."""
    own_server.stop(signal.SIGKILL)
    desk = Desk(tmp_path, own_server.dsn())
    with served(desk) as (found, url):
        found.wait_for("store.unavailable")
        assert get(f"{url}/livez")[0] == 200
        assert get(f"{url}/readyz")[1].startswith("waiting for database for ")
        assert "the database cannot be asked now" in get(url)[1]


def test_a_standby_is_ready(desk: Desk) -> None:
    """A second daemon of the same root stands by, is healthy, and says for whom."""
    with served(desk) as (first, _):
        settled(first)
        with served(desk) as (second, url):
            second.wait_for("daemon.standby")
            assert get(f"{url}/readyz") == (200, "ready\n")
            told = status(url)
            assert (told["phase"], told["health"]) == ("standby", "healthy")
            assert "Standby" in get(url)[1]


def test_a_port_in_use_is_a_start_that_failed(desk: Desk) -> None:
    """The daemon says so in a plain sentence with a hint, and ends so that a supervisor tries again later."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        desk.settings["TRACEWATCHD_HTTP__PORT"] = str(taken.getsockname()[1])
        with daemon(env=desk.env, cwd=desk.directory) as found:
            assert ended(found) == 70
        last = stopped(found)
    assert "is in use by another process" in last["cause"]
    assert "http.port of its own" in last["hint"]


def test_http_may_be_off(desk: Desk) -> None:
    """Without it nothing listens; the commands say so, and `status` asks the database."""
    desk.put(1)
    desk.settings["TRACEWATCHD_HTTP__ENABLED"] = "false"
    with daemon(env=desk.env, cwd=desk.directory) as found:
        settled(found)
        assert found.named("http.started") == []
        listening = Path(f"/proc/{found.pid}/net/tcp").read_text()
        assert f"{9477:04X}" not in listening or f"0100007F:{9477:04X}" not in listening
        health = desk.run("health")
        assert (health.returncode, health.stdout) == (3, "")
        assert "http.enabled is false" in health.stderr
        shown = desk.run("status")
        assert shown.returncode == 0
        assert "this is what the database knows" in shown.stdout
        assert "is on duty" in shown.stdout
        assert found.stop() == 0


def test_status_without_a_daemon_is_what_the_database_knows(desk: Desk) -> None:
    """Nobody on duty is a finding; so are days that disagree; without a database nothing could be checked."""
    desk.put(1)
    assert desk.run("archive", "to-db", "--all").returncode == 0
    assert desk.run("reconcile", "--once").returncode == 0
    told = desk.json("status", status=1)
    assert told["daemon"] is None
    assert told["silent"] == "http.port is 0: nobody knows the daemon's port"
    assert (told["database"]["holders"], told["database"]["days"]) == ({}, 1)
    shown = desk.run("status")
    assert "no daemon is on duty" in shown.stdout
    desk.rows("UPDATE project_days SET verdict = 'inconsistent' RETURNING 1")
    assert "of them are inconsistent" in desk.run("status").stdout
    away = desk.run("status", TRACEWATCHD_DATABASE__URL="postgresql://nobody@127.0.0.1:1/none")
    assert away.returncode == 3
    assert "the database" in away.stderr


def test_with_a_token_only_probes_are_answered_freely(desk: Desk, tmp_path: Path) -> None:
    """Off loopback a token is required; commands take it from the settings; it is in no log line."""
    desk.settings["TRACEWATCHD_HTTP__HOST"] = "0.0.0.0"  # noqa: S104 - what is tested
    refused = desk.run("run")
    assert refused.returncode == 78
    assert "off loopback, where http.token is required" in refused.stderr
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "tracewatchd_http__token").write_text(TOKEN)
    desk.settings["TRACEWATCHD_SECRETS_DIR"] = str(secrets)
    with served(desk) as (found, told):
        url = told.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - as above
        settled(found)
        assert get(f"{url}/livez")[0] == 200
        assert get(f"{url}/status")[0] == get(f"{url}/metrics")[0] == 401
        assert get(f"{url}/status", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert desk.run("status").returncode == 0
        assert desk.run("health").returncode == 0
        (secrets / "tracewatchd_http__token").write_text(TOKEN + "-other")
        other = desk.run("status")
        assert "wants its token" in other.stdout
        assert found.stop() == 0
    assert TOKEN not in json.dumps(found.events)
    assert found.named("http.started")[0]["needs_token"] is True


def test_what_listens_there_may_be_something_else(desk: Desk) -> None:
    """Something that speaks no HTTP, or another program, is no daemon."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        desk.settings["TRACEWATCHD_HTTP__PORT"] = str(other.getsockname()[1])
        process = subprocess.Popen([COMMAND, "health"], env=desk.env, stderr=subprocess.PIPE, text=True)
        connection, _ = other.accept()
        connection.sendall(b"220 mail\r\n")
        connection.close()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "speaks no HTTP to its end" in error


def test_another_http_server_is_no_daemon(desk: Desk) -> None:
    """What answers, but not as a daemon does, is named, and the database is asked instead."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        desk.settings["TRACEWATCHD_HTTP__PORT"] = str(other.server_port)
        answering = Thread(target=other.handle_request)
        answering.start()
        shown = desk.run("status")
        answering.join(60)
    assert shown.returncode == 1
    assert "is no tracewatchd of this version (HTTP 501)" in shown.stdout


@pytest.mark.parametrize("terminal", [False, True])
def test_watching_shows_it_anew(desk: Desk, *, terminal: bool) -> None:
    """`--watch` shows it again and again, on a terminal in place of what was there; Ctrl-C ends with what was last."""
    desk.put(1)
    with served(desk) as (found, url):
        settled(found)
        eventually(lambda: status(url)["health"] == "healthy")
        arguments = [COMMAND, "status", "--watch", *([] if terminal else ["--json"])]
        reading, writing = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(arguments, env=desk.env, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        text = b""
        while text.count(b"healthy") < 2:
            text += os.read(reading, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        os.close(reading)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
    assert (b"\x1b[2J" in text) is terminal


def test_a_probe_is_quick(desk: Desk) -> None:
    """The best of some takes less than half a second of processor time, interpreter included, and imports no server."""
    with served(desk) as (found, _):
        settled(found)
        eventually(lambda: desk.run("health").returncode == 0)
        script = "import sys; from tracewatchd.cli.main import program; program(['health'])"
        loaded = subprocess.run(
            [str(Path(COMMAND).parent / "python"), "-c", f"{script}; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert not {"asyncpg", "aiohttp", "rich", "prometheus_client", "watchfiles"} & set(loaded)
        assert min(_processor_s(desk) for _ in range(5)) < 0.5


def _processor_s(desk: Desk) -> float:
    # Measuring coverage would take longer than what is measured.
    env = {name: value for name, value in desk.env.items() if not name.startswith("COVERAGE")}
    process = subprocess.Popen([COMMAND, "health"], env=env, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.timeout(240)
@pytest.mark.skipif(
    chromium.PROGRAM is None, reason="no Chromium is installed (tests/system-packages installs one where it may)"
)
def test_the_page_follows_the_daemon_without_a_reload(desk: Desk) -> None:
    """An open page shows a quarantined file by itself, and says so when the daemon is gone; it asks nobody else."""
    desk.put(1)
    with served(desk) as (found, url), chromium.browser() as page:
        settled(found)
        eventually(lambda: status(url)["health"] == "healthy")
        page.look()
        page.open(url + "/")
        page.value("window.stays = true")
        assert page.value("document.querySelector('h1').innerText.trim()") == "Healthy"
        desk.put(2, b"this is a note, not a run\n")
        eventually(
            lambda: page.value("document.querySelector('h1').innerText.trim()") == "Attention",
            patience_s=60,
            why=lambda: page.value("document.body.innerText"),
        )
        assert "quarantine show" in page.value("document.getElementById('quarantine').innerText")
        assert page.value("document.title").startswith("Attention")
        assert page.value("document.getElementById('silent').checkVisibility()") is False
        assert page.messages == []
        assert found.stop() == 0
        eventually(lambda: page.value("document.getElementById('silent').checkVisibility()"), patience_s=60)
        assert "The daemon does not answer." in page.value("document.getElementById('silent').innerText")
        assert page.value("window.stays") is True
        assert {address.split("/")[2] for address in page.requests} == {url.removeprefix("http://")}


def test_the_default_port_is_told(desk: Desk) -> None:
    """Where no port is set, the daemon listens at 9477 of loopback, or says that it is taken."""
    del desk.settings
    desk.settings = {"TRACEWATCHD_HTTP__PORT": ""}
    with running("run", env=desk.env, cwd=desk.directory) as found:
        eventually(lambda: found.named("http.started") or found.named("daemon.stopped"), why=found.tail)
        said = json.dumps(found.named("http.started") or found.named("daemon.stopped"))
    assert "http://127.0.0.1:9477/" in said or "127.0.0.1 port 9477 is in use" in said
