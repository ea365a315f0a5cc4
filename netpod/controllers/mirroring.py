"""EndpointSliceMirroring controller: Endpoints written by hand become EndpointSlices, which kube-proxy reads.

Source: kubernetes pkg/controller/endpointslicemirroring/endpointslicemirroring_controller.go.
"""

import dataclasses
import ipaddress
from collections.abc import Coroutine, Iterable
from typing import Any

from netpod.api import meta
from netpod.api.core import EndpointAddress, Endpoints
from netpod.api.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from netpod.api.meta import Key, ObjectMeta
from netpod.api.service import Service
from netpod.controllers import controller, membership, slices
from netpod.controllers.controller import Context, Controller
from netpod.controllers.slices import Group
from netpod.controllers.slicewriter import SliceWriter

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
LIMIT = 1000
"""Addresses of a subset that are mirrored, and most in a slice. Source: --mirroring-max-endpoints-per-subset."""
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", membership.TRIGGER_TIME)


class EndpointSliceMirroringController:
    """Keeps the slices of Services without a selector like their Endpoints."""

    def __init__(self, context: Context) -> None:
        self._context = context.named("endpoint-slice-mirroring-controller")
        self._services = context.view(Service)
        self._endpoints = context.view(Endpoints)
        self._slices = context.view(EndpointSlice)
        self._writer = SliceWriter(context.client, self._slices)
        self._slices.index("mirrored", by_mirrored)
        self._loop: Controller[Key] = context.loop(
            "endpointslicemirroring",
            self.reconcile,
            after=[self._services, self._endpoints, self._slices],
        )
        self._services.subscribe(self._service_changed)
        self._endpoints.subscribe(self._endpoints_changed)
        self._slices.subscribe(self._slice_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        if any(item is not None and not item.spec.selector for item in (old, new)):
            shown = new or old
            assert shown is not None, "a change is a change of something"
            self._loop.enqueue(meta.key_of(shown))

    def _endpoints_changed(self, old: Endpoints | None, new: Endpoints | None) -> None:
        """Those of Services with a selector change all the time, and are not ours."""
        shown = new or old
        assert shown is not None, "a change is a change of something"
        key = meta.key_of(shown)
        service = self._services.get(key)
        if (service is not None and not service.spec.selector) or self._slices.by("mirrored", key):
            self._loop.enqueue(key)

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for item in (old, new):
            if item is not None:
                for key in by_mirrored(item):
                    self._loop.enqueue(key)

    async def reconcile(self, key: Key) -> None:
        """Bring one Service's mirrored slices up to date."""
        service, endpoints = self._services.get(key), self._endpoints.get(key)
        existing = self._slices.by("mirrored", key)
        wanted: list[EndpointSlice] = []
        if service is not None and endpoints is not None and is_mirrored(service, endpoints):
            wanted = mirror(service, endpoints)
        spare = {_group(item): item for item in existing}
        writes: list[Coroutine[Any, Any, None]] = []
        for item in wanted:
            known = spare.pop(_group(item), None)
            if known is None:
                writes.append(self._writer.create(item))
                continue
            about = dataclasses.replace(
                known.metadata,
                labels=item.metadata.labels,
                annotations=item.metadata.annotations,
                owner_references=item.metadata.owner_references,
            )
            again = dataclasses.replace(known, metadata=about, endpoints=item.endpoints)
            if again != known:
                writes.append(self._writer.update(again))
        kept = {_group(item) for item in wanted}
        writes += [self._writer.delete(item) for item in existing if _group(item) not in kept]
        await controller.all_of(writes)


def by_mirrored(item: EndpointSlice) -> list[Key]:
    """Index function: the Service of a slice that this controller manages."""
    labels = item.metadata.labels
    name = labels.get(slices.SERVICE_NAME, "")
    if labels.get(slices.MANAGED_BY) != MANAGER or not name:
        return []
    return [Key(item.metadata.namespace, name)]


def _group(item: EndpointSlice) -> Group:
    return item.address_type, tuple(
        EndpointPort(
            name=p.name or "",
            protocol=p.protocol or "TCP",
            port=p.port,
            app_protocol=p.app_protocol,
        )
        for p in item.ports
    )


def is_mirrored(service: Service, endpoints: Endpoints) -> bool:
    """Tell whether a Service's Endpoints are somebody's own, who did not ask to leave them alone."""
    return not (
        service.spec.selector
        or service.spec.type == "ExternalName"
        or service.metadata.deletion_timestamp
        or endpoints.metadata.deletion_timestamp
        or endpoints.metadata.labels.get(SKIP) == "true"
        or LEADER in endpoints.metadata.annotations
    )


def mirror(service: Service, endpoints: Endpoints) -> list[EndpointSlice]:
    """Return the slices of an Endpoints object: one per address family and set of ports."""
    groups: dict[Group, dict[str, Endpoint]] = {}
    for subset in endpoints.subsets:
        ports = tuple(
            EndpointPort(
                name=p.name, protocol=p.protocol or "TCP", port=p.port, app_protocol=p.app_protocol
            )
            for p in subset.ports
        )
        found = [*_made(subset.addresses, ready=True)]
        found += _made(subset.not_ready_addresses, ready=False)
        for family, endpoint in found[:LIMIT]:
            groups.setdefault((family, ports), {}).setdefault(endpoint.addresses[0], endpoint)
    labels = {
        name: value
        for name, value in endpoints.metadata.labels.items()
        if name not in slices.RESERVED
    }
    labels |= {slices.SERVICE_NAME: endpoints.metadata.name, slices.MANAGED_BY: MANAGER}
    if membership.is_headless(service):
        labels[membership.HEADLESS_LABEL] = ""
    about = ObjectMeta(
        generate_name=f"{endpoints.metadata.name}-",
        namespace=endpoints.metadata.namespace,
        labels=labels,
        annotations={
            name: value
            for name, value in endpoints.metadata.annotations.items()
            if name not in _NOT_COPIED
        },
        owner_references=(controller.controller_reference(endpoints),),
    )
    return [
        EndpointSlice(
            metadata=about,
            address_type=family,
            ports=ports,
            endpoints=tuple(members[address] for address in sorted(members))[:LIMIT],
        )
        for (family, ports), members in groups.items()
    ]


def _made(addresses: Iterable[EndpointAddress], *, ready: bool) -> Iterable[tuple[str, Endpoint]]:
    for address in addresses:
        try:
            parsed = ipaddress.ip_address(address.ip)
        except ValueError:
            continue
        yield (
            f"IPv{parsed.version}",
            Endpoint(
                addresses=(str(parsed),),
                conditions=EndpointConditions(ready=ready),
                hostname=address.hostname or None,
                node_name=address.node_name,
                target_ref=address.target_ref,
            ),
        )
