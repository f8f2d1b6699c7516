"""Tests of k8s.check: the manifests pass, and each seeded fault is found by its rule alone."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

from k8s.check import schemas
from k8s.check.__main__ import RULES, check, main
from k8s.check.manifests import ROOT, Manifests, render, render_with
from k8s.check.objects import cron
from model.utils.errors import UserError

Fault = Callable[[Manifests], object]


def get(manifests: Manifests, kind: str, name: str) -> Any:
    """Returns the object whose name begins so; kustomize appends a hash to some names."""
    return next(each for each in manifests.of(kind) if each["metadata"]["name"].startswith(name))


def template(manifests: Manifests, kind: str = "Deployment", name: str = "mlflow") -> Any:
    return get(manifests, kind, name)["spec"]["template"]


def pod(manifests: Manifests, kind: str = "Deployment", name: str = "mlflow") -> Any:
    return template(manifests, kind, name)["spec"]


def container(manifests: Manifests, kind: str = "Deployment", name: str = "mlflow") -> Any:
    return pod(manifests, kind, name)["containers"][0]


def resources(manifests: Manifests, part: str) -> Any:
    return container(manifests)["resources"][part]


def policy(manifests: Manifests, name: str) -> Any:
    return get(manifests, "NetworkPolicy", name)["spec"]


def job(manifests: Manifests) -> Any:
    return get(manifests, "CronJob", "backup")["spec"]


def job_template(manifests: Manifests) -> Any:
    return job(manifests)["jobTemplate"]["spec"]["template"]


def labels(manifests: Manifests, kind: str) -> Any:
    """Returns the labels that MLflow's object of this kind selects by."""
    return get(manifests, kind, "mlflow")["spec"]["selector"]["matchLabels"]


def endpoint(manifests: Manifests) -> Any:
    return get(manifests, "ServiceMonitor", "mlflow")["spec"]["endpoints"][0]


def block(manifests: Manifests) -> Any:
    return policy(manifests, "postgres")["egress"][0]["to"][0]["ipBlock"]


def hard(manifests: Manifests) -> Any:
    return get(manifests, "ResourceQuota", "colorizer")["spec"]["hard"]


def output(manifests: Manifests, step: str, name: str) -> Any:
    """Returns an output parameter of a step of the compiled pipeline."""
    return manifests.pipeline.spec["components"][f"comp-{step}"]["outputDefinitions"]["parameters"][name]


def rules(manifests: Manifests) -> Any:
    return get(manifests, "Role", "colorizer-steps")["rules"]


def drop(manifests: Manifests, kind: str, name: str) -> None:
    manifests.objects.remove(get(manifests, kind, name))


def move(manifests: Manifests, kind: str, name: str) -> None:
    """Moves an object to another namespace."""
    get(manifests, kind, name)["metadata"]["namespace"] = "kubeflow"


def above(manifests: Manifests) -> None:
    """Gives a container more memory than a LimitRange lets it have; the quota has room."""
    resources(manifests, "limits").update(memory="33Gi")
    hard(manifests).update({"limits.memory": "999Gi"})


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "colorizer-s3", "namespace": "colorizer"},
    "stringData": {"AWS_SECRET_ACCESS_KEY": "hunter2"},
}
PART_OF = "app.kubernetes.io/part-of"
NAMESPACE = "kubernetes.io/metadata.name"
DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
EXTRA = {"protocol": "TCP", "port": 5001}
ONE = {"app.kubernetes.io/name": "mlflow"}
PRIVATE = {"imagePullSecrets": [{"name": "mine"}]}

