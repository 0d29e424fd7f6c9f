"""Who may talk to whom, as NetworkPolicies have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.deploy.kustomize import Object

HERE = "manyhands"


@dataclass(frozen=True)
class Peer:
    """A pod by its labels and namespace, with its ports by name; or an address outside."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = HERE
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str | None = None


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions") or []:
        has, among = term["key"] in labels, labels.get(term["key"]) in term.get("values", [])
        if not {"In": among, "NotIn": not among, "Exists": has, "DoesNotExist": not has}[term["operator"]]:
            return False
    return True


def allowed(policies: Iterable[Object], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether the source may open a connection to the target, by what both sides' policies say."""
    policies = list(policies)
    return _side(policies, "Egress", source, target, target, port, protocol) and _side(
        policies, "Ingress", target, source, target, port, protocol
    )


def _side(policies: list[Object], way: str, mine: Peer, other: Peer, target: Peer, port: int, protocol: str) -> bool:
    if mine.namespace != HERE or mine.address is not None:
        return True  # not ours to say
    about = [
        p["spec"]
        for p in policies
        if way in p["spec"]["policyTypes"] and selects(p["spec"]["podSelector"], mine.labels)
    ]
    if not about:
        return True
    which, peers = ("egress", "to") if way == "Egress" else ("ingress", "from")
    for spec in about:
        for rule in spec.get(which) or []:
            if _peers(rule.get(peers), other) and _ports(rule.get("ports"), target, port, protocol):
                return True
    return False


def _peers(peers: list[Any] | None, other: Peer) -> bool:
    return peers is None or any(_peer(peer, other) for peer in peers)


def _peer(peer: Mapping[str, Any], other: Peer) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        address = other.address
        return (
            address is not None
            and ip_address(address) in ip_network(block["cidr"])
            and not any(ip_address(address) in ip_network(but) for but in block.get("except", []))
        )
    if other.address is not None:
        return False
    space = {"kubernetes.io/metadata.name": other.namespace}
    in_space = selects(peer["namespaceSelector"], space) if "namespaceSelector" in peer else other.namespace == HERE
    return in_space and selects(peer.get("podSelector", {}), other.labels)


def _ports(ports: list[Any] | None, target: Peer, port: int, protocol: str) -> bool:
    if ports is None:
        return True
    return any(
        entry.get("protocol", "TCP") == protocol and target.ports.get(entry["port"], entry["port"]) == port
        for entry in ports
    )
