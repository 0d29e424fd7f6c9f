"""deploy/k8s, rendered in every combination: schemas, security, and that its parts fit together and the services."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from manyhands import metrics
from manyhands.settings import Settings, load
from manyhands.topology import JUDGE_NAME, Names
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_producer.settings import ProducerSettings
from manyhands_worker.pod import ANNOTATION
from manyhands_worker.settings import WorkerSettings
from tests.deploy import schemas
from tests.deploy.kustomize import ROOT, TREE, Object, parse, program, render, variants
from tests.deploy.network import Peer, allowed, selects
from tests.deploy.schemas import VERSIONS, builtin, custom, is_custom, name

#: Where a policy is broken on purpose: (policy, object) and why.
EXCEPTIONS = {
    (
        "egress to anywhere",
        "NetworkPolicy/deletion-cost",
    ): "the API server is no pod, and has another address everywhere",
    ("egress to anywhere", "NetworkPolicy/rabbitmq"): "its nodes find each other by the API server, as above",
    ("egress to anywhere", "NetworkPolicy/outside"): "for pods that are labelled for it; none is by default",
    ("token", "Deployment/worker"): "to set its pod's deletion cost: a component that is asked for, and an admission "
    "policy that leaves nothing else of it",
    ("user 10001", "StatefulSet/rabbitmq"): "an image of others, whose user is 999",
    ("user 10001", "StatefulSet/postgres"): "an image of others, whose user is 999",
}
#: Certificates that cert-manager or its like makes, and their keys; every other Secret is made by scripts/k8s.py.
CERTIFICATES = {name: {"tls.crt", "tls.key", "ca.crt"} for name in ("manyhands-tls", "rabbitmq-tls", "ingress-tls")}
#: What requesters bring themselves: the key of a language model's API.
KEYS = {"manyhands-llm": {"api_key"}}
#: What autoscalers ask how long a judge lets suites wait.
AGE = "judge:manyhands_waiting_seconds:max"
#: Seconds that a process may take to stop beyond MANYHANDS_GRACE: threads that end, a server that closes.
CLOSING = 15
SETTINGS: dict[str, type[Settings]] = {
    "producer": ProducerSettings, "aggregator": AggregatorSettings, "worker": WorkerSettings,
}  # fmt: skip
SERVICES = tuple(SETTINGS)
Rendered = dict[str, list[Object]]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The objects of every variant."""
    return {which: render(folder) for which, folder in variants(tmp_path_factory.mktemp("k8s")).items()}


@pytest.fixture(scope="session")
def whole(rendered: Rendered) -> Rendered:
    """The variants that are a whole installation."""
    return {which: objects for which, objects in rendered.items() if which.startswith("overlays/")}


@cache
def secrets(overlay: str) -> list[Object]:
    """What scripts/k8s.py makes for an overlay."""
    return parse(script("secrets", overlay, "--store", "postgresql://u:p@db/m", "--store-ca", __file__))