FAULTS: list[tuple[str, str, Fault]] = [
    ("image", "latest", lambda m: container(m).update(image="ghcr.io/mlflow/mlflow:latest")),
    ("image", "no tag", lambda m: container(m).update(image="registry:5000/mlflow")),
    ("non_root", "root's number", lambda m: pod(m)["securityContext"].update(runAsUser=0)),
    ("non_root", "unsaid", lambda m: pod(m)["securityContext"].pop("runAsNonRoot")),
    ("read_only_root", "unsaid", lambda m: container(m)["securityContext"].pop("readOnlyRootFilesystem")),
    ("no_escalation", "allowed", lambda m: container(m)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("no_escalation", "capability", lambda m: container(m)["securityContext"]["capabilities"].update(add=["KILL"])),
    ("no_escalation", "no seccomp", lambda m: pod(m)["securityContext"].pop("seccompProfile")),
    ("resources", "no memory limit", lambda m: resources(m, "limits").pop("memory")),
    ("resources", "none", lambda m: container(m).pop("resources")),
    ("requests_within_limits", "above", lambda m: resources(m, "limits").update(cpu="499m")),
    ("within_limit_range", "above", above),
    ("probes", "no liveness", lambda m: container(m).pop("livenessProbe")),
    ("no_plain_secret", "variable", lambda m: container(m)["env"].append({"name": "DB_PASSWORD", "value": "hunter2"})),
    ("no_plain_secret", "object", lambda m: m.objects.append(SECRET)),
    ("no_plain_secret", "configuration", lambda m: get(m, "ConfigMap", "postgres")["data"].update(API_TOKEN="x")),
    ("mounts", "no volume", lambda m: pod(m)["volumes"].pop()),
    ("config_maps", "gone", lambda m: drop(m, "ConfigMap", "mlflow")),
    ("config_maps", "elsewhere", lambda m: move(m, "ConfigMap", "postgres")),
    ("config_maps", "no such key", lambda m: get(m, "ConfigMap", "mlflow")["data"].pop("basic_auth.ini")),
    ("variables", "of an argument", lambda m: container(m)["args"].append("--tag=$(MLFLOW_TAG)")),
    ("variables", "of a ConfigMap", lambda m: get(m, "ConfigMap", "postgres")["data"].pop("PGDATABASE")),
    ("secrets", "undocumented", lambda m: container(m)["envFrom"].append({"secretRef": {"name": "other"}})),
    ("secrets", "no such key", lambda m: endpoint(m)["basicAuth"]["username"].update(key="USER")),
    ("secrets", "to pull with", lambda m: get(m, "ServiceAccount", "web").update(PRIVATE)),
    ("service_accounts", "gone", lambda m: drop(m, "ServiceAccount", "web")),
    ("service_accounts", "elsewhere", lambda m: move(m, "ServiceAccount", "web")),
    (
        "service_accounts",
        "default's token",
        lambda m: [pod(m).pop(each) for each in ("serviceAccountName", "automountServiceAccountToken")],
    ),
    ("bindings", "role elsewhere", lambda m: move(m, "Role", "colorizer-steps")),
    ("bindings", "account elsewhere", lambda m: get(m, "RoleBinding", "color")["subjects"][0].update(namespace="a")),
    ("selectors", "of a Deployment", lambda m: labels(m, "Deployment").update(tier="db")),
    ("selectors", "of a Service", lambda m: get(m, "Service", "mlflow")["spec"]["selector"].update(tier="db")),
    ("selectors", "of a monitor", lambda m: labels(m, "ServiceMonitor").update(tier="db")),
    ("selectors", "of a Service elsewhere", lambda m: move(m, "Service", "mlflow")),
    ("ports", "of a probe", lambda m: container(m)["readinessProbe"]["httpGet"].update(port=5001)),
    ("ports", "of a Service", lambda m: get(m, "Service", "mlflow")["spec"]["ports"][0].update(targetPort="web")),
    ("ports", "of a monitor", lambda m: endpoint(m).update(port="metrics")),
    ("selected", "guarded", lambda m: policy(m, "prometheus")["podSelector"]["matchLabels"].update(tier="db")),
    (
        "selected",
        "in another namespace",
        lambda m: policy(m, "steps")["egress"][0]["to"][0]["namespaceSelector"]["matchLabels"].update(
            {NAMESPACE: "kubeflo"}
        ),
    ),
    (
        "selected",
        "pods of another namespace",
        lambda m: policy(m, "dns")["egress"][0]["to"][0].update(podSelector={"matchLabels": {"k8s-app": "kubedns"}}),
    ),
    ("isolated", "a service", lambda m: job_template(m)["metadata"]["labels"].pop(PART_OF)),
    ("isolated", "the steps", lambda m: policy(m, "deny").update(podSelector={"matchLabels": ONE})),
    ("others", "notebooks", lambda m: policy(m, "deny").update(DENY)),
    ("protocols", "unsaid", lambda m: policy(m, "mlflow")["ingress"][0]["ports"][0].pop("protocol")),
    ("open_ports", "in", lambda m: policy(m, "mlflow")["ingress"][0]["ports"].append(EXTRA)),
    ("open_ports", "out", lambda m: policy(m, "web")["egress"][0]["ports"].append(EXTRA)),
    ("both_sides", "out alone", lambda m: policy(m, "mlflow")["ingress"][0]["from"].pop(2)),
    ("both_sides", "in alone", lambda m: policy(m, "web")["egress"].clear()),
    ("needed", "of Argo", lambda m: rules(m)[0]["verbs"].remove("patch")),
    ("needed", "of Kubeflow's launcher", lambda m: rules(m).pop(1)),
    ("used", "a verb", lambda m: rules(m)[3]["verbs"].append("list")),
    ("used", "all objects", lambda m: rules(m)[2].pop("resourceNames")),
    ("tokens", "of the page", lambda m: get(m, "ServiceAccount", "web").pop("automountServiceAccountToken")),
    ("namespaces", "missing", lambda m: get(m, "LimitRange", "colorizer")["metadata"].pop("namespace")),
    ("namespaces", "of a cluster's", lambda m: get(m, "ClusterQueue", "colorizer")["metadata"].update(namespace="any")),
    ("pod_security", "unsaid", lambda m: get(m, "Namespace", "colorizer")["metadata"].pop("labels")),
    ("cron", "61st minute", lambda m: job(m).update(schedule="61 * * * *")),
    ("cron", "no time zone", lambda m: job(m).pop("timeZone")),
    ("restart_policy", "of a job", lambda m: job_template(m)["spec"].update(restartPolicy="Always")),
    ("cidrs", "no address", lambda m: block(m).update(cidr="10.0.0.0/33")),
    ("cidrs", "outside", lambda m: block(m).update(cidr="10.0.0.0/8")),
    ("budgets", "none", lambda m: drop(m, "PodDisruptionBudget", "mlflow")),
    ("budgets", "all of them", lambda m: get(m, "PodDisruptionBudget", "mlflow")["spec"].update(minAvailable=2)),
    ("quota", "of limits", lambda m: hard(m).update({"limits.cpu": "32"})),
    ("quota", "of GPUs", lambda m: hard(m).update({"requests.nvidia.com/gpu": "1"})),
    ("quota", "of GPUs by another name", lambda m: hard(m).pop("requests.nvidia.com/gpu")),
    ("quota", "of replicas", lambda m: get(m, "Deployment", "colorizer-web")["spec"].update(replicas=4)),
    ("steps", "a misspelled key", lambda m: get(m, "ConfigMap", "colorizer")["data"].update(MLFLOW_EXPERIMENT="x")),
    ("types", "of a list", lambda m: output(m, "resolve", "origins").update(parameterType="STRING")),
    ("types", "of parts", lambda m: output(m, "partition", "Output").update(parameterType="STRUCT")),
]


@pytest.mark.parametrize("overlay", ["local", "production", "trainer"])
def test_the_manifests_pass(rendered: dict[str, Manifests], overlay: str):
    assert [str(each) for each in check(rendered[overlay])] == []


@pytest.mark.parametrize(
    ("rule", "fault"), [(rule, fault) for rule, _, fault in FAULTS], ids=[f"{r}: {n}" for r, n, _ in FAULTS]
)
def test_a_seeded_fault_is_found_by_its_rule_alone(rendered: dict[str, Manifests], rule: str, fault: Fault):
    whole = rendered["production"]
    broken = Manifests(whole.source, copy.deepcopy(whole.objects), copy.deepcopy(whole.pipeline))
    fault(broken)
    found = {each.__name__: [str(finding) for finding in each(broken)] for each in RULES}
    assert {name: lines for name, lines in found.items() if lines and name != rule} == {}
    assert found[rule]
    sources = ("k8s/overlays/production: ", f"{whole.pipeline.source}: ")
    assert all(line.startswith(sources) for line in found[rule])


def test_every_rule_has_a_seeded_fault():
    assert {rule.__name__ for rule in RULES} == {name for name, _, _ in FAULTS}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda m: container(m).update(imagePulPolicy="Always"), "imagePulPolicy"),
        (lambda m: get(m, "Deployment", "mlflow")["spec"].update(replicas="two"), "two"),
        (lambda m: get(m, "CronJob", "backup").update(apiVersion="batch/v1beta1"), "no batch/v1beta1 CronJob"),
        (lambda m: get(m, "ClusterQueue", "colorizer")["spec"].update(strategy="FIFO"), "strategy"),
        (lambda m: get(m, "LocalQueue", "colorizer")["spec"].pop("clusterQueue"), "clusterQueue"),
        (lambda m: endpoint(m).update(interval="often"), "often"),
    ],
)
def test_schemas_refuse_unknown_missing_and_mistyped_fields(rendered: dict[str, Manifests], fault: Fault, said: str):
    broken = copy.deepcopy(rendered["production"])
    fault(broken)
    changed = [new for old, new in zip(rendered["production"].objects, broken.objects, strict=True) if new != old]
    found = [str(each) for each in schemas.findings(Manifests("broken", changed))]
    assert found
    assert all(said in line for line in found)


