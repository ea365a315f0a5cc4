"""A small world of Gateways, written as manifests."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from netpod.api import codec, defaults, registry
from netpod.api.core import Namespace, Secret
from netpod.api.gateway import Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from netpod.api.meta import Object, ObjectMeta
from netpod.api.service import Service, ServiceSpec
from netpod.ingress.gateway.plan import Plan, World, make

NOW = datetime.now(UTC)
CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: netpod}
spec: {controllerName: netpod.dev/gateway}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default, generation: 3}
spec:
  gatewayClassName: netpod
  listeners: [{name: http, port: 80, protocol: HTTP}]
"""
OWN = Service(
    metadata=ObjectMeta(name="ingress", namespace="kube-system"),
    spec=ServiceSpec(selector={"app": "ingress"}),
)


def objects(text: str) -> list[Object]:
    """Read manifests, with defaults; what names no namespace is in `default`."""
    found = []
    for data in yaml.safe_load_all(text):
        resource = registry.by_kind(data["apiVersion"], data["kind"])
        if resource.namespaced:
            data["metadata"].setdefault("namespace", "default")
        found.append(defaults.apply_defaults(codec.decode(resource.cls, data)))
    return found


def route(name: str, *rules: str, **spec: Any) -> str:
    """A route of Gateway gw; rules are YAML."""
    made = {"parentRefs": [{"name": "gw"}], "rules": [yaml.safe_load(r) for r in rules], **spec}
    about = {"name": name, "namespace": spec.pop("namespace", "default")}
    made.pop("namespace", None)
    kind = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    return yaml.safe_dump({**kind, "metadata": about, "spec": made})


def planned(*texts: str, services: Sequence[Service] = (), **more: Any) -> Plan:
    """Plan manifests."""
    return make(world(*texts, services=services, **more))


def world(*texts: str, services: Sequence[Service] = (), **more: Any) -> World:
    """What there is, by manifests."""
    every = [obj for text in (CLASS, *texts) for obj in objects(text)]

    def of(cls: type[Any]) -> list[Any]:
        return [obj for obj in every if isinstance(obj, cls)]

    return World(
        classes=of(GatewayClass),
        gateways=of(Gateway),
        routes=of(HTTPRoute),
        grants=of(ReferenceGrant),
        namespaces=of(Namespace),
        services=[*services, *of(Service)],
        secrets=of(Secret),
        own=OWN,
        now=NOW,
        **more,
    )


def conditions(items: Any) -> dict[str, str]:
    """`True` or `False`, and the reason, by condition."""
    return {c.type: f"{c.status} {c.reason}" for c in items}
