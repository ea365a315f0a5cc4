"""compile(model) -> virtual servers, bound addresses, ipsets and helper rules of IPVS mode (pure).

    PREROUTING, OUTPUT -> KUBE-SERVICES: which packets are masqueraded later, by ipset
    INPUT -> IPVS: the address is on kube-ipvs0, so the packet is local; the virtual server sends it to a real one
    POSTROUTING -> KUBE-POSTROUTING: hairpin (KUBE-LOOP-BACK) and marked packets

Where traffic policy Local finds no endpoint on this node, the cluster's serve: unlike in the other modes nothing is
dropped. Source: kubernetes pkg/proxy/ipvs/proxier.go, ipset.go, netlink_linux.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from netpod.errors import UsageError
from netpod.ip import Address
from netpod.proxy import ipvs_rules, topology
from netpod.proxy.config import ProxyConfig
from netpod.proxy.ipvs_rules import Set
from netpod.proxy.model import Endpoint, Model, ServicePort
from netpod.proxy.restore import Rules, save_text

DUMMY = "kube-ipvs0"
"""The link that makes every service address local; it is down and answers no ARP."""


class Scheduler(StrEnum):
    """How a virtual server chooses. Source: ipvsadm(8)."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    WLC = "wlc"
    LBLC = "lblc"
    LBLCR = "lblcr"
    SH = "sh"
    DH = "dh"
    SED = "sed"
    NQ = "nq"
    MH = "mh"
    FO = "fo"
    OVF = "ovf"


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


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RealServer:
    """An endpoint; forwarding is masquerading (NAT), always."""

    address: Address
    port: int
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipvs:
    """Everything of one node.

    Attributes:
        servers: Real servers by virtual server.
        addresses: What is bound to kube-ipvs0, /32 each.
        sets: Members by ipset, as `ipset list` prints them.
        rules: Helper rules by chain by table, without the jumps out of the built-in chains.
    """

    servers: dict[VirtualServer, tuple[RealServer, ...]] = field(default_factory=dict)
    addresses: set[Address] = field(default_factory=set)
    sets: dict[str, set[str]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Rules]] = field(default_factory=dict)


def scheduler_of(text: str) -> Scheduler:
    """The scheduler of that name; "" is rr.

    Raises:
        UsageError: there is none.
    """
    try:
        return Scheduler(text or Scheduler.RR)
    except ValueError:
        known = ", ".join(Scheduler)
        raise UsageError(f"cannot use IPVS scheduler {text!r}: there are {known}") from None


def compile(
    model: Model,
    config: ProxyConfig,
    *,
    zone: str = "",
    scheduler: Scheduler = Scheduler.RR,
    node_ips: Iterable[Address] = (),
) -> Ipvs:
    """Everything this node should have.

    Args:
        model: Services and endpoints.
        config: This node's settings.
        zone: The node's zone.
        scheduler: Of every virtual server.
        node_ips: Local addresses on which node ports are open, without loopback and kube-ipvs0; none: the primary.
    """
    out = Ipvs(sets={name: set() for name in Set})
    nodes = tuple(node_ips) or (config.node_ip,)
    taken: set[tuple[Address, int, str]] = set()
    for name in sorted(model.services):
        port = model.services[name]
        _Port(out, port, model.endpoints.get(name, ()), config, zone, scheduler, nodes, taken).add()
    out.sets[Set.IPVS_IPS] = set(map(str, out.addresses))
    filled = frozenset(name for name, members in out.sets.items() if members)
    return replace(out, rules=ipvs_rules.compile(filled, config))


