"""Which metrics /metrics/kube-state has of which kind: those that kube-state-metrics has by default.

Labels and annotations of objects are no metrics, as there; what no object of netpod has (cloud disks) is left out.

Source: kube-state-metrics docs/metrics, internal/store.
"""

from collections.abc import Iterable

from netpod.apiserver.kubestate import (
    Family,
    Sample,
    amounts,
    conditions,
    each,
    info,
    labelled,
    number,
    one_of,
    ordinary,
    word,
)
from netpod.apiserver.kubestate_config import CONFIGURATION
from netpod.apiserver.kubestate_pods import POD
from netpod.apiserver.kubestate_workloads import WORKLOADS
from netpod.apiserver.tables_cells import Json, dig, items

_ROLE = "node-role.kubernetes.io/"


def _node_info(node: Json) -> Iterable[Sample]:
    labels = labelled(
        node,
        {
            "kernel_version": "status.nodeInfo.kernelVersion",
            "os_image": "status.nodeInfo.osImage",
            "container_runtime_version": "status.nodeInfo.containerRuntimeVersion",
            "kubelet_version": "status.nodeInfo.kubeletVersion",
            "kubeproxy_version": "status.nodeInfo.kubeProxyVersion",
            "provider_id": "spec.providerID",
            "pod_cidr": "spec.podCIDR",
            "system_uuid": "status.nodeInfo.systemUUID",
        },
    )
    internal = (a for a in items(node, "status.addresses") if a.get("type") == "InternalIP")
    yield {**labels, "internal_ip": word(next(internal, {}).get("address", ""))}, 1.0


def _roles(node: Json) -> Iterable[Sample]:
    for name in sorted(dig(node, "metadata.labels", {})):
        if name.startswith(_ROLE):
            yield {"role": name.removeprefix(_ROLE)}, 1.0


_NODE = ordinary(
    "",
    "nodes",
    "node",
    Family("kube_node_info", "Information about a cluster node.", _node_info),
    Family("kube_node_role", "The role of a cluster node.", _roles),
    number("kube_node_spec_unschedulable", "Whether a node can schedule new pods.", "spec.unschedulable"),
    each("kube_node_spec_taint", "The taint of a cluster node.", "spec.taints", key="key", value="value", effect="effect"),
    conditions("kube_node_status_condition", "The condition of a cluster node.", "status"),
    each("kube_node_status_addresses", "Node address information.", "status.addresses", type="type", address="address"),
    Family("kube_node_status_capacity", "The capacity for different resources of a node.", lambda node: amounts(dig(node, "status.capacity"))),
    Family("kube_node_status_allocatable", "The allocatable for different resources of a node that are available for scheduling.", lambda node: amounts(dig(node, "status.allocatable"))),
    namespace="",
)  # fmt: skip

_NAMESPACE = ordinary(
    "",
    "namespaces",
    "namespace",
    one_of("kube_namespace_status_phase", "kubernetes namespace status phase.", "status.phase", "phase", ("Active", "Terminating")),
    conditions("kube_namespace_status_condition", "The condition of a namespace.", "status"),
    namespace="metadata.name",
)  # fmt: skip


def _external_ips(service: Json) -> Iterable[Sample]:
    return [({"external_ip": word(it)}, 1.0) for it in dig(service, "spec.externalIPs", [])]


_SERVICE = ordinary(
    "",
    "services",
    "service",
    info(
        "kube_service_info",
        "Information about service.",
        cluster_ip="spec.clusterIP",
        external_name="spec.externalName",
        load_balancer_ip="spec.loadBalancerIP",
        external_traffic_policy="spec.externalTrafficPolicy",
    ),
    info("kube_service_spec_type", "Type about service.", type="spec.type"),
    Family("kube_service_spec_external_ip", "Service external ips. One series for each ip", _external_ips),
    each("kube_service_status_load_balancer_ingress", "Service load balancer ingress status", "status.loadBalancer.ingress", ip="ip", hostname="hostname"),
    uid="metadata.uid",
)  # fmt: skip


