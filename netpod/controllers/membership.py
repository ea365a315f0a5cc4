"""Which pods a Service selects, which Services select a pod, and what a pod is as an endpoint.

Shared by the endpointslice and endpoints controllers, which must never disagree. Lookups go through indexes, so
that one pod's change costs its own Services only, however many others there are.

Source: kubernetes pkg/controller/util/endpoint, k8s.io/endpointslice utils.go.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netpod.api.core import ObjectReference
from netpod.api.meta import IntOrString
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service, ServicePort
from netpod.controllers import controller, pods
from netpod.controllers.controller import Context

HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPort:
    """A Service port as one pod serves it."""

    name: str
    protocol: str
    port: int
    app_protocol: str | None


def by_selector(service: Service) -> list[tuple[str, str, str]]:
    """Index function: one (namespace, label, value) that every selected pod has."""
    if not has_endpoints(service):
        return []
    name, value = min(service.spec.selector.items())
    return [(service.metadata.namespace, name, value)]


def has_endpoints(service: Service) -> bool:
    """Tell whether the controllers keep this Service's endpoints: it has a selector and is no DNS alias."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def selects(service: Service, pod: Pod) -> bool:
    """Tell whether the selector matches; no selector matches nothing."""
    labels = pod.metadata.labels
    selector = service.spec.selector
    return (
        bool(selector)
        and pod.metadata.namespace == service.metadata.namespace
        and all(labels.get(name) == value for name, value in selector.items())
    )


class Membership:
    """Services and their pods, both ways."""

    def __init__(self, context: Context) -> None:
        self.services = context.view(Service)
        self.pods = context.view(Pod)
        self.nodes = context.view(Node)
        self.services.index("selector", by_selector)
        self.pods.index("label", controller.by_label)
        self.pods.index("node", by_node)

    def pods_of(self, service: Service) -> list[Pod]:
        """Return the pods a Service selects, by name."""
        namespace = service.metadata.namespace
        pairs = [(namespace, name, value) for name, value in service.spec.selector.items()]
        if not pairs:
            return []
        rarest = min(pairs, key=lambda pair: self.pods.count("label", pair))
        chosen = [pod for pod in self.pods.by("label", rarest) if selects(service, pod)]
        return sorted(chosen, key=lambda pod: pod.metadata.name)

    def services_of(self, pod: Pod) -> Iterator[Service]:
        """Yield the Services that select a pod."""
        namespace = pod.metadata.namespace
        for name, value in pod.metadata.labels.items():
            for service in self.services.by("selector", (namespace, name, value)):
                if selects(service, pod):
                    yield service


def by_node(pod: Pod) -> list[str]:
    """Index function: the node the pod is bound to."""
    return [pod.spec.node_name] if pod.spec.node_name else []


def fingerprint(pod: Pod) -> tuple[object, ...]:
    """Return everything of a pod that endpoints depend on; equal means nothing to do."""
    return (
        pod.metadata.uid,
        pod.metadata.labels,
        bool(pod.metadata.deletion_timestamp),
        pod.spec.node_name,
        pods.is_finished(pod),
        pods.is_ready(pod),
        pod.status.pod_ip,
        pod.status.pod_ips,
    )


def families(service: Service) -> tuple[str, ...]:
    """Return the address families to fill: IPv4, IPv6 or both."""
    if service.spec.ip_families:
        return service.spec.ip_families
    return ("IPv6",) if ":" in service.spec.cluster_ip else ("IPv4",)


def address_of(pod: Pod, family: str) -> str:
    """Return the pod's address of a family in canonical form, "" when it has none."""
    version = 6 if family == "IPv6" else 4
    texts = [item.ip for item in pod.status.pod_ips] or [pod.status.pod_ip]
    for text in filter(None, texts):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            # A status may be patched by hand; what is no address is nowhere to send to.
            continue
        if address.version == version:
            return str(address)
    return ""


def is_headless(service: Service) -> bool:
    """Tell whether the Service has no cluster IP on purpose."""
    return service.spec.cluster_ip == "None"


def hostname_of(service: Service, pod: Pod) -> str:
    """Return the pod's own name below the Service's, "" unless its subdomain is this Service."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def reference_to(pod: Pod) -> ObjectReference:
    """Return the target reference of an endpoint."""
    about = pod.metadata
    return ObjectReference(kind="Pod", namespace=about.namespace, name=about.name, uid=about.uid)


def zone_of(node: Node | None) -> str:
    """Return the node's zone label, or ""."""
    return node.metadata.labels.get(ZONE_LABEL, "") if node is not None else ""


def ports_of(service: Service, pod: Pod) -> tuple[ResolvedPort, ...]:
    """Resolve the Service's ports for one pod; a named port the pod does not have is left out."""
    resolved = []
    for port in service.spec.ports:
        number = _target(port, pod)
        if number is not None:
            resolved.append(
                ResolvedPort(
                    name=port.name,
                    protocol=port.protocol or "TCP",
                    port=number,
                    app_protocol=port.app_protocol,
                )
            )
    return tuple(resolved)


def _target(port: ServicePort, pod: Pod) -> int | None:
    """Return the number of a Service port's target in a pod; names need the same protocol too."""
    target: IntOrString = port.target_port or port.port
    if isinstance(target, int):
        return target
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for declared in container.ports:
            if declared.name == target and (declared.protocol or "TCP") == (port.protocol or "TCP"):
                return declared.container_port
    return None


def copied_labels(labels: Mapping[str, str], reserved: Sequence[str]) -> dict[str, str]:
    """Return a Service's labels without the reserved ones."""
    return {name: value for name, value in labels.items() if name not in reserved}
