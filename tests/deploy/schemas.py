"""Checks objects against schemas, strictly: Kubernetes' own, and those of a folder of CustomResourceDefinitions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML

from tests.deploy.kustomize import ROOT, Object

#: Minor versions of Kubernetes that the manifests are for.
VERSIONS = ("1.35", "1.36", "1.37")
#: The custom resources that may be used, where no schema says more.
CUSTOM = {
    "keda.sh/v1alpha1": {"ScaledObject", "TriggerAuthentication"},
    "rabbitmq.com/v1beta1": {"RabbitmqCluster", "Vhost", "User", "Permission", "TopicPermission", "Policy"},
    "monitoring.coreos.com/v1": {"PodMonitor", "PrometheusRule"},
}
FOLDER = Path(os.environ.get("MANYHANDS_CRDS") or ROOT.parent / "shared/crds")


def is_custom(one: Object) -> bool:
    """Whether Kubernetes itself does not know it."""
    return one["apiVersion"] in CUSTOM


def builtin(one: Object, version: str) -> str | None:
    """What is wrong with an object of Kubernetes itself, or None."""
    try:
        import kubernetes_validate
    except ModuleNotFoundError:
        raise ModuleNotFoundError("kubernetes-validate is not there: `make deploy-check` installs it") from None

    try:
        kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{name(one)} at {'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return f"{name(one)}: {error.message}"
    return None


def custom(one: Object, known: Mapping[tuple[str, str], Any]) -> str | None:
    """What is wrong with a custom resource, or None; without schemas only its kind is looked at."""
    key = (one["apiVersion"], one["kind"])
    if key[1] not in CUSTOM[key[0]]:
        return f"{name(one)}: {key[0]} is not known to have this kind"
    if not known:
        return None
    if key not in known:
        return f"{name(one)}: {FOLDER} has no schema of it"
    errors = sorted(jsonschema.Draft202012Validator(known[key]).iter_errors(one), key=str)
    return "; ".join(f"{name(one)} at {'.'.join(map(str, e.path))}: {e.message}" for e in errors) or None


def name(one: Object) -> str:
    """How an object is called in a message."""
    return f"{one['kind']}/{one['metadata']['name']}"


def definitions(folder: Path = FOLDER) -> dict[tuple[str, str], Any]:
    """The schemas of a folder of CustomResourceDefinitions, by (apiVersion, kind); none where there is no folder."""
    found = {}
    for file in sorted(folder.glob("*.y*ml")) if folder.is_dir() else []:
        for crd in YAML(typ="safe").load_all(file):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def strict(schema: Any) -> Any:
    """An OpenAPI schema of Kubernetes as JSON Schema that refuses unknown fields, but where they are to be kept."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value for key, value in schema.items() if key not in ("description", "example", "default", "format")}
    for key in ("items", "additionalProperties", "not"):
        if key in made:
            made[key] = strict(made[key])
    for key in ("allOf", "anyOf", "oneOf"):
        # these say more of the same fields, so what they do not name is not unknown
        made[key] = [_open(part) for part in made[key]] if key in made else made.pop(key, None)
        if made[key] is None:
            del made[key]
    if "properties" in made:
        made["properties"] = {key: strict(value) for key, value in made["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields") and not made.get("x-kubernetes-embedded-resource"):
            made.setdefault("additionalProperties", False)
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if made.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def _open(schema: Any) -> Any:
    return {key: value for key, value in schema.items() if key not in ("description", "format")}
