"""What changed since the last sync: API objects in, service ports whose rules may differ out (pure).

Services and EndpointSlices arrive one by one and in any order; a Service is looked at again only when one of its
objects came, so an endpoint that flips costs one service and not the cluster.

Source: kubernetes pkg/proxy/servicechangetracker.go, endpointschangetracker.go.
"""

from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key, key_of
from netpod.api.service import Service
from netpod.ip import Family
from netpod.proxy import model
from netpod.proxy.model import Endpoint, Model, ServicePort, ServicePortName


class ChangeTracker:
    """The model of the cluster as one node's proxy sees it in one family, kept up to date by informer handlers."""

    def __init__(self, node_name: str, family: Family = Family.IPV4) -> None:
        self._node_name = node_name
        self._family = family
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, dict[str, EndpointSlice]] = {}
        self._ports: dict[ServicePortName, ServicePort] = {}
        self._endpoints: dict[ServicePortName, tuple[Endpoint, ...]] = {}
        self._names: dict[Key, tuple[ServicePortName, ...]] = {}
        self._dirty: set[Key] = set()

    @property
    def model(self) -> Model:
        """Services and endpoints as of the last `take`; a live view, not a copy."""
        return Model(services=self._ports, endpoints=self._endpoints)

    @property
    def dirty(self) -> bool:
        """Whether some object changed since the last `take`."""
        return bool(self._dirty)

    def service_changed(self, old: Service | None, new: Service | None) -> None:
        """Informer handler for Services."""
        if new is not None:
            key = key_of(new)
            self._services[key] = new
        elif old is not None:
            key = key_of(old)
            self._services.pop(key, None)
        else:
            return
        self._dirty.add(key)

    def slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        """Informer handler for EndpointSlices; a slice may move from one Service to another."""
        before = model.service_of(old, self._family) if old is not None else None
        after = model.service_of(new, self._family) if new is not None else None
        if before is not None and old is not None and before != after:
            pieces = self._slices.get(before, {})
            pieces.pop(old.metadata.name, None)
            if not pieces:
                self._slices.pop(before, None)
            self._dirty.add(before)
        if after is not None and new is not None:
            self._slices.setdefault(after, {})[new.metadata.name] = new
            self._dirty.add(after)

    def take(self, most: int = 0) -> frozenset[ServicePortName]:
        """Bring the model up to date; return the service ports that are new, gone, or differ in anything.

        Args:
            most: Services to look at; the rest stay dirty. 0: all.
        """
        changed: set[ServicePortName] = set()
        for _ in range(min(most or len(self._dirty), len(self._dirty))):
            changed |= self._update(self._dirty.pop())
        return frozenset(changed)

    def _update(self, key: Key) -> set[ServicePortName]:
        service = self._services.get(key)
        ports = model.service_ports(service, self._family) if service is not None else ()
        found = (
            model.slice_endpoints(self._slices.get(key, {}).values(), self._node_name, self._family)
            if ports
            else {}
        )
        changed: set[ServicePortName] = set()
        for name in set(self._names.pop(key, ())) - {port.name for port in ports}:
            del self._ports[name], self._endpoints[name]
            changed.add(name)
        for port in ports:
            name = port.name
            endpoints = found.get((name.port, name.protocol), ())
            if self._ports.get(name) != port or self._endpoints.get(name) != endpoints:
                self._ports[name] = port
                self._endpoints[name] = endpoints
                changed.add(name)
        if ports:
            self._names[key] = tuple(port.name for port in ports)
        return changed
