"""The image, built from the Dockerfile and run as it is meant to be: without rights, its root file system read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from containers import Container, Engine, container, engine, volume, why_not
from daemons import query
from postgres import Server
from run_files import put, run_body, run_path
from running import eventually
from tracewatchd.store.server_binaries import USER

pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
BASE = "localhost/tracewatchd-base"
IMAGE = "localhost/tracewatchd"
STATE = "/var/lib/tracewatchd"
SECRET = "/run/secrets/tracewatchd_database__url"
WITHOUT_A_SWEEP = "--env=TRACEWATCHD_WATCH__SWEEP_INTERVAL_S=3600"
TOKEN = "nobody-guesses-this-one"
MOST_ADDED_MB = 160
"""What the image may add to its base: dependencies, and the programs of the embedded server."""
APPLICATION = """
import json, os, time, uuid
day = "/traces/support bot/2026-11-20"
os.makedirs(day)
for number in range(1000):
    run = {"id": str(uuid.uuid4()), "name": "agent", "start_time": "2026-11-20T06:44:12.622037", "number": number}
    name = f"{day}/{run['id']}_064412.json"
    with open(day + "/.writing", "w") as file:
        json.dump({"metadata": {"extracted_at": "2026-11-21T00:00:00+00:00"}, "trace": run}, file)
    os.rename(day + "/.writing", name)
"""
"""An application that exports its runs and ends."""
ASK = """
import sys, urllib.error, urllib.request
path, token = sys.argv[1:]
request = urllib.request.Request("http://127.0.0.1:9477" + path, headers={"Authorization": "Bearer " + token})
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""
"""Asks the daemon of the container over HTTP and prints status and body."""


@pytest.fixture(scope="module")
def builder() -> Iterator[Engine]:
    """An engine that has the image and the base that it was built on."""
    if reason := why_not():
        pytest.skip(reason)
    with engine() as made:
        made.make_base(BASE)
        made.build(IMAGE, BASE, REPOSITORY)
        yield made


@pytest.fixture
def database(server_of: Callable[..., Server], wheel: Path) -> Server:
    """A server that a container reaches by a socket."""
    server = server_of(wheel)
    server.directory.chmod(0o755)
    return server


@pytest.fixture
def reaching(database: Server, tmp_path: Path) -> list[str]:
    """Options of a container that has the socket, and as a secret file the URL, which names an empty database."""
    database.create_database()
    secret = tmp_path / "url"
    secret.write_text(f"postgresql://{USER}@/db1?host=/database")
    secret.chmod(0o444)
    return [f"--volume={database.directory}:/database", f"--volume={secret}:{SECRET}:ro", WITHOUT_A_SWEEP]


def _ready(found: Container) -> Container:
    found.wait_for("daemon.ready")
    found.wait_for("sweep.finished")
    return found


def _every_process_says(found: Container, key: str) -> set[str]:
    """What the kernel says under this key of the container's processes."""
    lines = found.run("sh", "-c", "cat /proc/[0-9]*/status").splitlines()
    return {" ".join(line.split()[1:]) for line in lines if line.startswith(f"{key}:")}


def test_what_it_adds_to_its_base(builder: Engine, record_property: Callable[[str, object], None]) -> None:
    """The image is its base and what the daemon needs, nothing that builds; the summary of the tests says how much."""
    base, image = (builder.size_bytes(tag) / 1e6 for tag in (BASE, IMAGE))
    record_property("size of the image", f"{image:.0f} MB, of which the base (another one in use) {base:.0f} MB")
    assert image - base < MOST_ADDED_MB
    with container(builder, IMAGE, "tools", "--entrypoint=sh", command=("-c", "sleep 600")) as found:
        assert found.run("sh", "-c", "command -v cc gcc g++ c++ ld as make cargo rustc || echo none") == "none"
        assert found.run("sh", "-c", f"ls -A {STATE} /traces; ls /opt") == f"/traces:\n\n{STATE}:\ntracewatchd"


def test_it_needs_no_rights(builder: Engine) -> None:
    """An ordinary user without capabilities runs it, with a root file system that nobody writes to; logs are JSON."""
    with container(builder, IMAGE, "rights") as found:
        _ready(found)
        assert found.run("id") == "uid=10001(tracewatchd) gid=10001(tracewatchd) groups=10001(tracewatchd)"
        assert _every_process_says(found, "Uid") == _every_process_says(found, "Gid") == {" ".join(["10001"] * 4)}
        assert _every_process_says(found, "CapEff") == _every_process_says(found, "CapPrm") == {"0" * 16}
        assert found.run("sh", "-c", "touch /opt/tracewatchd/x /x 2>&1 | grep -c 'Read-only file system'") == "2"
        assert found.named("embedded.started")
        assert found.stop() == 0
        assert found.events[-1]["event"] == "daemon.stopped"
        assert (found.events[-1]["exit_code"], found.events[-1]["cause"]) == (0, "SIGTERM")


def test_it_is_unhealthy_while_the_database_is_gone(builder: Engine, database: Server, reaching: list[str]) -> None:
    """Three checks in a row find no database: unhealthy; when it is back the next one says healthy."""
    with container(builder, IMAGE, "health", *reaching) as found:
        _ready(found)
        assert found.healthy()
        assert found.inspect("{{.State.Health.Status}}") == "healthy"
        database.stop()
        found.wait_for("store.unavailable")
        assert [found.healthy() for _ in range(3)] == [False] * 3
        assert found.inspect("{{.State.Health.Status}}") == "unhealthy"
        database.start()
        found.wait_for("store.recovered")
        eventually(found.healthy, every_s=0.5)
        assert found.inspect("{{.State.Health.Status}}") == "healthy"
        assert found.stop() == 0


