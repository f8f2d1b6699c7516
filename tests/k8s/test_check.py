"""Tests of k8s.check: the manifests pass, and each seeded fault is found by its rule alone."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from k8s.check import pipeline, schemas
from k8s.check.__main__ import RULES, check, main
from k8s.check.manifests import ROOT, Manifests, render, render_with
from k8s.check.objects import cron
from model.utils.errors import UserError
from pipeline.cli.main import app
from pipeline.compile import to_yaml, write_manifests

Fault = Callable[[Manifests], object]


@pytest.fixture(scope="module")
def rendered() -> dict[str, Manifests]:
    return {name: render(ROOT / "k8s" / "overlays" / name) for name in ("local", "production")}


def get(manifests: Manifests, kind: str, name: str) -> Any:
    """Returns the object whose name begins so; kustomize appends a hash to some names."""
    return next(each for each in manifests.of(kind) if each["metadata"]["name"].startswith(name))


def container(manifests: Manifests, kind: str = "Deployment", name: str = "mlflow") -> Any:
    return get(manifests, kind, name)["spec"]["template"]["spec"]["containers"][0]


def pod(manifests: Manifests, kind: str = "Deployment", name: str = "mlflow") -> Any:
    return get(manifests, kind, name)["spec"]["template"]["spec"]


def policy(manifests: Manifests, name: str) -> Any:
    return get(manifests, "NetworkPolicy", name)["spec"]


def job(manifests: Manifests) -> Any:
    return get(manifests, "CronJob", "backup")["spec"]


def job_pod(manifests: Manifests) -> Any:
    return job(manifests)["jobTemplate"]["spec"]["template"]["spec"]


def labels(manifests: Manifests, kind: str) -> Any:
    """Returns the labels that MLflow's object of this kind selects by."""
    return get(manifests, kind, "mlflow")["spec"]["selector"]["matchLabels"]


def endpoint(manifests: Manifests) -> Any:
    return get(manifests, "ServiceMonitor", "mlflow")["spec"]["endpoints"][0]


def block(manifests: Manifests) -> Any:
    return policy(manifests, "postgres")["egress"][0]["to"][0]["ipBlock"]


def drop(manifests: Manifests, kind: str, name: str) -> None:
    manifests.objects.remove(get(manifests, kind, name))


FAULTS: list[tuple[str, str, Fault]] = [
    ("image", "latest", lambda m: container(m).update(image="ghcr.io/mlflow/mlflow:latest")),
    ("image", "no tag", lambda m: container(m).update(image="registry:5000/mlflow")),
    ("non_root", "root's number", lambda m: pod(m)["securityContext"].update(runAsUser=0)),
    ("non_root", "unsaid", lambda m: pod(m)["securityContext"].pop("runAsNonRoot")),
    ("read_only_root", "unsaid", lambda m: container(m)["securityContext"].pop("readOnlyRootFilesystem")),
    ("no_escalation", "allowed", lambda m: container(m)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("no_escalation", "capability", lambda m: container(m)["securityContext"]["capabilities"].update(add=["KILL"])),
    ("no_escalation", "no seccomp", lambda m: pod(m)["securityContext"].pop("seccompProfile")),
    ("resources", "no memory limit", lambda m: container(m)["resources"]["limits"].pop("memory")),
    ("resources", "none", lambda m: container(m).pop("resources")),
    ("requests_within_limits", "above", lambda m: container(m)["resources"]["requests"].update(cpu="2001m")),
    ("within_limit_range", "above", lambda m: container(m)["resources"]["limits"].update(memory="33Gi")),
    ("probes", "no liveness", lambda m: container(m).pop("livenessProbe")),
    ("no_plain_secret", "variable", lambda m: container(m)["env"].append({"name": "DB_PASSWORD", "value": "hunter2"})),
    (
        "no_plain_secret",
        "object",
        lambda m: m.objects.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "colorizer-s3", "namespace": "colorizer"},
                "stringData": {"AWS_SECRET_ACCESS_KEY": "hunter2"},
            }
        ),
    ),
    ("no_plain_secret", "configuration", lambda m: get(m, "ConfigMap", "colorizer")["data"].update(API_TOKEN="x")),
    ("mounts", "no volume", lambda m: pod(m)["volumes"].pop()),
    ("config_maps", "gone", lambda m: drop(m, "ConfigMap", "mlflow")),
    ("config_maps", "no such key", lambda m: get(m, "ConfigMap", "mlflow")["data"].pop("basic_auth.ini")),
    ("secrets", "undocumented", lambda m: container(m)["envFrom"].append({"secretRef": {"name": "other"}})),
    (
        "secrets",
        "no such key",
        lambda m: endpoint(m)["basicAuth"]["username"].update(key="USER"),
    ),
    ("service_accounts", "gone", lambda m: drop(m, "ServiceAccount", "web")),
    (
        "service_accounts",
        "default's token",
        lambda m: [pod(m).pop(each) for each in ("serviceAccountName", "automountServiceAccountToken")],
    ),
    ("bindings", "no role", lambda m: drop(m, "Role", "colorizer-steps")),
    ("bindings", "no account", lambda m: drop(m, "ServiceAccount", "colorizer-steps")),
    ("selectors", "of a Deployment", lambda m: labels(m, "Deployment").update(tier="db")),
    ("selectors", "of a Service", lambda m: get(m, "Service", "mlflow")["spec"]["selector"].update(tier="db")),
    ("selectors", "of a policy", lambda m: policy(m, "mlflow")["podSelector"]["matchLabels"].update(tier="db")),
    ("selectors", "of a monitor", lambda m: labels(m, "ServiceMonitor").update(tier="db")),
    ("ports", "of a probe", lambda m: container(m)["readinessProbe"]["httpGet"].update(port=5001)),
    ("ports", "of a Service", lambda m: get(m, "Service", "mlflow")["spec"]["ports"][0].update(targetPort="web")),
    ("ports", "of a monitor", lambda m: endpoint(m).update(port="metrics")),
    ("network_policy_ports", "in", lambda m: policy(m, "mlflow")["ingress"][0]["ports"][0].update(port=5001)),
    ("network_policy_ports", "out", lambda m: policy(m, "web")["egress"][0]["ports"][0].update(port=5001)),
    ("namespaces", "missing", lambda m: get(m, "Service", "mlflow")["metadata"].pop("namespace")),
    ("namespaces", "of a cluster's", lambda m: get(m, "ClusterQueue", "colorizer")["metadata"].update(namespace="any")),
    ("cron", "61st minute", lambda m: job(m).update(schedule="61 * * * *")),
    ("cron", "no time zone", lambda m: job(m).pop("timeZone")),
    ("restart_policy", "of a job", lambda m: job_pod(m).update(restartPolicy="Always")),
    ("cidrs", "no address", lambda m: block(m).update(cidr="10.0.0.0/33")),
    ("cidrs", "outside", lambda m: block(m).update(cidr="10.0.0.0/8")),
    ("budgets", "none", lambda m: drop(m, "PodDisruptionBudget", "mlflow")),
    ("budgets", "all of them", lambda m: get(m, "PodDisruptionBudget", "mlflow")["spec"].update(minAvailable=2)),
]


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_the_manifests_pass(rendered: dict[str, Manifests], overlay: str):
    assert [str(each) for each in check(rendered[overlay])] == []
    assert [str(each) for each in pipeline.findings(rendered[overlay])] == []