def script(*arguments: str) -> str:
    """What scripts/k8s.py prints."""
    command = [sys.executable, str(ROOT / "scripts/k8s.py"), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unique(rendered: Rendered) -> list[Object]:
    """Every object once, however many variants have it."""
    return list({repr(one): one for objects in rendered.values() for one in objects}.values())


def of(objects: list[Object], *kinds: str) -> list[Object]:
    """The objects of some kinds."""
    return [one for one in objects if one["kind"] in kinds]


def workloads(objects: list[Object]) -> list[Object]:
    """What has pods."""
    return of(objects, "Deployment", "StatefulSet", "Job")


def pod(workload: Object) -> Any:
    """The specification of its pods."""
    return workload["spec"]["template"]["spec"]


def labels(workload: Object) -> dict[str, str]:
    """The labels of its pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def containers(workload: Object) -> Iterator[Any]:
    """Its containers, those that come first included."""
    yield from pod(workload).get("initContainers", [])
    yield from pod(workload)["containers"]


def excepted(policy: str, one: Object) -> bool:
    """Whether an object is let off a policy."""
    return any(policy == p and name(one).startswith(which) for p, which in EXCEPTIONS)


def environment(workload: Object, objects: list[Object]) -> dict[str, str]:
    """The variables of its only container; what comes from its pod is put in."""
    (container,) = containers(workload)
    maps = {one["metadata"]["name"]: one["data"] for one in of(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env", []):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            (source,) = variable["valueFrom"].values()
            found[variable["name"]] = {"limits.cpu": container["resources"]["limits"]["cpu"]}.get(
                source.get("resource"), "from-the-pod"
            )
    return found


# -- schemas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(rendered: Rendered, version: str) -> None:
    """Every object of every variant, strictly: a field that this version does not know is an error."""
    objects = [one for one in unique(rendered) if not is_custom(one)]
    objects += [secret for overlay in ("local", "production") for secret in secrets(overlay)]
    assert [said for one in objects if (said := builtin(one, version))] == []


def test_a_field_that_is_not_known_is_found() -> None:
    """The check itself works: by Kubernetes' schemas and by those of custom resources."""
    one: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": 1}}
    assert "port" in (builtin(one, VERSIONS[-1]) or "")
    schema = schemas.strict(
        {"type": "object", "properties": {"kind": {}, "apiVersion": {}, "metadata": {}, "spec": {
            "type": "object", "properties": {"a": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"},
            {"type": "string"}]}, "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}
    )  # fmt: skip
    key = ("keda.sh/v1alpha1", "ScaledObject")
    made: Object = {"apiVersion": key[0], "kind": key[1], "metadata": {"name": "x"}}
    assert custom(made | {"spec": {"a": 1, "free": {"b": 2}}}, {key: schema}) is None
    assert "'c' was unexpected" in (custom(made | {"spec": {"a": "1", "c": 2}}, {key: schema}) or "")
    assert "not known" in (custom(made | {"kind": "Scaled"}, {key: schema}) or "")


def test_the_operators_take_them(rendered: Rendered) -> None:
    """Custom resources by the schemas of a folder of CRDs; where there is none, only that their kinds are known."""
    known = schemas.definitions()
    if not known:
        warnings.warn(
            f"no CRDs in {schemas.FOLDER} (MANYHANDS_CRDS): of custom resources only kinds are checked", stacklevel=1
        )
    objects = [one for one in unique(rendered) if is_custom(one)] + parse(script("rules"))
    assert {one["kind"] for one in objects} >= {"ScaledObject", "RabbitmqCluster", "Permission", "PodMonitor"}
    assert [said for one in objects if (said := custom(one, known))] == []


# -- security ----------------------------------------------------------------------------------------------------------


def test_pods_keep_to_the_restricted_standard(rendered: Rendered) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a read-only root file system."""
    for one in workloads(unique(rendered)):
        spec, said = pod(one), name(one)
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, said
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, said
        assert (context["runAsUser"], context["runAsGroup"]) == (10001, 10001) or excepted("user 10001", one), said
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec), said
        kinds = {kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"}, said
        assert all(v["emptyDir"].get("sizeLimit") for v in spec.get("volumes", []) if "emptyDir" in v), said
        for container in containers(one):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, said
            assert context["readOnlyRootFilesystem"] is True, said
            assert context["capabilities"] == {"drop": ["ALL"]}, said
            assert not {"privileged", "runAsUser", "procMount"} & set(context), said
            assert not any("hostPort" in port for port in container.get("ports", [])), said
            assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"]), said


def test_the_broker_keeps_to_it_as_well(whole: Rendered) -> None:
    """What its operator is told of its pods."""
    for cluster in of(unique(whole), "RabbitmqCluster"):
        spec = cluster["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["initContainers"] + spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert cluster["spec"]["replicas"] == 3
        assert cluster["spec"]["tls"]["disableNonTLSListeners"] is True
        (apart,) = cluster["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert selects(apart["labelSelector"], {"app.kubernetes.io/name": cluster["metadata"]["name"]})


def test_namespaces_enforce_it(whole: Rendered) -> None:
    """A pod that somebody adds keeps to it, too."""
    for which, objects in whole.items():
        (namespace,) = of(objects, "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted", which
        spaced = {one["metadata"].get("namespace") for one in objects if one["kind"] not in CLUSTER_WIDE}
        assert spaced == {namespace["metadata"]["name"]}, which


CLUSTER_WIDE = {"Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def test_nobody_has_a_token(rendered: Rendered) -> None:
    """Neither by their account nor by their pod."""
    objects = unique(rendered)
    for one in of(objects, "ServiceAccount"):
        assert one["automountServiceAccountToken"] is False, name(one)
    for one in workloads(objects):
        assert pod(one)["automountServiceAccountToken"] is False, name(one)
        assert pod(one)["enableServiceLinks"] is False or not containers(one), name(one)
        sources = [s for v in pod(one).get("volumes", []) for s in v.get("projected", {}).get("sources", [])]
        assert not any("serviceAccountToken" in source for source in sources) or excepted("token", one), name(one)


def test_who_has_a_token_may_do_one_thing(whole: Rendered) -> None:
    """Patch pods, and by the admission policy its own pod's annotation only."""
    for which, objects in whole.items():
        roles = of(objects, "Role", "ClusterRole")
        assert bool(roles) == any("projected" in v for w in workloads(objects) for v in pod(w)["volumes"]), which
        for role in roles:
            assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}], which
            (binding,) = of(objects, "RoleBinding")
            assert [s["name"] for s in binding["subjects"]] == ["worker"], which
            (policy,) = of(objects, "ValidatingAdmissionPolicy")
            assert policy["spec"]["failurePolicy"] == "Fail", which
            said = " ".join(rule["expression"] for rule in policy["spec"]["validations"])
            parts = ("spec", "metadata.labels", "metadata.finalizers", "metadata.ownerReferences")
            assert all(f"object.{part}" in said and f"oldObject.{part}" in said for part in parts), which
            assert "request.userInfo.extra['authentication.kubernetes.io/pod-name']" in said, which
            assert f"'{ANNOTATION}'" in said, which
            (bound,) = of(objects, "ValidatingAdmissionPolicyBinding")
            assert bound["spec"]["policyName"] == policy["metadata"]["name"], which
            assert bound["spec"]["validationActions"] == ["Deny"], which
            spaces = {"kubernetes.io/metadata.name": of(objects, "Namespace")[0]["metadata"]["name"]}
            assert selects(bound["spec"]["matchResources"]["namespaceSelector"], spaces), which


def test_images_are_named_whole(rendered: Rendered) -> None:
    """A tag that says which, never the latest."""
    for one in workloads(unique(rendered)):
        for container in containers(one):
            _, _, tag = container["image"].rpartition(":")
            assert tag not in ("", "latest"), name(one)
            assert "/" not in tag, name(one)


def test_no_secret_is_in_the_manifests(rendered: Rendered) -> None:
    """They are referred to; nothing that looks like one is a value."""
    objects = unique(rendered)
    assert of(objects, "Secret") == []
    assert re.search(r"://[^/\s\"']*:[^/\s\"'@]*@", repr(objects)) is None


# -- the life of a pod -------------------------------------------------------------------------------------------------


def test_every_container_asks_for_what_it_uses(rendered: Rendered) -> None:
    """Requests and limits of CPU, memory and disk."""
    for one in workloads(unique(rendered)):
        for container in containers(one):
            for kind in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"][kind]), name(one)


def test_probes_mean_something(rendered: Rendered) -> None:
    """Alive is the process, ready is its work: nothing that waits for broker or store is restarted for it."""
    for one in of(unique(rendered), "Deployment"):
        (container,) = containers(one)
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {kind: probe["path"] for kind, probe in probes.items()} == {
            "startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz",
        }  # fmt: skip
        ports = {port["name"] for port in container["ports"]}
        assert all(probe["port"] in ports for probe in probes.values()), name(one)
        tls = any(volume["name"] == "tls" for volume in pod(one)["volumes"])
        assert {probe.get("scheme", "HTTP") for probe in probes.values()} == {"HTTPS" if tls else "HTTP"}, name(one)
    for one in of(unique(rendered), "StatefulSet"):
        assert all({"startupProbe", "livenessProbe", "readinessProbe"} <= set(c) for c in containers(one)), name(one)


def test_nothing_is_killed_while_it_drains(whole: Rendered) -> None:
    """A pod's grace is longer than the process's, with what comes before and after it."""
    for which, objects in whole.items():
        for one in of(objects, "Deployment"):
            (container,) = containers(one)
            grace = float(environment(one, objects)["MANYHANDS_GRACE"])
            before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert pod(one)["terminationGracePeriodSeconds"] >= grace + before + CLOSING, (which, name(one))


def test_disruptions_are_bounded_and_possible(rendered: Rendered) -> None:
    """Every Deployment has one budget, which selects its pods alone and lets one go."""
    for which, objects in rendered.items():
        budgets = of(objects, "PodDisruptionBudget")
        for one in of(objects, "Deployment"):
            mine = [b for b in budgets if selects(b["spec"]["selector"], labels(one))]
            assert len(mine) == 1, (which, name(one))
            assert mine[0]["spec"]["maxUnavailable"] in (1, "25%"), (which, name(one))
            assert mine[0]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", (which, name(one))
        for budget in budgets:
            pods = [labels(one) for one in workloads(objects)] + brokers(objects)
            assert sum(selects(budget["spec"]["selector"], each) for each in pods) == 1, (which, name(budget))


def test_the_broker_keeps_its_majority(whole: Rendered) -> None:
    """Its nodes go one at a time."""
    for which, objects in whole.items():
        for labelled in brokers(objects):
            (budget,) = [b for b in of(objects, "PodDisruptionBudget") if selects(b["spec"]["selector"], labelled)]
            assert budget["spec"]["maxUnavailable"] == 1, which


def test_a_version_follows_another_without_a_gap(whole: Rendered) -> None:
    """Who answers requests is never away; Jobs, which cannot be changed, go by the label of the page."""
    page = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    assert "delete jobs -l app.kubernetes.io/part-of=manyhands" in page
    for which, objects in whole.items():
        for one in of(objects, "Deployment"):
            if labels(one)["app.kubernetes.io/name"] != "worker":
                assert one["spec"]["strategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, which
                assert one["spec"]["replicas"] == (1 if "local" in which else 2), (which, name(one))
        for one in of(objects, "Job"):
            assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "manyhands", (which, name(one))
            assert one["spec"]["ttlSecondsAfterFinished"] <= 600, (which, name(one))


def test_replicas_are_spread(rendered: Rendered) -> None:
    """Over machines and zones, each kind by itself."""
    for one in of(unique(rendered), "Deployment"):
        spread = pod(one)["topologySpreadConstraints"]
        assert {s["topologyKey"] for s in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(selects(s["labelSelector"], labels(one)) for s in spread), name(one)
        assert selects(one["spec"]["selector"], labels(one)), name(one)


def brokers(objects: list[Object]) -> list[dict[str, str]]:
    """The labels of the pods that an operator makes."""
    return [{"app.kubernetes.io/name": one["metadata"]["name"]} for one in of(objects, "RabbitmqCluster")]


# -- how the parts fit -------------------------------------------------------------------------------------------------


def test_every_service_finds_its_pods(whole: Rendered) -> None:
    """And the ports that it names are theirs; the Ingress finds services, and only the API is let in."""
    for which, objects in whole.items():
        ports: dict[str, set[str]] = {}
        for service in of(objects, "Service"):
            found = [
                one for one in workloads(objects) if selects({"matchLabels": service["spec"]["selector"]}, labels(one))
            ]
            assert len(found) == 1, (which, name(service))
            named = {port["name"] for container in containers(found[0]) for port in container["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= named, (which, name(service))
            ports[service["metadata"]["name"]] = {port["name"] for port in service["spec"]["ports"]}
        (ingress,) = of(objects, "Ingress")
        backends = set()
        for rule in ingress["spec"]["rules"]:
            (path,) = rule["http"]["paths"]
            assert (path["path"], path["pathType"]) == ("/api", "Prefix"), which
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in ports[backend["name"]], which
            backends.add(backend["name"])
        assert backends == {"producer", "aggregator"}, which
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert len(hosts) == 2, which
        assert all(set(tls["hosts"]) == hosts for tls in ingress["spec"].get("tls", [])), which
        assert bool(ingress["spec"].get("tls")) == ("production" in which), which
        said = ingress["metadata"]["annotations"].get("nginx.ingress.kubernetes.io/backend-protocol", "HTTP")
        (producer,) = [one for one in of(objects, "Deployment") if one["metadata"]["name"] == "producer"]
        # or every client has the controller's address
        assert ("FORWARDED_ALLOW_IPS" in environment(producer, objects)) == ("production" in which), which
        assert said == ("HTTPS" if any(v["name"] == "tls" for v in pod(producer)["volumes"]) else "HTTP"), which


def test_references_lead_somewhere(whole: Rendered) -> None:
    """Accounts and ConfigMaps are there, and of Secrets every key that is used is one that scripts/k8s.py makes."""
    for which, objects in whole.items():
        have = {(one["kind"], one["metadata"]["name"]) for one in objects}
        made = {s["metadata"]["name"]: set(s["stringData"]) for s in secrets(which.split("/")[1].split(" ")[0])}
        made |= CERTIFICATES | KEYS
        for one in workloads(objects):
            spec = pod(one)
            assert ("ServiceAccount", spec.get("serviceAccountName", "default")) in have or one["kind"] == "StatefulSet"
            for volume in spec["volumes"]:
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in have, (which, name(one))
                if "secret" in volume:
                    assert volume["secret"]["secretName"] in made, (which, name(one))
                if volume["name"] == "secrets":  # its own, and nobody else's
                    assert volume["secret"]["secretName"] == f"manyhands-{pod(one)['containers'][0]['name']}", which
            mounted = {mount["name"] for container in containers(one) for mount in container["volumeMounts"]}
            claimed = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
            assert mounted == {volume["name"] for volume in spec["volumes"]} | claimed, (which, name(one))
        for one in of(objects, "TriggerAuthentication"):
            for reference in one["spec"]["secretTargetRef"]:
                assert reference["key"] in made[reference["name"]], (which, reference)
        for one in of(objects, "User"):
            assert {"username", "password"} <= made[one["spec"]["importCredentialsSecret"]["name"]], (which, name(one))
        for one in of(objects, "Ingress"):
            assert all(tls["secretName"] in made for tls in one["spec"].get("tls", [])), which


def test_only_the_worker_of_a_model_has_its_key_and_calls_out(whole: Rendered) -> None:
    """As a file; and it is under the policy that lets it out, which no other workload is."""
    objects = whole["overlays/production with llm"]
    (worker,) = [one for one in workloads(objects) if name(one) == "Deployment/worker-svm"]
    assert {"name": "LLM_API_KEY_FILE", "value": "/run/llm/api_key"} in pod(worker)["containers"][0]["env"]
    for one in workloads(objects):
        has = any(volume.get("secret", {}).get("secretName") in KEYS for volume in pod(one)["volumes"])
        out = one["spec"]["template"]["metadata"]["labels"].get("manyhands/outside") == "true"
        assert (has, out) == ((True, True) if one is worker else (False, False)), name(one)


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_secrets_are_strong_and_new_each_time(overlay: str) -> None:
    """No pod gets what it does not need, and the same command makes other passwords."""
    first = {one["metadata"]["name"]: one["stringData"] for one in secrets(overlay)}
    again = parse(script("secrets", overlay, "--store", "postgresql://u:p@db/m"))
    for one in again:
        key = "manyhands_broker"
        if key in one["stringData"]:
            assert one["stringData"][key] != first[one["metadata"]["name"]][key]
            assert len(one["stringData"][key].split(":")[2].split("@")[0]) >= 32
    assert "manyhands_store" not in first["manyhands-worker"]
    assert "manyhands_broker" not in first["manyhands-migrate"]
    assert "mh-admin" in first["manyhands-topology"]["manyhands_broker"]
    page = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    assert [
        one for one in (*first, *CERTIFICATES, *KEYS) if f"`{one}`" not in page and not one.startswith("rabbitmq-mh-")
    ] == []


def test_production_needs_a_store() -> None:
    """It is said, before anything is printed."""
    command = [sys.executable, str(ROOT / "scripts/k8s.py"), "secrets", "production"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--store" in done.stderr


def test_variables_are_settings(whole: Rendered) -> None:
    """Each is in docs/settings.md, and the service takes its value."""
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    of_others = {
        "FORWARDED_ALLOW_IPS",
        "LLM_API_KEY_FILE",
        "POD_NAME",
        "POD_NAMESPACE",
        "POSTGRES_USER",
        "POSTGRES_DB",
        "POSTGRES_PASSWORD_FILE",
    }
    for which, objects in whole.items():
        for one in workloads(objects):
            variables = environment(one, objects)
            unknown = {v for v in variables if f"| `{v}` |" not in page} - of_others
            assert not unknown, (which, name(one))


def test_services_start_on_their_settings(whole: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables of their pod and the files of their Secret, as the container finds them."""
    for number, (which, objects) in enumerate(whole.items()):
        made = {one["metadata"]["name"]: one["stringData"] for one in secrets(which.split("/")[1].split(" ")[0])}
        for one in of(objects, "Deployment"):
            (container,) = containers(one)
            service = container["name"]
            folder = tmp_path / f"{number}-{one['metadata']['name']}"
            folder.mkdir()
            for key, value in made[f"manyhands-{service}"].items():
                (folder / key).write_text(value)
            with monkeypatch.context() as patch:
                for key, value in environment(one, objects).items():
                    patch.setenv(key, value)
                assert environment(one, objects)["MANYHANDS_SECRETS"] in {
                    m["mountPath"] for m in container["volumeMounts"]
                }
                patch.setenv("MANYHANDS_SECRETS", str(folder))
                told = load(SETTINGS[service])
            user = "amqp" + ("" if "local" in which else "s") + f"://mh-{service}:"
            assert told.broker.get_secret_value().startswith(user), (which, name(one))
            assert told.declare is False, (which, name(one))
            assert told.port == container["ports"][0]["containerPort"], (which, name(one))
            assert container["args"] == [service], (which, name(one))
            if service != "worker":
                assert getattr(told, "migrate") is False  # noqa: B009  only services with a store have it
                assert getattr(told, "store").get_secret_value().startswith("postgresql://"), which  # noqa: B009
                assert told.api_token is not None, which


def test_jobs_run_commands_that_exist(whole: Rendered) -> None:
    """`manyhands migrate`, and `manyhands topology declare` with the judges of each worker."""
    for which, objects in whole.items():
        said = set()
        for one in of(objects, "Job"):
            (container,) = containers(one)
            arguments = " ".join(container["args"])
            for key, value in environment(one, objects).items():
                arguments = arguments.replace(f"$({key})", value)
            said.add(arguments)
        judges = [
            labels(one)["manyhands/judge"] for one in of(objects, "Deployment") if "manyhands/judge" in labels(one)
        ]
        assert said == {"migrate", "topology declare", *(f"topology declare --judges {judge}" for judge in judges)}, (
            which
        )


# -- who talks to whom -------------------------------------------------------------------------------------------------


def peers(objects: list[Object]) -> dict[str, Peer]:
    """The pods of an installation by name, and who else there is."""
    found = {"internet": Peer(address="203.0.113.7"), "credentials": Peer(address="169.254.169.254")}
    found["database"] = Peer(address="192.0.2.10")
    for space in ("ingress-nginx", "monitoring", "keda", "rabbitmq-system", "somebody"):
        found[space] = Peer(namespace=space)
    found["dns"] = Peer(namespace="kube-system", labels={"k8s-app": "kube-dns"})
    for one in workloads(objects):
        ports = {p["name"]: p["containerPort"] for c in containers(one) for p in c.get("ports", [])}
        found[labels(one)["app.kubernetes.io/name"]] = Peer(labels=labels(one), ports=ports)
    found["client"] = Peer(labels={"manyhands/client": "true"})
    found["reader"] = Peer(labels={**found["producer"].labels, "manyhands/outside": "true"})
    found["api"] = Peer(address="192.0.2.1")
    for each in brokers(objects):
        found["rabbitmq"] = Peer(labels=each)
    return found


#: What must go through: who, to whom, which port.
NEEDED: list[tuple[str, str, str | int]] = [
    *((who, "rabbitmq", "amqp") for who in (*SERVICES, "topology")),
    *((who, "store", 5432) for who in ("producer", "aggregator", "migrate")),
    *(("ingress-nginx", who, port) for who, port in (("producer", 8101), ("aggregator", 8103))),
    *(("monitoring", who, port) for who, port in (("producer", 8101), ("worker", 8102), ("aggregator", 8103))),
    *((who, "monitoring", 4318) for who in SERVICES),
    *(("client", who, port) for who, port in (("producer", 8101), ("aggregator", 8103))),
    ("reader", "internet", 443),
]
#: And what must not.
FORBIDDEN: list[tuple[str, str, str | int]] = [
    *((who, "store", 5432) for who in ("worker", "topology")),
    *((who, "rabbitmq", "amqp") for who in ("migrate", "somebody", "ingress-nginx", "monitoring", "internet")),
    *((who, "rabbitmq", 15672) for who in (*SERVICES, "somebody")),
    *((who, "rabbitmq", 15671) for who in (*SERVICES, "somebody")),
    *((who, "internet", 443) for who in (*SERVICES, "migrate", "topology", "rabbitmq")),
    *((who, "internet", 80) for who in SERVICES),
    *((who, "credentials", 80) for who in SERVICES),
    *(("ingress-nginx", "worker", 8102), ("somebody", "producer", 8101), ("worker", "producer", 8101)),
    *(("worker", "aggregator", 8103), ("producer", "worker", 8102)),
    *((who, "monitoring", 9090) for who in SERVICES),
    *((who, "api", 443) for who in ("producer", "aggregator", "migrate", "topology", "client")),
    *(
        ("client", "worker", 8102),
        ("client", "internet", 443),
        ("client", "rabbitmq", "amqp"),
        ("client", "store", 5432),
    ),
    *(("reader", "internet", 80), ("reader", "credentials", 443)),
]


def test_what_is_needed_goes_through_and_nothing_else(whole: Rendered) -> None:
    """By the policies of both sides."""
    for which, objects in whole.items():
        policies, known, local = of(objects, "NetworkPolicy"), peers(objects), "local" in which
        known["store"] = known["postgres"] if local else known["database"]

        def passes(
            who: str,
            to: str,
            port: str | int,
            policies: list[Object] = policies,
            known: dict[str, Peer] = known,
            local: bool = local,
        ) -> bool:
            number = (5672 if local else 5671) if port == "amqp" else int(port)
            return allowed(policies, known[who], known[to], number)

        assert [flow for flow in NEEDED if not passes(*flow)] == [], which
        out = [("worker", "internet", 443)] if which.endswith("with llm") else []  # and no address but by that port
        assert [flow for flow in FORBIDDEN if passes(*flow)] == out, which
        assert not passes("worker", "credentials", 443), which
        for who in known:
            if known[who].labels and known[who].namespace == "manyhands":
                assert allowed(policies, known[who], known["dns"], 53, "UDP"), (which, who)
        # the worker asks the API server only where it may tell its deletion cost
        assert passes("worker", "api", 443) == bool(of(objects, "Role")), which
        if not local:
            assert passes("rabbitmq", "api", 443), which
            for who, port in (("keda", 15671), ("rabbitmq-system", 15671), ("monitoring", 15691), ("rabbitmq", 25672)):
                assert passes(who, "rabbitmq", port), (which, who)


def test_everything_is_denied_first(whole: Rendered) -> None:
    """One policy selects every pod, both ways; and one that opens to anywhere has its reason here."""
    for which, objects in whole.items():
        policies = of(objects, "NetworkPolicy")
        (deny,) = [p for p in policies if p["metadata"]["name"] == "deny"]
        assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, which
        for policy in policies:
            for rule in policy["spec"].get("ingress", []):
                assert rule.get("from"), (which, name(policy))
            for rule in policy["spec"].get("egress", []):
                wide = not rule.get("to") or any(
                    p.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0") for p in rule["to"]
                )
                assert not wide or excepted("egress to anywhere", policy), (which, name(policy))
                assert rule.get("ports"), (which, name(policy))


# -- scaling -----------------------------------------------------------------------------------------------------------


def test_each_judge_is_scaled_by_its_own_queue(rendered: Rendered) -> None:
    """By length and age, of the queue and the label that the services use; the overlay names one judge throughout."""
    seen = set()
    for which, objects in rendered.items():
        for one in of(objects, "ScaledObject"):
            target = one["spec"]["scaleTargetRef"]["name"]
            (worker,) = [w for w in of(objects, "Deployment") if w["metadata"]["name"] == target]
            judge = labels(worker)["manyhands/judge"]
            assert JUDGE_NAME.fullmatch(judge), which
            assert {target, one["metadata"]["name"]} == {"worker-" + judge.replace("_", "-")}, which
            assert environment_of(worker, objects, "judge") == {"MANYHANDS_JUDGES": judge}, which
            length, suspects, age = one["spec"]["triggers"]
            assert length["metadata"]["queueName"] == Names().tasks_queue(judge), which
            assert suspects["metadata"] == {**length["metadata"], "queueName": Names().suspects_queue(judge)}, which
            assert length["metadata"]["excludeUnacknowledged"] == "false", which
            namespace = one["metadata"].get("namespace", "manyhands")
            assert age["metadata"]["query"] == f'{AGE}{{namespace="{namespace}",judge="{judge}"}}', which
            kinds = {trigger["metricType"] for trigger in (length, suspects, age)}
            assert kinds == {"AverageValue"}, which  # or no fallback
            assert one["spec"]["fallback"]["replicas"] >= 1, which
            assert one["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher", which
            assert one["spec"]["minReplicaCount"] < one["spec"]["maxReplicaCount"], which
            down = one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
            assert down["stabilizationWindowSeconds"] >= 60, which
            assert one["spec"]["cooldownPeriod"] >= 60, which
            assert "replicas" not in worker["spec"], which  # or each apply would undo the autoscaler
            if which.startswith("overlays/"):
                names = {a["metadata"]["name"] for a in of(objects, "TriggerAuthentication")}
                assert length["authenticationRef"]["name"] in names, which
            seen.add(judge)
    assert seen == {"svm", "forest", "neighbours", "is_spam"}


def environment_of(workload: Object, objects: list[Object], prefix: str) -> Any:
    """The ConfigMap of that name in its environment."""
    (container,) = containers(workload)
    (found,) = [e["configMapRef"]["name"] for e in container["envFrom"] if e["configMapRef"]["name"].startswith(prefix)]
    return next(one["data"] for one in of(objects, "ConfigMap") if one["metadata"]["name"] == found)


def test_the_plain_autoscaler_scales_by_the_same(rendered: Rendered) -> None:
    """Each worker by its own judge's metrics, which the adapter serves, and KEDA nowhere."""
    served = {}
    for rule in YAML(typ="safe").load(TREE / "components/hpa/adapter.yaml")["rules"]["external"]:
        series = re.fullmatch(r'\{__name__="(.+)"\}|(\w+)\{.+\}', rule["seriesQuery"])
        assert series, rule
        served[rule.get("name", {}).get("as", series[2])] = series[1] or series[2]
        assert rule["resources"] == {"overrides": {"namespace": {"resource": "namespace"}}}  # of one's own alone
        # a metric without value would stop all scaling down
        assert ("vector(0)" in rule["metricsQuery"]) == bool(series[1])
    assert served == {
        "rabbitmq_detailed_queue_messages": "rabbitmq_detailed_queue_messages",
        "manyhands_waiting_seconds": AGE,
    }
    for which, objects in rendered.items():
        if "with hpa" not in which:
            continue
        assert [one for one in objects if one["apiVersion"].startswith("keda.sh")] == [], which
        scalers = of(objects, "HorizontalPodAutoscaler")
        assert scalers, which
        for one in scalers:
            target = one["spec"]["scaleTargetRef"]["name"]
            (worker,) = [w for w in of(objects, "Deployment") if w["metadata"]["name"] == target]
            judge = labels(worker)["manyhands/judge"]
            asked = {
                m["external"]["metric"]["name"]: m["external"]["metric"]["selector"] for m in one["spec"]["metrics"]
            }
            assert asked == {
                "rabbitmq_detailed_queue_messages": {"matchLabels": {"queue": Names().tasks_queue(judge)}},
                "manyhands_waiting_seconds": {"matchLabels": {"judge": judge}},
            }, which
            assert "replicas" not in worker["spec"], which


def test_the_age_is_a_rule_by_judge() -> None:
    """The series that both autoscalers go by is recorded from metrics of ours; promtool has cases of its values."""
    (rule,) = [one for group in parse(script("rules"))[0]["spec"]["groups"] for one in group["rules"]
               if one.get("record") == AGE]  # fmt: skip
    assert rule["expr"].count("max by (namespace, judge) (manyhands_oldest_suite_seconds)") == 2
    assert "manyhands_oldest_suite_seconds" in {getattr(metric, "_name", "") for metric in vars(metrics).values()}


def test_no_placeholder_is_left(rendered: Rendered) -> None:
    """JUDGE is written over everywhere, in every variant."""
    assert [which for which, objects in rendered.items() if re.search(r"\bJUDGE\b", repr(objects))] == []


# -- made from the code ------------------------------------------------------------------------------------------------


def test_users_and_rights_are_those_of_the_code() -> None:
    """overlays/production/users.yaml is what manyhands.permissions says now."""
    script("users", "--check")


def test_the_broker_is_set_up_as_everywhere(whole: Rendered) -> None:
    """Both its configurations, the operator's and deploy/rabbitmq, have the same values for the same keys."""
    own = {
        key: value
        for name in ("rabbitmq.conf", "tls.conf")
        for key, value in lines((ROOT / "deploy/rabbitmq" / name).read_text(encoding="utf-8"))
    }
    for cluster in of(unique(whole), "RabbitmqCluster"):
        said = dict(lines(cluster["spec"]["rabbitmq"]["additionalConfig"]))
        assert said == {key: own.get(key) for key in said}
        assert {"max_message_size", "channel_max", "heartbeat", "auth_mechanisms.1"} <= set(said)


def lines(text: str) -> Iterator[tuple[str, str]]:
    """The keys and values of a RabbitMQ configuration."""
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            yield key.strip(), value.strip()


def test_monitors_give_the_job_labels(whole: Rendered) -> None:
    """Producer, worker, aggregator and rabbitmq, on ports that their pods have."""
    for which, objects in whole.items():
        if "production" not in which:
            continue
        for one in of(objects, "PodMonitor"):
            wanted = one["metadata"]["name"]
            assert one["spec"]["jobLabel"] == "app.kubernetes.io/name", which
            assert one["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": wanted}}, which
            ends = one["spec"]["podMetricsEndpoints"]
            assert {e["scheme"] for e in ends} == {"https"}, which
            if wanted in SERVICES:
                assert [e["port"] for e in ends] == ["http"], which
                # a name that the page has on the certificate
                assert [e["tlsConfig"]["serverName"] for e in ends] == [wanted], which
            else:
                assert [(e["port"], e.get("path")) for e in ends] == [
                    ("prometheus-tls", None), ("prometheus-tls", "/metrics/detailed"),
                ], which  # fmt: skip
        assert {one["metadata"]["name"] for one in of(objects, "PodMonitor")} == {*SERVICES, "rabbitmq"}, which


def test_adding_a_judge_is_short() -> None:
    """The page that says how is at most 15 lines, and an overlay about as long."""
    assert len((TREE / "workers/README.md").read_text().splitlines()) <= 15
    assert all(len(one.read_text().splitlines()) <= 15 for one in TREE.glob("workers/*/kustomization.yaml"))


def test_it_was_rendered_by_a_program_that_is_said() -> None:
    """What rendered them is a program that is there."""
    assert program()[-1] in ("kustomize", "build")