def test_a_pod_starts_without_its_database(
    builder: Engine, database: Server, reaching: list[str], tmp_path: Path
) -> None:
    """With the manifest's variables: alive while the database is away, ready when it is there; metrics for a token."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "tracewatchd_http__token").write_text(TOKEN)
    (tmp_path / "url").rename(secrets / "tracewatchd_database__url")
    options = [f"--volume={database.directory}:/database", f"--volume={secrets}:/etc/tracewatchd/secrets:ro"]
    database.stop()
    with container(builder, IMAGE, "pod-0", *options, *_variables_of_the_pod("pod-0")) as found:
        found.wait_for("store.unavailable")
        assert found.run("python3", "-c", ASK, "/livez", "").startswith("200 ")
        assert found.run("python3", "-c", ASK, "/readyz", "").startswith("503 ")
        database.start()
        assert _ready(found).named("sweep.finished")[0]["source"] == "pod-0"
        assert found.run("python3", "-c", ASK, "/readyz", "").startswith("200 ")
        assert found.run("python3", "-c", ASK, "/metrics", "guessed").startswith("401 ")
        assert "tracewatchd_build_info" in found.run("python3", "-c", ASK, "/metrics", TOKEN)
        assert found.healthy()
        assert found.stop() == 0


def _variables_of_the_pod(name: str) -> list[str]:
    """The environment that Kubernetes makes of the manifest for a pod of this name, as options."""
    *_, stateful = yaml.safe_load_all((REPOSITORY / "docs" / "deploy" / "kubernetes.yaml").read_text())
    (sidecar,) = stateful["spec"]["template"]["spec"]["initContainers"]
    return [f"--env={one['name']}={one.get('value', name).replace('$(POD_NAME)', name)}" for one in sidecar["env"]]


def test_process_1_buries_orphans(builder: Engine) -> None:
    """After kill -9 of the embedded server none of its processes stays a zombie, and the daemon starts another."""
    with container(builder, IMAGE, "orphans") as found:
        _ready(found)
        assert found.run("readlink", "/proc/1/exe") == "/usr/local/bin/tini"
        found.run("sh", "-c", f"kill -9 $(head -1 {STATE}/cluster/postmaster.pid)")
        found.wait_for("embedded.started", count=2)
        eventually(lambda: "Z (zombie)" not in _every_process_says(found, "State"), every_s=0.2)
        assert found.stop() == 0


def test_what_a_signal_and_an_exit_status_pass_through(builder: Engine) -> None:
    """The exit status of the command is the container's; the init is silent also where it is not process 1."""
    with container(builder, IMAGE, "fault", command=("run", "--config", "/nowhere")) as found:
        assert found.wait() == 78
    with container(builder, IMAGE, "nested", "--entrypoint=sh", command=("-c", "sleep 600")) as found:
        said = found.run("sh", "-c", "tini -s -- tracewatchd --version 2>&1")
        assert said.split()[0] == "tracewatchd"
        assert len(said.splitlines()) == 1


def test_a_container_that_is_made_anew_goes_on(builder: Engine, tmp_path: Path) -> None:
    """By its host name and its volume the next container is the same; under another name it is told what to do."""
    tmp_path.chmod(0o755)
    put(tmp_path, run_path(1), run_body(1))
    options = (f"--volume={tmp_path}:/traces:ro", f"--volume=state:{STATE}")
    with volume(builder, "state"):
        for _ in range(2):
            with container(builder, IMAGE, "same", *options) as found:
                _ready(found)
                assert found.stop() == 0
                assert found.named("sweep.finished")[-1]["states"] == {"loaded": 1}
        with container(builder, IMAGE, "other", *options) as found:
            assert found.wait() == 70
            assert "belongs to another host" in found.events[-1]["cause"]
            assert found.events[-1]["hint"]


def test_a_sidecar_loads_everything_before_it_ends(builder: Engine, database: Server, reaching: list[str]) -> None:
    """Another user's application writes 1,000 files and ends, the sidecar is stopped right after: 1,000 rows."""
    application = ("--user=1000:1000", "--volume=traces:/traces")
    with (
        volume(builder, "traces") as traces,
        container(builder, IMAGE, "sidecar", *reaching, "--volume=traces:/traces:ro,nocopy") as sidecar,
    ):
        _ready(sidecar)
        assert "Read-only" in sidecar.run("sh", "-c", "touch /traces/x 2>&1 || true")
        builder.call("chown", "1000:1000", traces)  # as where the application's image has the directory and its owner
        with container(builder, BASE, "application", *application, command=("python3", "-c", APPLICATION)) as found:
            assert found.wait() == 0
            assert sidecar.stop() == 0
        assert sidecar.named("sweep.finished")[-1]["states"] == {"loaded": 1000}
        last = sidecar.events[-1]
        assert (last["event"], last["left_files"], last["cause"]) == ("daemon.stopped", 0, "SIGTERM")
        assert f"{USER}@" not in sidecar.inspect("{{json .}}"), "the URL came as a secret file"
    assert query(database.dsn("db1"), "SELECT count(*) FROM runs") == 1000
