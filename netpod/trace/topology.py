"""Namespaces, links, and what their addresses mean (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from netpod.api.meta import Key
from netpod.ip import Address as IPAddress
from netpod.ip import family_of
from netpod.trace.model import Address, Role
from netpod.trace.objects import ClusterObjects
from netpod.trace.place import Place as Place


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A cluster as a trace sees it.

    Attributes:
        places: Namespaces to listen in, by name.
        client: The namespace the request starts in.
        logs: Where the ingress proxy's access lines are: container log directories or files.
        lock: File that only one trace at a time may hold, or None.
        cache: File to keep what is known of the kernel's structures in, or None.
    """

    places: dict[str, Place]
    client: str
    objects: ClusterObjects
    logs: tuple[Path, ...] = ()
    lock: Path | None = None
    note: str = ""
    cache: Path | None = None

    def ruled(self) -> tuple[str, ...]:
        """Return the namespaces that hold rules: the edge and the nodes."""
        return tuple(p.netns for p in self.places.values() if p.role in (Role.EDGE, Role.NODE))

    def place(self, netns_name: str) -> Place:
        """Return what a namespace is; one not known is named as it is."""
        return self.places.get(netns_name, Place(netns=netns_name, role=Role.UNKNOWN))

    def name_of(self, ip: IPAddress) -> str:
        """Return whose address this is in words, e.g. "pod default/web-0", or "" when nobody's."""
        objects = self.objects
        if (pod := objects.pod_by_ip(ip)) is not None:
            return f"pod {pod.metadata.namespace}/{pod.metadata.name}"
        if (node := objects.node_by_ip(ip)) is not None:
            return f"node {node.metadata.name}"
        service = objects.service_by_cluster_ip(ip) or objects.service_by_external_ip(ip)
        if service is not None:
            return f"Service {service.metadata.namespace}/{service.metadata.name}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link.

    Attributes:
        peer: Index of a veth's other end, in that end's namespace; else 0.
        master: Index of its bridge; else 0.
        kind: As `ip -d link` says, e.g. "veth", "bridge"; "" when the kernel does not.
        up: Whether it is set up.
        carrier: Whether its other end is up too.
        hairpin: Whether a bridge port sends frames back where they came from; None when it is no port.
    """

    netns: str
    index: int
    name: str
    peer: int = 0
    master: int = 0
    kind: str = ""
    up: bool = True
    carrier: bool = True
    mtu: int = 0
    hairpin: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Links by (namespace, name). Empty is allowed: then nothing is said about peers and bridges."""

    links: Mapping[tuple[str, str], Link]
    addresses: Mapping[str, frozenset[IPAddress]] = field(default_factory=dict)

    def peers(self, netns_name: str, name: str) -> tuple[Link, ...]:
        """Return what may be the other end of a veth pair: indexes are only unique within a namespace."""
        here = (netns_name, name)
        return tuple(x for x in self.links.values() if self.connected(here, (x.netns, x.name)))

    def owner(self, ip: IPAddress) -> str:
        """Return the namespace that has an address, or ""."""
        return next((name for name, ips in self.addresses.items() if ip in ips), "")

    def bridge_port(self, netns_name: str, name: str) -> bool:
        """Return whether a link is a port of a bridge."""
        link = self.links.get((netns_name, name))
        return link is not None and link.master != 0

    def connected(self, a: tuple[str, str], b: tuple[str, str]) -> bool | None:
        """Return whether two links are the ends of one veth pair; None when one of them is not known."""
        one, other = self.links.get(a), self.links.get(b)
        if one is None or other is None:
            return None
        return one.peer == other.index and other.peer == one.index


def doors(objects: ClusterObjects, connect: Address) -> tuple[Address, ...]:
    """Return where a request to an address may end: the Service's endpoints of its family, or itself (pure)."""
    service = objects.service_at(connect)
    if service is None:
        return (connect,) if connect.port else ()
    slices = objects.slices(Key(service.metadata.namespace, service.metadata.name))
    found = {
        Address(ip_address(ip), port.port)
        for piece in slices
        if piece.address_type == family_of(connect.ip)
        for port in piece.ports
        if port.port
        for endpoint in piece.endpoints
        for ip in endpoint.addresses
    }
    return tuple(sorted(found))


def capture_ports(objects: ClusterObjects, connect: Address) -> tuple[int, ...]:
    """Return the ports a request to `connect` may show on its way, beside the client's own (pure).

    Masquerading changes the client's port to one nobody knows before; the destination's ports stay.
    """
    ports = {connect.port} | {door.port for door in doors(objects, connect)}
    service = objects.service_at(connect)
    for port in service.spec.ports if service is not None else ():
        ports |= {port.port, port.node_port}
    return tuple(sorted(ports - {0}))[:MAX_PORTS]


MAX_PORTS = 100
"""A filter's jumps reach no further."""
