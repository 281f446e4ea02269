"""The manifests for Compose and Kubernetes are valid, and say what the daemon and the image rely on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml
from compose_spec import PyCompose

from tracewatchd.settings import PREFIX, SECRETS_VARIABLE, SETTINGS, Settings

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
COMPOSE = REPOSITORY / "docs" / "deploy" / "compose.yaml"
KUBERNETES = REPOSITORY / "docs" / "deploy" / "kubernetes.yaml"
OLDEST_WITH_SIDECARS = "1.29"
SETTINGS_BY_VARIABLE = {setting.variable: setting for setting in SETTINGS.values()}


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def _resources() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(KUBERNETES.read_text()))


def _pod() -> dict[str, Any]:
    (found,) = [one["spec"]["template"]["spec"] for one in _resources() if one["kind"] == "StatefulSet"]
    return dict(found)


def _sidecar() -> dict[str, Any]:
    (found,) = _pod()["initContainers"]
    return dict(found)


def _hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).parent / "hadolint"
    return subprocess.run([tool, "--no-color", path], capture_output=True, text=True, timeout=60, check=False)


# ---- validators


def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile follows every rule of hadolint, with no exception made."""
    result = _hadolint(DOCKERFILE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert "hadolint ignore" not in DOCKERFILE.read_text()


def test_hadolint_sees_a_slip(tmp_path: Path) -> None:
    """A package without a version in the Dockerfile is found."""
    worse = tmp_path / "Dockerfile"
    worse.write_text(re.sub(r"tini=\S+", "tini", DOCKERFILE.read_text()))
    assert "DL3008" in _hadolint(worse).stdout


def test_the_compose_file_follows_the_specification() -> None:
    """Every key and value is one of the Compose specification."""
    assert PyCompose.from_yaml(COMPOSE.read_text()).service_names() == ["application", "tracewatchd", "database"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("read_only: true\n", "readonly: true\n"), ("40s", "soon"), ("service_started", "service_begun")],
)
def test_the_specification_sees_a_slip(right: str, wrong: str) -> None:
    """A misspelt key, a duration and a condition that do not exist are refused."""
    text = COMPOSE.read_text()
    assert right in text
    with pytest.raises(ValueError, match=wrong.partition(":")[0]):
        PyCompose.from_yaml(text.replace(right, wrong))


@pytest.mark.parametrize("version", [OLDEST_WITH_SIDECARS, kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(version: str) -> None:
    """Each resource is valid by the strict schema of the oldest version with sidecars and of the newest known."""
    for resource in _resources():
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_schema_sees_a_slip() -> None:
    """A misspelt field of the sidecar is refused."""
    stateful = _resources()[-1]
    stateful["spec"]["template"]["spec"]["initContainers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(stateful, OLDEST_WITH_SIDECARS, strict=True)


# ---- what they mean


def test_secrets_are_files_that_settings_look_for() -> None:
    """No password stands in a manifest; what tracewatchd gets are files named as its secret settings."""
    known = {setting.secret_file for setting in SETTINGS.values() if setting.secret}
    compose = _compose()
    assert set(compose["services"]["tracewatchd"]["secrets"]) <= known & set(compose["secrets"])
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    variables = {one["name"]: one.get("value") for one in _sidecar()["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in _sidecar()["volumeMounts"]}
    assert mounts[variables[SECRETS_VARIABLE]] == "secrets"
    assert not any(SETTINGS_BY_VARIABLE[name].secret for name in variables if name in SETTINGS_BY_VARIABLE)


def test_variables_are_settings() -> None:
    """Each variable of ours sets something, and the roots of a pod are named after it."""
    variables = {one["name"]: one.get("value") for one in _sidecar()["env"]}
    ours = {name for name in variables if name.startswith(PREFIX)} - {SECRETS_VARIABLE}
    assert ours <= SETTINGS_BY_VARIABLE.keys()
    (root,) = json.loads(variables["TRACEWATCHD_WATCH__ROOTS"])
    assert root == {"path": "/traces", "source": "$(POD_NAME)"}
    names = [one["name"] for one in _sidecar()["env"]]
    assert names.index("POD_NAME") < names.index("TRACEWATCHD_WATCH__ROOTS"), "only what stands before is put in"


def test_the_sidecar_ends_after_the_application_and_has_time_to_drain() -> None:
    """Compose stops in reverse order of dependence, Kubernetes a native sidecar last; both wait for the drain."""
    drain_s = Settings().service.shutdown_s
    services = _compose()["services"]
    assert "tracewatchd" in services["application"]["depends_on"]
    assert "database" in services["tracewatchd"]["depends_on"]
    assert int(services["tracewatchd"]["stop_grace_period"].removesuffix("s")) >= drain_s + 15
    assert _sidecar()["restartPolicy"] == "Always"
    assert _pod()["terminationGracePeriodSeconds"] >= 2 * drain_s + 30


def test_the_sidecar_may_only_read() -> None:
    """The traces are mounted read-only, as is the root file system; no capability, no way to more rights."""
    service, sidecar = _compose()["services"]["tracewatchd"], _sidecar()
    (traces,) = [one for one in service["volumes"] if one["target"] == "/traces"]
    assert traces["read_only"] is service["read_only"] is True
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert {"name": "traces", "mountPath": "/traces", "readOnly": True} in sidecar["volumeMounts"]
    context = sidecar["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in DOCKERFILE.read_text()


def test_probes_never_ask_the_database() -> None:
    """An outage of the database neither restarts the pod, nor keeps its application from starting or from serving."""
    sidecar = _sidecar()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert sidecar[probe]["httpGet"] == {"path": "/livez", "port": "tracewatchd"}
    assert sidecar["ports"] == [{"name": "tracewatchd", "containerPort": Settings().http.port}]


def test_every_container_has_its_share() -> None:
    """What the daemon may use of the machine is limited in both manifests."""
    assert _compose()["services"]["tracewatchd"]["deploy"]["resources"]["limits"] == {"cpus": "1", "memory": "512M"}
    assert all("memory" in one["resources"]["limits"] for one in (_sidecar(), *_pod()["containers"]))