@pytest.mark.parametrize(
    ("rule", "fault"), [(rule, fault) for rule, _, fault in FAULTS], ids=[f"{r}: {n}" for r, n, _ in FAULTS]
)
def test_a_seeded_fault_is_found_by_its_rule_alone(rendered: dict[str, Manifests], rule: str, fault: Fault):
    broken = copy.deepcopy(rendered["production"])
    fault(broken)
    found = {each.__name__: [str(finding) for finding in each(broken)] for each in RULES}
    assert [name for name, lines in found.items() if lines] == [rule]
    assert all(line.startswith("k8s/overlays/production: ") for line in found[rule])


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


def test_pipelines_as_custom_resources_match_their_schemas(rendered: dict[str, Manifests], tmp_path: Path):
    write_manifests(tmp_path / "it.yaml", "colorizer")
    resources = list(yaml.safe_load_all((tmp_path / "it.yaml").read_text()))
    assert {each["kind"] for each in resources} == {"Pipeline", "PipelineVersion"}
    assert not list(schemas.findings(Manifests("it.yaml", resources)))
    resources[-1]["spec"].pop("pipelineSpec")
    assert list(schemas.findings(Manifests("it.yaml", resources)))


def compiled(tmp_path: Path, settings: dict[str, Any], memory: str = "1Gi") -> Path:
    resources = {"resourceMemoryLimit": memory}
    spec = {"deploymentSpec": {"executors": {"exec-train": {"container": {"resources": resources}}}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train": settings}}}}}
    file = tmp_path / "retraining.yaml"
    file.write_text(yaml.safe_dump_all([spec, platform]))
    return file


@pytest.mark.parametrize(
    ("settings", "memory", "said"),
    [
        ({"configMapAsEnv": [{"configMapName": "colorizer"}], "secretAsEnv": []}, "1Gi", ""),
        ({"configMapAsEnv": [{"configMapName": "colourizer"}]}, "1Gi", "no ConfigMap colourizer"),
        ({"secretAsEnv": [{"secretName": "colorizer-s3", "keyToEnv": [{"secretKey": "KEY"}]}]}, "1Gi", "a key KEY"),
        ({"podMetadata": {"labels": {pipeline.QUEUE: "gpus"}}}, "1Gi", "no LocalQueue gpus"),
        ({"podMetadata": {"labels": {pipeline.QUEUE: "colorizer-training"}}}, "1Gi", ""),
        ({"emptyDirMounts": [{"mountPath": "/tmp", "sizeLimit": "20Gi"}]}, "1Gi", ""),
        ({"emptyDirMounts": [{"mountPath": "/tmp", "sizeLimit": "30Gi"}]}, "1Gi", "above the default limit"),
        ({"emptyDirMounts": [{"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "30Gi"}]}, "1Gi", ""),
        ({}, "64Gi", "above the max"),
    ],
)
def test_objects_and_limits_that_the_pipeline_needs_are_checked(
    rendered: dict[str, Manifests], tmp_path: Path, settings: dict, memory: str, said: str
):
    found = [str(each) for each in pipeline.findings(rendered["production"], compiled(tmp_path, settings, memory))]
    assert len(found) == bool(said)
    assert said in "".join(found)


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a pipeline compiled for two nodes."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "cluster.yaml").write_text("gpu: {nodes: 2, affinity: [{key: zone, operator: In, values: [a]}]}")
    (folder / "retraining.yaml").write_text(to_yaml(folder / "cluster.yaml"))
    return folder / "retraining.yaml"


@pytest.fixture(scope="module")
def with_trainer() -> Manifests:
    return render_with(ROOT / "k8s" / "overlays" / "production", ROOT / "k8s" / "components" / "trainer")


def test_kserve_runs_the_image_and_the_command_of_the_web_server():
    manifests = render_with(ROOT / "k8s" / "overlays" / "production", ROOT / "k8s" / "components" / "kserve")
    assert [str(each) for each in check(manifests)] == []
    (served,) = get(manifests, "InferenceService", "colorizer")["spec"]["predictor"]["containers"]
    assert served["image"] == container(manifests, name="colorizer-web")["image"]
    program, name, *arguments = served["command"]
    assert program == "colorize"
    web = get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    assert web.params["model"] == Path("/mnt/models")

    served["imagePulPolicy"] = "Always"
    assert any("imagePulPolicy" in str(each) for each in check(manifests))


def broken(compiled: Path, change: Callable[[Any], object], target: Path) -> Path:
    """Writes a compiled pipeline with a changed TrainJob; returns its path."""
    spec, platform = yaml.safe_load_all(compiled.read_text())
    metadata = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]["podMetadata"]
    ((key, value),) = metadata["annotations"].items()
    made = json.loads(value)
    change(made)
    metadata["annotations"][key] = json.dumps(made)
    target.write_text(yaml.safe_dump_all([spec, platform]))
    return target


def patched_pod(made: Any) -> Any:
    (patch,) = made["spec"]["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    return nodes["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda made: made["spec"].update(podTemplateOverrides=[]), "podTemplateOverrides"),  # of Trainer 2.1
        (lambda made: made["spec"]["trainer"].update(numProcPerNode="auto"), "'auto' is not of type 'integer'"),
        (lambda made: made["spec"]["trainer"]["env"].append({"name": "PET_NNODES"}), "PET_NNODES"),
        (lambda made: patched_pod(made).update(runtimeClassName="nvidia"), "runtimeClassName"),
        (lambda made: patched_pod(made)["containers"][0].update(env=[]), "env"),
        (lambda made: patched_pod(made)["tolerations"][0].update(effct="NoSchedule"), "effct"),
        (lambda made: patched_pod(made)["volumes"][0]["emptyDir"].update(sizeLimit={}), "sizeLimit"),
        (lambda made: made["spec"]["trainer"]["resourcesPerNode"].update(limit={}), "limit"),
    ],
)
def test_a_train_job_is_checked_with_the_schemas_of_trainer_and_of_kubernetes_pods(
    two_nodes: Path, with_trainer: Manifests, tmp_path: Path, fault: Callable[[Any], object], said: str
):
    assert not list(pipeline.findings(with_trainer, two_nodes))
    found = [str(each) for each in pipeline.findings(with_trainer, broken(two_nodes, fault, tmp_path / "broken.yaml"))]
    assert found
    assert all(said in line for line in found)


def test_a_train_job_needs_the_trainer_component(rendered: dict[str, Manifests], two_nodes: Path):
    (found,) = pipeline.findings(rendered["production"], two_nodes)
    assert "lets no step create TrainJobs (gpu.nodes); add k8s/components/trainer" in str(found)


def test_the_check_prints_each_finding_and_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    folder = tmp_path / "k8s" / "overlays" / "mine"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text("resources: [account.yaml]\n")
    (folder / "account.yaml").write_text("{apiVersion: v1, kind: ServiceAccount, metadata: {name: lost}}\n")
    monkeypatch.setattr("k8s.check.__main__.ROOT", tmp_path)
    monkeypatch.setattr("k8s.check.__main__.OPTIONAL", ())
    assert main() == 1
    said = capsys.readouterr().err
    assert f"{folder}: ServiceAccount/lost metadata.namespace: nothing is not a declared namespace; " in said


@pytest.mark.slow
def test_the_command_passes_every_overlay_and_component():
    done = subprocess.run([sys.executable, "-m", "k8s.check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("objects") == 6
    assert "k8s/overlays/production with k8s/components/trainer: " in done.stdout


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
    lines = (ROOT / "requirements.in").read_text().splitlines()
    locked = next(line.split()[0].removeprefix("mlflow==") for line in lines if line.startswith("mlflow=="))
    assert container(rendered["local"])["image"] == f"ghcr.io/mlflow/mlflow:v{locked}-full"
