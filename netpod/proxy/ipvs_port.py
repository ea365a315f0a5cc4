"""One service port's share of IPVS mode: virtual servers, addresses, members of ipsets (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netpod.ip import Address, Network
from netpod.proxy import ipvs_rules, topology
from netpod.proxy.config import ProxyConfig
from netpod.proxy.ipvs_config import Scheduler
from netpod.proxy.ipvs_rules import Set
from netpod.proxy.model import Endpoint, ServicePort

Place = tuple[Address, int, str]
"""Address, port, protocol."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class VirtualServer:
    """Where clients connect to.

    Attributes:
        address: Cluster IP, external address, or a node's own for a node port.
        port: Port there.
        protocol: "tcp", "udp" or "sctp".
        scheduler: How it chooses among its real servers.
        persistent: Seconds a client keeps its real server; 0: no affinity.
        hash_port: The source hash takes the port in too (flag sh-port, mh-port).
    """

    address: Address
    port: int
    protocol: str
    scheduler: Scheduler = Scheduler.RR
    persistent: int = 0
    hash_port: bool = False

    @property
    def place(self) -> Place:
        """Where clients connect to; the kernel has one virtual server for each."""
        return (self.address, self.port, self.protocol)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RealServer:
    """An endpoint; forwarding is masquerading (NAT), always."""

    address: Address
    port: int
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one service port contributes.

    Attributes:
        servers: Real servers by virtual server.
        addresses: What is to be bound to kube-ipvs0.
        members: (set, member as `ipset list` prints it).
        closed: Load balancer addresses that the node itself may not use: no source range holds its address.
    """

    servers: dict[VirtualServer, tuple[RealServer, ...]]
    addresses: frozenset[Address]
    members: frozenset[tuple[Set, str]]
    closed: frozenset[Place] = frozenset()


def compile_port(
    port: ServicePort,
    endpoints: tuple[Endpoint, ...],
    config: ProxyConfig,
    *,
    zone: str,
    scheduler: Scheduler,
    nodes: tuple[Address, ...],
    own: frozenset[Address] = frozenset(),
) -> Share:
    """A service port's share.

    Args:
        port: The service port.
        endpoints: Its endpoints, usable or not.
        config: This node's settings.
        zone: The node's zone.
        scheduler: Of every virtual server.
        nodes: Local addresses on which node ports are open.
        own: Every address that other links of the node have: an external address among them is not bound again.
    """
    compiler = _Compiler(port, endpoints, config, zone, scheduler, nodes, own)
    compiler.add()
    return Share(
        servers=compiler.servers,
        addresses=frozenset(compiler.addresses),
        members=frozenset(compiler.members),
        closed=frozenset(compiler.closed),
    )


class _Compiler:
    """One service port, while it is compiled."""

    def __init__(
        self,
        port: ServicePort,
        endpoints: tuple[Endpoint, ...],
        config: ProxyConfig,
        zone: str,
        scheduler: Scheduler,
        nodes: tuple[Address, ...],
        own: frozenset[Address],
    ) -> None:
        self.servers: dict[VirtualServer, tuple[RealServer, ...]] = {}
        self.addresses: set[Address] = set()
        self.members: set[tuple[Set, str]] = set()
        self.closed: set[Place] = set()
        self.port = port
        self.endpoints = endpoints
        self.config = config
        self.scheduler = scheduler
        self.nodes = nodes
        self.own = own
        self.protocol = port.name.protocol.lower()
        usable = topology.categorize(port, endpoints, node_name=config.node_name, zone=zone)
        anybody = replace(port, internal_policy_local=False)
        everywhere = topology.categorize(
            anybody, endpoints, node_name=config.node_name, zone=zone
        ).cluster
        self.internal = (usable.local or everywhere) if port.internal_policy_local else everywhere
        self.external = (usable.local or everywhere) if port.external_policy_local else everywhere

    def add(self) -> None:
        """Compile."""
        port = self.port
        for endpoint in self.endpoints:
            if endpoint.is_local:
                self._member(Set.LOOP_BACK, endpoint.ip, endpoint.port, f",{endpoint.ip}")
        self._serve(port.cluster_ip, port.port, self.internal)
        self._bind(Set.CLUSTER_IP, port.cluster_ip)
        for ip in port.external_ips:
            local = port.external_policy_local
            self._bind(Set.EXTERNAL_IP_LOCAL if local else Set.EXTERNAL_IP, ip)
            self._serve(ip, port.port, self.external)
        for ip in port.load_balancer_vips:
            self._load_balancer(ip)
            self._serve(ip, port.port, self.external)
        if port.node_port:
            self._node_port()
        if port.health_check_node_port:
            self.members.add((Set.HEALTH_CHECK_NODE_PORT, str(port.health_check_node_port)))

    def _load_balancer(self, ip: Address) -> None:
        port = self.port
        self._bind(Set.LOAD_BALANCER, ip)
        if port.external_policy_local:
            self._member(Set.LOAD_BALANCER_LOCAL, ip, port.port)
        if not port.source_ranges:
            return
        self._member(Set.LOAD_BALANCER_FW, ip, port.port)
        for network in _halves(port.source_ranges):
            self._member(Set.LOAD_BALANCER_SOURCE_CIDR, ip, port.port, f",{network}")
        # This node's own packets to a VIP carry it as their source: it is a local address here.
        if any(self.config.node_ip in network for network in port.source_ranges):
            self._member(Set.LOAD_BALANCER_SOURCE_IP, ip, port.port, f",{ip}")
        else:
            self.closed.add((ip, port.port, self.protocol))

    def _node_port(self) -> None:
        number = self.port.node_port
        local = self.port.external_policy_local
        for ip in self.nodes:
            self._serve(ip, number, self.external)
            if self.protocol == "sctp":
                self._member(Set.NODE_PORT_SCTP, ip, number)
                if local:
                    self._member(Set.NODE_PORT_LOCAL_SCTP, ip, number)
        if self.protocol != "sctp":
            every, here = ipvs_rules.NODE_PORT_SETS[self.protocol]
            for name in (every, here) if local else (every,):
                self.members.add((name, str(number)))

    def _bind(self, name: Set, ip: Address) -> None:
        if ip not in self.own:
            self.addresses.add(ip)
        self._member(name, ip, self.port.port)

    def _member(self, name: Set, ip: Address, number: int, tail: str = "") -> None:
        member = f"{ip},{self.protocol}:{number}{tail.removesuffix(f'/{ip.max_prefixlen}')}"
        self.members.add((name, member))

    def _serve(self, ip: Address, number: int, endpoints: tuple[Endpoint, ...]) -> None:
        server = VirtualServer(
            address=ip,
            port=number,
            protocol=self.protocol,
            scheduler=self.scheduler,
            persistent=self.port.affinity_seconds,
            hash_port=self.scheduler is Scheduler.MH,
        )
        self.servers[server] = tuple(RealServer(address=e.ip, port=e.port) for e in endpoints)


def _halves(ranges: tuple[Network, ...]) -> Iterator[Network]:
    """The same addresses; a set of networks cannot hold one of length 0."""
    for network in ranges:
        yield from network.subnets() if network.prefixlen == 0 else (network,)
