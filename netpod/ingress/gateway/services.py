"""Each Gateway's Service of type LoadBalancer, which leads to the ingress' pods (pure).

It stands beside the ingress, whose pods serve all Gateways; labels say whose it is. Its target ports are the record
of what HAProxy listens on for the Gateway, so a restarted controller listens there again.

Source: Gateway API, GEP-1762 (the label gateway-name), Gateway.spec.infrastructure, Gateway.spec.addresses.
"""

import hashlib
from collections.abc import Iterable, Mapping

from netpod.api.gateway import Gateway
from netpod.api.meta import Key, ObjectMeta, key_of
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.api.structs import replace

NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
NAMESPACE_LABEL = "netpod.dev/gateway-namespace"
BINDS = range(10000, 11000)
"""What HAProxy listens on for Gateways; below net.ipv4.ip_local_port_range."""
_LONGEST = 63

Binds = Mapping[tuple[Key, int], int]
"""What HAProxy listens on, by Gateway and port."""


def gateway_of(service: Service) -> Key | None:
    """The Gateway a Service was made for."""
    labels = service.metadata.labels
    name, namespace = labels.get(NAME_LABEL, ""), labels.get(NAMESPACE_LABEL, "")
    return Key(namespace, name) if name and namespace else None


def name_of(gateway: Key) -> str:
    """Name of a Gateway's Service."""
    name = f"gateway-{gateway.namespace}-{gateway.name}".replace(".", "-")
    if len(name) <= _LONGEST and "." not in gateway.name:
        return name
    digest = hashlib.sha256(str(gateway).encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - 9].rstrip('-')}-{digest}"


def allocate(wanted: Iterable[tuple[Key, int]], known: Binds, services: Iterable[Service]) -> Binds:
    """Choose what HAProxy listens on: as before, as a Service says, else the lowest that is free.

    A Gateway for which nothing is free is left out.
    """
    said = dict(known)
    for service in services:
        gateway = gateway_of(service)
        if gateway is not None:
            for port in service.spec.ports:
                if isinstance(port.target_port, int):
                    said.setdefault((gateway, port.port), port.target_port)
    order = list(dict.fromkeys(wanted))
    made: dict[tuple[Key, int], int] = {}
    taken: set[int] = set()
    for place in order:
        bind = said.get(place)
        if bind is not None and bind in BINDS and bind not in taken:
            made[place] = bind
            taken.add(bind)
    free = (number for number in BINDS if number not in taken)
    for place in order:
        if place not in made and (number := next(free, None)) is not None:
            made[place] = number
    return made


def wanted(gateway: Gateway, own: Service, binds: Binds) -> Service | None:
    """Return a Gateway's Service as it should be; None when it has nothing to listen on.

    Args:
        gateway: The Gateway.
        own: The ingress' own Service, which names its pods.
        binds: What `allocate` chose.
    """
    key = key_of(gateway)
    ports = tuple(
        ServicePort(name=f"port-{port}", protocol="TCP", port=port, target_port=bind)
        for (whose, port), bind in sorted(binds.items())
        if whose == key
    )
    if not ports:
        return None
    asked = gateway.spec.infrastructure
    labels = {NAME_LABEL: key.name, NAMESPACE_LABEL: key.namespace}
    addresses = [a.value for a in gateway.spec.addresses if a.value]
    return Service(
        metadata=ObjectMeta(
            name=name_of(key),
            namespace=own.metadata.namespace,
            labels={**(asked.labels if asked else {}), **labels},
            annotations=asked.annotations if asked else {},
        ),
        spec=ServiceSpec(
            type="LoadBalancer",
            selector=own.spec.selector,
            ports=ports,
            load_balancer_ip=addresses[0] if addresses else "",
        ),
    )


def updated(current: Service, wanted: Service) -> Service:
    """Return the current Service with what is wanted of it; itself when it has that already."""
    kept = {port.port: port for port in current.spec.ports}
    ports = tuple(
        replace(kept[port.port], name=port.name, target_port=port.target_port)
        if port.port in kept
        else port
        for port in wanted.spec.ports
    )
    spec = replace(
        current.spec,
        type=wanted.spec.type,
        selector=dict(wanted.spec.selector),
        ports=ports,
        load_balancer_ip=wanted.spec.load_balancer_ip,
    )
    about, asked = current.metadata, wanted.metadata
    labels = {**about.labels, **asked.labels}
    annotations = {**about.annotations, **asked.annotations}
    if spec == current.spec and labels == about.labels and annotations == about.annotations:
        return current
    return replace(
        current,
        spec=spec,
        metadata=replace(about, labels=labels, annotations=annotations),
    )


def addresses(service: Service | None) -> tuple[str, ...]:
    """Addresses of a Service's load balancer."""
    if service is None:
        return ()
    return tuple(place.ip for place in service.status.load_balancer.ingress if place.ip)
