"""How a Service's endpoints are packed into the legacy Endpoints object (pure).

Addresses that serve the same ports share a subset. Terminating pods are left out, which is the one thing a reader
of Endpoints cannot learn.

Source: kubernetes pkg/controller/endpoint/endpoints_controller.go, k8s.io/kubernetes/pkg/api/v1/endpoints/util.go.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from netpod.api.core import EndpointAddress, Endpoints, EndpointsPort, EndpointSubset
from netpod.api.meta import ObjectMeta
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.controllers import membership, pods

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
RESERVED = (MANAGED_BY, membership.HEADLESS_LABEL)
CAPACITY = 1000
"""Addresses in one Endpoints object."""

Ports = tuple[membership.ResolvedPort, ...]


def pack(service: Service, selected: Iterable[Pod]) -> tuple[EndpointSubset, ...]:
    """Return the subsets: ready and not ready addresses by what ports they serve."""
    publish = service.spec.publish_not_ready_addresses
    family = membership.families(service)[0]
    groups: dict[Ports, tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    for pod in selected:
        address = membership.address_of(pod, family)
        if pods.is_finished(pod) or not address or (pods.is_terminating(pod) and not publish):
            continue
        ports = membership.ports_of(service, pod)
        if service.spec.ports and not ports:
            continue
        ready, unready = groups.setdefault(ports, ([], []))
        (ready if publish or pods.is_ready(pod) else unready).append(
            EndpointAddress(
                ip=address,
                hostname=membership.hostname_of(service, pod),
                node_name=pod.spec.node_name or None,
                target_ref=membership.reference_to(pod),
            )
        )
    return tuple(
        EndpointSubset(
            addresses=_sorted(ready),
            not_ready_addresses=_sorted(unready),
            ports=tuple(
                EndpointsPort(
                    name=p.name, port=p.port, protocol=p.protocol, app_protocol=p.app_protocol
                )
                for p in ports
            ),
        )
        for ports, (ready, unready) in sorted(groups.items(), key=lambda item: _port_rank(item[0]))
    )


def _port_rank(ports: Ports) -> list[tuple[str, int, str]]:
    return [(p.name, p.port, p.protocol) for p in ports]


def _sorted(addresses: Iterable[EndpointAddress]) -> tuple[EndpointAddress, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.ip, a.target_ref.uid if a.target_ref else "")))


def truncate(
    subsets: Sequence[EndpointSubset], capacity: int = CAPACITY
) -> tuple[tuple[EndpointSubset, ...], bool]:
    """Cut to `capacity` addresses, unready ones first to go; tell whether anything was cut."""
    total = sum(len(s.addresses) + len(s.not_ready_addresses) for s in subsets)
    if total <= capacity:
        return tuple(subsets), False
    ready_left = capacity
    cut: list[EndpointSubset] = []
    for subset in subsets:
        ready = subset.addresses[:ready_left]
        ready_left -= len(ready)
        cut.append(dataclasses.replace(subset, addresses=ready))
    for number, subset in enumerate(cut):
        unready = subset.not_ready_addresses[:ready_left]
        ready_left -= len(unready)
        cut[number] = dataclasses.replace(subset, not_ready_addresses=unready)
    return tuple(s for s in cut if s.addresses or s.not_ready_addresses), True


def endpoints(
    service: Service, selected: Iterable[Pod], known: Endpoints | None, trigger_time: str
) -> Endpoints | None:
    """Return the Endpoints object to write, None when the known one is right.

    Args:
        service: Whose endpoints.
        selected: Pods its selector matches.
        known: The object as it is, None when there is none.
        trigger_time: When what changed changed; written only together with a change.
    """
    subsets, cut = truncate(pack(service, selected))
    labels = membership.copied_labels(service.metadata.labels, RESERVED)
    labels[MANAGED_BY] = MANAGER
    if membership.is_headless(service):
        labels[membership.HEADLESS_LABEL] = ""
    about = (
        known.metadata
        if known is not None
        else ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace)
    )
    is_cut = OVER_CAPACITY in about.annotations
    if known and known.subsets == subsets and about.labels == labels and is_cut == cut:
        return None
    annotations = {
        k: v
        for k, v in about.annotations.items()
        if k not in (OVER_CAPACITY, membership.TRIGGER_TIME)
    }
    if cut:
        annotations[OVER_CAPACITY] = "truncated"
    if trigger_time:
        annotations[membership.TRIGGER_TIME] = trigger_time
    about = dataclasses.replace(about, labels=labels, annotations=annotations)
    if known is None:
        return Endpoints(metadata=about, subsets=subsets)
    return dataclasses.replace(known, metadata=about, subsets=subsets)