def _endpoints(slice_: Json) -> Iterable[Sample]:
    """A sample of each address; a label only for what the endpoint says."""
    paths = {
        "ready": "conditions.ready",
        "serving": "conditions.serving",
        "terminating": "conditions.terminating",
        "hostname": "hostname",
        "targetref_kind": "targetRef.kind",
        "targetref_name": "targetRef.name",
        "targetref_namespace": "targetRef.namespace",
        "endpoint_nodename": "nodeName",
        "endpoint_zone": "zone",
    }
    for endpoint in items(slice_, "endpoints"):
        labels = {name: it for name, it in labelled(endpoint, paths).items() if it}
        for address in dig(endpoint, "addresses", []):
            yield {**labels, "address": word(address)}, 1.0


_ENDPOINT_SLICE = ordinary(
    "discovery.k8s.io",
    "endpointslices",
    "endpointslice",
    info("kube_endpointslice_info", "Information about endpointslice.", addresstype="addressType"),
    Family("kube_endpointslice_endpoints", "Endpoints attached to the endpointslice.", _endpoints),
    each("kube_endpointslice_ports", "Ports attached to the endpointslice.", "ports", port_name="name", port_protocol="protocol", port_number="port"),
)  # fmt: skip


def _addresses(endpoints: Json) -> Iterable[Sample]:
    """A sample of each address and port."""
    for subset in items(endpoints, "subsets"):
        for field, ready in (("addresses", "true"), ("notReadyAddresses", "false")):
            for address in items(subset, field):
                for port in items(subset, "ports"):
                    labels = {
                        "port_protocol": "protocol",
                        "port_number": "port",
                        "port_name": "name",
                    }
                    yield (
                        {
                            "ip": word(address.get("ip", "")),
                            "ready": ready,
                            **labelled(port, labels),
                        },
                        1.0,
                    )


_ENDPOINTS = ordinary(
    "",
    "endpoints",
    "endpoint",
    info("kube_endpoint_info", "Information about endpoint."),
    Family("kube_endpoint_address", "Information about Endpoint available and non available addresses.", _addresses),
)  # fmt: skip


def _ingress_info(ingress: Json) -> Iterable[Sample]:
    annotations = dig(ingress, "metadata.annotations", {})
    old = annotations.get("kubernetes.io/ingress.class")
    yield {"ingressclass": word(dig(ingress, "spec.ingressClassName") or old or "_default")}, 1.0


def _ingress_paths(ingress: Json) -> Iterable[Sample]:
    for rule in items(ingress, "spec.rules"):
        for path in items(rule, "http.paths"):
            labels = {
                "host": word(rule.get("host", "")),
                **labelled(path, {"path": "path", "path_type": "pathType"}),
            }
            service = dig(path, "backend.service")
            if service is None:
                paths = {"group": "apiGroup", "kind": "kind", "name": "name"}
                other = labelled(dig(path, "backend.resource", {}), paths)
                labels["resource_api_group"] = other.pop("group")
                labels |= {f"resource_{name}": it for name, it in other.items()}
            else:
                labels["service_name"] = word(service.get("name", ""))
                port = dig(service, "port", {})
                labels["service_port"] = word(port.get("name") or port.get("number", ""))
            yield labels, 1.0


def _ingress_tls(ingress: Json) -> Iterable[Sample]:
    for found in items(ingress, "spec.tls"):
        for host in found.get("hosts") or []:
            yield {"tls_host": word(host), "secret": word(found.get("secretName", ""))}, 1.0


_INGRESS = ordinary(
    "networking.k8s.io",
    "ingresses",
    "ingress",
    Family("kube_ingress_info", "Information about ingress.", _ingress_info),
    number("kube_ingress_metadata_resource_version", "Resource version representing a specific version of ingress.", "metadata.resourceVersion"),
    Family("kube_ingress_path", "Ingress host, paths and backend service information.", _ingress_paths),
    Family("kube_ingress_tls", "Ingress TLS host and secret information.", _ingress_tls),
)  # fmt: skip
_INGRESS_CLASS = ordinary(
    "networking.k8s.io",
    "ingressclasses",
    "ingressclass",
    info("kube_ingressclass_info", "Information about ingressclass.", controller="spec.controller"),
    namespace="",
)

KINDS = (
    _NODE,
    _NAMESPACE,
    POD,
    *WORKLOADS,
    _SERVICE,
    _ENDPOINTS,
    _ENDPOINT_SLICE,
    _INGRESS,
    _INGRESS_CLASS,
    *CONFIGURATION,
)
