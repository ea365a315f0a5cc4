"""What DNS knows of the cluster: few fields of Services, EndpointSlices and namespaces, by name and by address (pure).

Only what an answer needs is kept, so ten thousand Services are a few megabytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key, key_of
from netpod.api.service import Service
from netpod.dns.parse import dashes

SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A named port; `protocol` in lower case."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """A Service. `addresses` is empty for a headless one, and for one with `external_name`."""

    key: Key
    addresses: tuple[str, ...] = ()
    external_name: str = ""
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointEntry:
    """A ready endpoint under its label: its hostname, or its address with dashes."""

    label: str
    address: str
    ports: tuple[Port, ...] = ()


Subject = Key | str
"""What an answer is about: a Service, an address, or `namespace/NAME`."""


class View:
    """The cluster as last seen.

    Attributes:
        revision: Grows with every change that an answer could show.
        changed: What such changes were about, until whoever keeps answers has taken it.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.changed: set[Subject] = set()
        self.namespaces: set[str] = set()
        self._services: dict[Key, ServiceEntry] = {}
        self._slices: dict[Key, dict[str, tuple[EndpointEntry, ...]]] = {}
        self._service_by_address: dict[str, Key] = {}
        self._endpoints_by_address: dict[str, dict[tuple[Key, str], str]] = {}

    def service(self, namespace: str, name: str) -> ServiceEntry | None:
        """Return a Service by name."""
        return self._services.get(Key(namespace, name))

    def endpoints(self, key: Key) -> tuple[EndpointEntry, ...]:
        """Return the ready endpoints of a Service, each once, in a stable order."""
        slices = self._slices.get(key, {})
        merged: dict[tuple[str, str], EndpointEntry] = {}
        for name in sorted(slices):
            for entry in slices[name]:
                same = merged.get((entry.label, entry.address))
                ports = entry.ports if same is None else (*same.ports, *entry.ports)
                merged[entry.label, entry.address] = EndpointEntry(
                    label=entry.label, address=entry.address, ports=tuple(dict.fromkeys(ports))
                )
        return tuple(merged.values())

    def names_of(self, address: str) -> list[str]:
        """Return the names, below `svc.ZONE`, whose address this is: a Service, or endpoints of headless ones."""
        key = self._service_by_address.get(address)
        if key is not None:
            return [f"{key.name}.{key.namespace}"]
        names = []
        for (service, _), label in sorted(self._endpoints_by_address.get(address, {}).items()):
            entry = self._services.get(service)
            if entry is not None and is_headless(entry):
                names.append(f"{label}.{service.name}.{service.namespace}")
        return list(dict.fromkeys(names))

    def set_namespace(self, name: str, exists: bool) -> None:
        """Note that a namespace exists, or no longer."""
        if exists != (name in self.namespaces):
            (self.namespaces.add if exists else self.namespaces.discard)(name)
            self._note(namespace_subject(name))

    def set_service(self, key: Key, service: Service | None) -> None:
        """Take in a Service, or that it is gone."""
        new = _service(service) if service is not None else None
        old = self._services.get(key)
        if old == new:
            return
        if old is not None:
            del self._services[key]
            for address in old.addresses:
                if self._service_by_address.get(address) == key:
                    del self._service_by_address[address]
        if new is not None:
            self._services[key] = new
            for address in new.addresses:
                self._service_by_address[address] = key
        addresses = {a for entry in (old, new) if entry is not None for a in entry.addresses}
        # Whether they have names depends on the Service being headless.
        behind = {e.address for slices in self._slices.get(key, {}).values() for e in slices}
        self._note(key, *addresses, *behind)

    def set_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        """Take in a changed EndpointSlice; a slice may change the Service it belongs to."""
        if old is not None and (new is None or _owner(old) != _owner(new)):
            self._replace(_owner(old), old.metadata.name, ())
        if new is not None:
            self._replace(_owner(new), new.metadata.name, _ready(new))

    def _note(self, *subjects: Subject) -> None:
        self.revision += 1
        self.changed.update(subjects)

    def _replace(self, service: Key, name: str, entries: tuple[EndpointEntry, ...]) -> None:
        slices = self._slices.get(service, {})
        before = slices.get(name, ())
        if before == entries:
            return
        for entry in before:
            labels = self._endpoints_by_address.get(entry.address, {})
            labels.pop((service, name), None)
            if not labels:
                self._endpoints_by_address.pop(entry.address, None)
        for entry in entries:
            labels = self._endpoints_by_address.setdefault(entry.address, {})
            labels[service, name] = entry.label
        if entries:
            self._slices.setdefault(service, {})[name] = entries
        else:
            slices.pop(name, None)
            if not slices:
                self._slices.pop(service, None)
        self._note(service, *(entry.address for entry in (*before, *entries)))


def namespace_subject(name: str) -> Subject:
    """Return what answers about a namespace itself are about."""
    return f"namespace/{name}"


def is_headless(entry: ServiceEntry) -> bool:
    """Say whether a Service's name stands for its endpoints."""
    return not entry.addresses and not entry.external_name


def build(
    namespaces: Iterable[str], services: Iterable[Service], slices: Iterable[EndpointSlice]
) -> View:
    """Return a view of some objects."""
    view = View()
    for name in namespaces:
        view.set_namespace(name, True)
    for service in services:
        view.set_service(key_of(service), service)
    for piece in slices:
        view.set_slice(None, piece)
    return view


def _owner(piece: EndpointSlice) -> Key:
    return Key(piece.metadata.namespace, piece.metadata.labels.get(SERVICE_NAME, ""))


def _service(service: Service) -> ServiceEntry:
    spec = service.spec
    external = spec.external_name.rstrip(".").lower() if spec.type == "ExternalName" else ""
    addresses = spec.cluster_ips or (spec.cluster_ip,)
    return ServiceEntry(
        key=key_of(service),
        external_name=external,
        addresses=() if external else tuple(a for a in addresses if a not in ("", "None")),
        ports=tuple(
            Port(name=p.name, protocol=(p.protocol or "TCP").lower(), number=p.port)
            for p in spec.ports
            if p.name
        ),
    )


def _ready(piece: EndpointSlice) -> tuple[EndpointEntry, ...]:
    if not piece.metadata.labels.get(SERVICE_NAME) or piece.address_type == "FQDN":
        return ()
    ports = tuple(
        Port(name=p.name, protocol=(p.protocol or "TCP").lower(), number=p.port)
        for p in piece.ports
        if p.name and p.port
    )
    return tuple(
        EndpointEntry(
            label=(e.hostname or dashes(e.addresses[0])).lower(),
            address=e.addresses[0],
            ports=ports,
        )
        for e in piece.endpoints
        if e.addresses and e.conditions.ready is not False
    )