def test_the_check_prints_each_finding_and_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "kustomization.yaml").write_text("resources: [account.yaml]\n")
    (tmp_path / "account.yaml").write_text("{apiVersion: v1, kind: ServiceAccount, metadata: {name: lost}}\n")
    monkeypatch.setattr("k8s.check.__main__.cases", lambda: [render(tmp_path)])
    assert main() == 1
    said = capsys.readouterr().err
    assert f"{tmp_path}: ServiceAccount/lost metadata.namespace: nothing is not a declared namespace; " in said


@pytest.mark.slow
def test_the_command_passes_every_overlay_component_and_settings_file():
    done = subprocess.run([sys.executable, "-m", "k8s.check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    every = {path.name for path in (ROOT / "k8s" / "components").iterdir()}
    elsewhere = {"kueue", "monitoring", "retry"}  # the overlay production has two; test_retry.py tests the third
    assert all(name in done.stdout for name in every - elsewhere)
    assert all(name in done.stdout for name in ("local.yaml", "spot.yaml", "trainer.yaml", "retraining.yaml"))


def test_an_error_of_kustomize_becomes_a_user_error(tmp_path: Path):
    (tmp_path / "kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    with pytest.raises(UserError, match=r"nothing\.yaml"):
        render(tmp_path)


@pytest.mark.parametrize("line", ["0 3 * * *", "*/15 0-6,22 1 1-12/2 7"])
def test_a_valid_schedule_passes(rendered: dict[str, Manifests], line: str):
    changed = copy.deepcopy(rendered["production"])
    job(changed).update(schedule=line)
    assert not list(cron(changed))


@pytest.mark.parametrize(
    "line", ["0 3 * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "a * * * *"]
)
def test_an_invalid_schedule_is_found(rendered: dict[str, Manifests], line: str):
    changed = copy.deepcopy(rendered["production"])
    job(changed).update(schedule=line)
    assert any(repr(line) in str(finding) for finding in cron(changed))


def test_the_mlflow_image_has_the_locked_version(rendered: dict[str, Manifests]):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    locked = next(line.split()[0].removeprefix("mlflow==") for line in lines if line.startswith("mlflow=="))
    assert container(rendered["local"])["image"] == f"ghcr.io/mlflow/mlflow:v{locked}-full"


@pytest.fixture(scope="module")
def with_ingress() -> dict[str, str]:
    """Returns MLflow's configuration, with an ingress."""
    manifests = render_with(ROOT / "k8s" / "overlays" / "production", "mlflow-ingress")
    data: dict[str, str] = get(manifests, "ConfigMap", "mlflow")["data"]
    return data


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mlflow.colorizer:5000", True),
        ("10.1.2.3:5000", True),
        ("172.31.0.9:5000", True),
        ("172.32.0.9:5000", False),
        ("100.64.0.1:5000", True),  # carrier-grade, as some clouds number pods
        ("100.127.255.254:5000", True),
        ("100.128.0.1:5000", False),
        ("[fd00:10:244::7]:5000", True),
        ("[2001:db8::7]:5000", False),
        ("mlflow.example.com", True),  # of the component mlflow-ingress
        ("evil.example.com", False),
    ],
)
def test_mlflow_answers_to_its_names_and_to_private_addresses(with_ingress: dict[str, str], host: str, allowed: bool):
    hosts = f"{with_ingress['ALLOWED_HOSTS']},{with_ingress['MORE_ALLOWED_HOSTS']}"
    assert is_allowed_host_header(hosts.split(","), host) is allowed


def test_mlflow_takes_changes_from_its_own_page_behind_an_ingress(with_ingress: dict[str, str]):
    origins = with_ingress["ALLOWED_ORIGINS"].split(",")
    assert not should_block_cors_request("https://mlflow.example.com", "POST", origins)
    assert should_block_cors_request("https://evil.example.com", "POST", origins)


def test_the_pull_secret_holds_for_every_account():
    manifests = render_with(ROOT / "k8s" / "overlays" / "production", "pull-secret")
    accounts = manifests.of("ServiceAccount")
    assert {each["metadata"]["name"] for each in accounts} == {"backup", "colorizer-steps", "mlflow", "web"}
    assert all(each["imagePullSecrets"] == [{"name": "colorizer-registry"}] for each in accounts)