def text(found: Ipvs) -> str:
    """Everything as `ipvsadm-save -n`, `ip address`, `ipset save` and `iptables-save` would print it, sorted."""
    out: list[str] = []
    options = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
    for server in sorted(found.servers):
        where = f"{options[server.protocol]} {server.address}:{server.port}"
        sticky = f" -p {server.persistent}" if server.persistent else ""
        flag = f" -b {server.scheduler}-port" if server.hash_port else ""
        out.append(f"-A {where} -s {server.scheduler}{sticky}{flag}")
        for real in found.servers[server]:
            out.append(f"-a {where} -r {real.address}:{real.port} -m -w {real.weight}")
    out += [f"address add {ip}/32 dev {DUMMY}" for ip in sorted(found.addresses)]
    out.append(ipset_text(found.sets).rstrip())
    return "\n".join(out) + "\n" + save_text(found.rules)


def ipset_text(sets: Mapping[str, Iterable[str]]) -> str:
    """Input of `ipset restore`: every set, then its members."""
    out = [f"create {name} {ipvs_rules.definition(Set(name))}" for name in sorted(sets)]
    out += [f"add {name} {member}" for name in sorted(sets) for member in sorted(sets[name])]
    return "\n".join(out) + "\n"


class _Port:
    """One service port's share."""

    def __init__(
        self,
        out: Ipvs,
        port: ServicePort,
        endpoints: tuple[Endpoint, ...],
        config: ProxyConfig,
        zone: str,
        scheduler: Scheduler,
        nodes: tuple[Address, ...],
        taken: set[tuple[Address, int, str]],
    ) -> None:
        self.out = out
        self.taken = taken
        self.port = port
        self.endpoints = endpoints
        self.config = config
        self.scheduler = scheduler
        self.nodes = nodes
        self.protocol = port.name.protocol.lower()
        usable = topology.categorize(port, endpoints, node_name=config.node_name, zone=zone)
        anybody = replace(port, internal_policy_local=False)
        everywhere = topology.categorize(
            anybody, endpoints, node_name=config.node_name, zone=zone
        ).cluster
        self.internal = (usable.local or everywhere) if port.internal_policy_local else everywhere
        self.external = (usable.local or everywhere) if port.external_policy_local else everywhere

    def add(self) -> None:
        port = self.port
        for endpoint in self.endpoints:
            if endpoint.is_local and endpoint.ready:
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
            self.out.sets[Set.HEALTH_CHECK_NODE_PORT].add(str(port.health_check_node_port))

    def _load_balancer(self, ip: Address) -> None:
        port = self.port
        self._bind(Set.LOAD_BALANCER, ip)
        if port.external_policy_local:
            self._member(Set.LOAD_BALANCER_LOCAL, ip, port.port)
        if not port.source_ranges:
            return
        self._member(Set.LOAD_BALANCER_FW, ip, port.port)
        for network in port.source_ranges:
            self._member(Set.LOAD_BALANCER_SOURCE_CIDR, ip, port.port, f",{network}")
        # This node's own packets to a VIP carry it as their source: it is a local address here.
        if any(self.config.node_ip in network for network in port.source_ranges):
            self._member(Set.LOAD_BALANCER_SOURCE_IP, ip, port.port, f",{ip}")

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
                self.out.sets[name].add(str(number))

    def _bind(self, name: Set, ip: Address) -> None:
        self.out.addresses.add(ip)
        self._member(name, ip, self.port.port)

    def _member(self, name: Set, ip: Address, number: int, tail: str = "") -> None:
        self.out.sets[name].add(f"{ip},{self.protocol}:{number}{tail.removesuffix('/32')}")

    def _serve(self, ip: Address, number: int, endpoints: tuple[Endpoint, ...]) -> None:
        server = VirtualServer(
            address=ip,
            port=number,
            protocol=self.protocol,
            scheduler=self.scheduler,
            persistent=self.port.affinity_seconds,
            hash_port=self.scheduler is Scheduler.MH,
        )
        # Two Services may claim one address or node port: the first by name has it, as in the other modes.
        place = (ip, number, self.protocol)
        if place not in self.taken:
            self.taken.add(place)
            real = (RealServer(address=e.ip, port=e.port) for e in endpoints)
            self.out.servers[server] = tuple(real)
