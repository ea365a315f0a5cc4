"""How Services, Endpoints, EndpointSlices, Ingresses and their classes read in a table.

Source: pkg/printers/internalversion/printers.go.
"""

from collections.abc import Mapping
from datetime import datetime

from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
    UNSET,
    Column,
    Json,
    Layout,
    Row,
    age,
    dig,
    first_three,
    items,
    joined,
    labels_text,
    wide,
)


def _service(obj: Json, now: datetime) -> Row:
    cluster_ips = dig(obj, "spec.clusterIPs", [])
    cluster_ip = cluster_ips[0] if cluster_ips else dig(obj, "spec.clusterIP")
    return Row(
        (
            dig(obj, "metadata.name", ""),
            dig(obj, "spec.type", ""),
            cluster_ip or NONE,
            _external_ip(obj),
            joined(_service_port(port) for port in items(obj, "spec.ports")),
            age(obj, now),
            labels_text(dig(obj, "spec.selector")),
        )
    )


def _service_port(port: Json) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node_port}/{port.get('protocol', 'TCP')}"


def _external_ip(obj: Json) -> str:
    external_ips = dig(obj, "spec.externalIPs", [])
    match dig(obj, "spec.type", ""):
        case "LoadBalancer":
            return joined([*_ways_in(obj), *external_ips], "<pending>")
        case "ExternalName":
            return str(dig(obj, "spec.externalName", ""))
    return joined(external_ips)


def _ways_in(obj: Json) -> list[str]:
    """Return the addresses and names in status.loadBalancer, sorted, each once."""
    found = {i.get("ip") or i.get("hostname") for i in items(obj, "status.loadBalancer.ingress")}
    return sorted(str(way) for way in found if way)


def _endpoints(obj: Json, now: datetime) -> Row:
    found = []
    for subset in items(obj, "subsets"):
        addresses = [str(a.get("ip", "")) for a in items(subset, "addresses")]
        ports = items(subset, "ports")
        if not ports:
            found += addresses
        for port in ports:
            found += [_host_port(address, port.get("port", 0)) for address in addresses]
    text = first_three(found, "" if items(obj, "subsets") else NONE)
    return Row((dig(obj, "metadata.name", ""), text, age(obj, now)))


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoint_slice(obj: Json, now: datetime) -> Row:
    ports = [str(p.get("port") or p.get("name", "*")) for p in items(obj, "ports")]
    addresses = [address for e in items(obj, "endpoints") for address in e.get("addresses") or ()]
    return Row(
        (
            dig(obj, "metadata.name", ""),
            dig(obj, "addressType", ""),
            first_three(ports, UNSET),
            first_three(addresses, UNSET),
            age(obj, now),
        )
    )


def _ingress(obj: Json, now: datetime) -> Row:
    return Row(
        (
            dig(obj, "metadata.name", ""),
            dig(obj, "spec.ingressClassName") or NONE,
            _hosts(obj),
            ",".join(_ways_in(obj)),
            "80, 443" if items(obj, "spec.tls") else "80",
            age(obj, now),
        )
    )


def _hosts(obj: Json) -> str:
    hosts = [str(rule["host"]) for rule in items(obj, "spec.rules") if rule.get("host")]
    return first_three(hosts, "*")


def _ingress_class(obj: Json, now: datetime) -> Row:
    parameters = dig(obj, "spec.parameters")
    text = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        text = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return Row(
        (dig(obj, "metadata.name", ""), dig(obj, "spec.controller", ""), text, age(obj, now))
    )


LAYOUTS: Mapping[str, Layout] = {
    "Service": Layout(
        (
            NAME,
            Column("Type", "How the Service is exposed."),
            Column("Cluster-IP", "Address inside the cluster, or None."),
            Column("External-IP", "Addresses outside the cluster."),
            Column("Port(s)", "port:nodePort/protocol of each port."),
            AGE,
            wide("Selector", "Labels of the pods behind it."),
        ),
        _service,
    ),
    "Endpoints": Layout(
        (NAME, Column("Endpoints", "Addresses and ports of ready pods."), AGE), _endpoints
    ),
    "EndpointSlice": Layout(
        (
            NAME,
            Column("AddressType", "IPv4, IPv6 or FQDN."),
            Column("Ports", "Ports of every endpoint."),
            Column("Endpoints", "Addresses of the endpoints."),
            AGE,
        ),
        _endpoint_slice,
    ),
    "Ingress": Layout(
        (
            NAME,
            Column("Class", "The name of the IngressClass resource that should be used."),
            Column("Hosts", "Hosts that incoming requests are matched against."),
            Column("Address", "Address where it can be reached."),
            Column("Ports", "Ports of TLS configurations that open."),
            AGE,
        ),
        _ingress,
    ),
    "IngressClass": Layout(
        (
            NAME,
            Column("Controller", "Controller that is responsible for handling this class"),
            Column("Parameters", "A reference to a resource with additional parameters"),
            AGE,
        ),
        _ingress_class,
    ),
}
