"""How a Service's endpoints are packed into EndpointSlices with as few writes as possible (pure).

Slices hold endpoints of one address family that resolve to the same ports. What is right in a slice stays where
it is; new endpoints fill slices that change anyway, then one slice with just enough room, then new slices.
Nothing at all to say is one empty placeholder.

Source: k8s.io/endpointslice reconciler.go, utils.go.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netpod.api.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from netpod.api.meta import ObjectMeta
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.controllers import controller, membership, pods

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
RESERVED = (SERVICE_NAME, MANAGED_BY, membership.HEADLESS_LABEL)
LIMIT = 100
"""Endpoints per slice."""

Ports = tuple[EndpointPort, ...]
Group = tuple[str, Ports]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Slices to write. A created one has no name yet."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()


def endpoints(
    service: Service, selected: Iterable[Pod], nodes: Mapping[str, Node]
) -> dict[Group, list[Endpoint]]:
    """Turn pods into endpoints, grouped by address family and resolved ports.

    Finished pods and pods without an address are no endpoints; terminating ones are. A pod whose Node object is
    missing waits for it, unless unready addresses are published anyway.

    Args:
        service: Says which ports and families.
        selected: Pods its selector matches.
        nodes: Nodes by name.
    """
    groups: dict[Group, list[Endpoint]] = {}
    publish = service.spec.publish_not_ready_addresses
    for pod in selected:
        node = nodes.get(pod.spec.node_name)
        if pods.is_finished(pod) or (node is None and not publish):
            continue
        ports = tuple(
            EndpointPort(name=p.name, protocol=p.protocol, port=p.port, app_protocol=p.app_protocol)
            for p in membership.ports_of(service, pod)
        )
        for family in membership.families(service):
            address = membership.address_of(pod, family)
            if address:
                endpoint = _endpoint(service, pod, node, address)
                groups.setdefault((family, ports), []).append(endpoint)
    return groups


def _endpoint(service: Service, pod: Pod, node: Node | None, address: str) -> Endpoint:
    serving = pods.is_ready(pod)
    terminating = pods.is_terminating(pod)
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    zone = membership.zone_of(node)
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=membership.hostname_of(service, pod) or None,
        node_name=pod.spec.node_name or None,
        zone=zone or None,
        target_ref=membership.reference_to(pod),
        hints=_hints(service, pod.spec.node_name, zone) if ready else None,
    )


def _hints(service: Service, node: str, zone: str) -> EndpointHints | None:
    """Return the hints trafficDistribution asks for: an endpoint prefers its own zone, or its own node."""
    wish = service.spec.traffic_distribution
    if wish not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return None
    zones = (ForZone(name=zone),) if zone else ()
    nodes = (ForNode(name=node),) if wish == "PreferSameNode" and node else ()
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


def plan(
    service: Service,
    wanted: Mapping[Group, Sequence[Endpoint]],
    existing: Iterable[EndpointSlice],
    trigger_time: str,
    limit: int = LIMIT,
) -> Plan:
    """Return the writes that turn the existing slices into the wanted endpoints.

    Args:
        service: Owner of the slices.
        wanted: From `endpoints`.
        existing: Slices of this Service and this controller.
        trigger_time: When what changed changed, RFC 3339, "" when unknown; written on changed slices only.
        limit: Most endpoints in a slice.
    """
    kept: list[EndpointSlice] = []
    by_group: dict[Group, list[EndpointSlice]] = {}
    for item in sorted(existing, key=lambda s: (s.metadata.creation_timestamp, s.metadata.name)):
        if not item.metadata.deletion_timestamp:
            by_group.setdefault((item.address_type, _plain(item.ports)), []).append(item)
    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    delete: list[EndpointSlice] = []
    for group, members in wanted.items():
        present = by_group.pop(group, [])
        fresh = EndpointSlice(
            address_type=group[0],
            ports=group[1],
            metadata=ObjectMeta(
                generate_name=f"{service.metadata.name}-", namespace=service.metadata.namespace
            ),
        )
        packed = _pack(members, present, fresh, limit)
        before = {item.metadata.name: item for item in present}
        for item in packed:
            if not item.metadata.name:
                create.append(item)
            elif item.endpoints:
                same = item.endpoints == before[item.metadata.name].endpoints
                (kept if same else update).append(item)
            else:
                delete.append(item)
    delete.extend(item for items in by_group.values() for item in items)
    for family in membership.families(service):
        if not any(item.address_type == family for item in (*create, *update, *kept)):
            create.append(_placeholder(service, family))
    return _finish(service, create, update, delete, kept, trigger_time)


def _plain(ports: Ports) -> Ports:
    """Return ports with the four fields that make a group, and no others."""
    return tuple(
        EndpointPort(
            name=p.name or "",
            protocol=p.protocol or "TCP",
            port=p.port,
            app_protocol=p.app_protocol,
        )
        for p in ports
    )


def _placeholder(service: Service, family: str) -> EndpointSlice:
    """Return the empty slice of a Service without endpoints: known to have none, not unknown."""
    about = ObjectMeta(
        generate_name=f"{service.metadata.name}-", namespace=service.metadata.namespace
    )
    return EndpointSlice(address_type=family, metadata=about)


def _pack(
    members: Sequence[Endpoint], present: Sequence[EndpointSlice], fresh: EndpointSlice, limit: int
) -> list[EndpointSlice]:
    """Distribute endpoints over slices of one group; an emptied slice is returned empty."""
    left = {_identity(endpoint): endpoint for endpoint in members}
    unchanged: list[EndpointSlice] = []
    changed: list[EndpointSlice] = []
    for item in present:
        stay: list[Endpoint] = []
        for endpoint in item.endpoints:
            if len(stay) < limit and (known := left.pop(_identity(endpoint), None)) is not None:
                stay.append(known)
        if tuple(stay) == item.endpoints:
            unchanged.append(item)
        else:
            changed.append(dataclasses.replace(item, endpoints=tuple(stay)))
    rest = list(left.values())
    # Slices that are written anyway take what they can.
    for number, item in enumerate(changed):
        room = limit - len(item.endpoints)
        changed[number] = dataclasses.replace(item, endpoints=(*item.endpoints, *rest[:room]))
        rest = rest[room:]
    while rest:
        fits = [s for s in unchanged if len(s.endpoints) + len(rest) <= limit]
        if fits and len(rest) < limit:
            fullest = max(fits, key=lambda s: len(s.endpoints))
            unchanged.remove(fullest)
            changed.append(dataclasses.replace(fullest, endpoints=(*fullest.endpoints, *rest)))
            break
        changed.append(dataclasses.replace(fresh, endpoints=tuple(rest[:limit])))
        rest = rest[limit:]
    return [*unchanged, *changed]


def _identity(endpoint: Endpoint) -> tuple[str, str]:
    """Return what makes an endpoint the same one after its state changed."""
    reference = endpoint.target_ref
    return endpoint.addresses[0] if endpoint.addresses else "", reference.uid if reference else ""


def _finish(
    service: Service,
    create: list[EndpointSlice],
    update: list[EndpointSlice],
    delete: list[EndpointSlice],
    kept: list[EndpointSlice],
    trigger_time: str,
) -> Plan:
    """Reuse slices about to go for new ones, and give every written slice its labels and owner."""
    recycled: list[EndpointSlice] = []
    for item in list(create):
        spare = next((old for old in delete if old.address_type == item.address_type), None)
        if spare is not None:
            delete.remove(spare)
            create.remove(item)
            again = dataclasses.replace(spare, endpoints=item.endpoints, ports=item.ports)
            same = _is_same(again, spare)
            (kept if same else recycled).append(again)
    labels = _labels(service)
    stale = [item for item in kept if _needs_metadata(service, item, labels)]
    return Plan(
        create=tuple(_dressed(service, item, labels, trigger_time) for item in create),
        update=tuple(
            _dressed(service, item, labels, trigger_time) for item in (*update, *recycled, *stale)
        ),
        delete=tuple(delete),
    )


def _is_same(left: EndpointSlice, right: EndpointSlice) -> bool:
    return left.endpoints == right.endpoints and left.ports == right.ports


def _labels(service: Service) -> dict[str, str]:
    labels = membership.copied_labels(service.metadata.labels, RESERVED)
    labels[SERVICE_NAME] = service.metadata.name
    labels[MANAGED_BY] = MANAGER
    if membership.is_headless(service):
        labels[membership.HEADLESS_LABEL] = ""
    return labels


def _needs_metadata(service: Service, item: EndpointSlice, labels: Mapping[str, str]) -> bool:
    return item.metadata.labels != labels or controller.owner_uid(item) != service.metadata.uid


def _dressed(
    service: Service, item: EndpointSlice, labels: Mapping[str, str], trigger_time: str
) -> EndpointSlice:
    annotations = {
        k: v for k, v in item.metadata.annotations.items() if k != membership.TRIGGER_TIME
    }
    if trigger_time:
        annotations[membership.TRIGGER_TIME] = trigger_time
    about = dataclasses.replace(
        item.metadata,
        labels=labels,
        annotations=annotations,
        owner_references=(controller.controller_reference(service),),
    )
    return dataclasses.replace(item, metadata=about)
