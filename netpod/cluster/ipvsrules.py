"""What IPVS mode has in a node's kernel beside iptables rules: virtual servers, addresses, ipsets, and whose they are.

The kernel knows no Service: an address, port and protocol say whose a virtual server or a set's member is.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from netpod.api.service import Service
from netpod.cluster.rulevalues import Chain, Rule
from netpod.errors import KernelError
from netpod.ip import Address, Family, family_of, host_port
from netpod.linux import dummy, ipset, ipvs
from netpod.linux.iptables import Counted
from netpod.linux.ipvs import Destination
from netpod.proxy import ipvs_rules, model
from netpod.proxy.ipvs import DUMMY, Ipvs
from netpod.proxy.ipvs_rules import Set

IPVS, IPSET, LINK = "ipvs", "ipset", "link"
"""Tables of what is in no table of netfilter."""
NODE_PORT = None
"""Stands for the node's address in a node port's place."""
Owners = Mapping[tuple[Address | None, int, str], str]
"""Who has an address (None: any of the node's), port and protocol: "cluster IP of default/web:http"."""
Services = Callable[[], Sequence[Service]]
_MATCH = re.compile(r"--match-set (\S+)")
_DRAINS = "drains: it takes no new connections and goes with its last"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """IPVS mode of one node and family.

    Attributes:
        servers: Virtual servers and their real ones.
        addresses: Of kube-ipvs0.
        sets: Members by ipset.
    """

    servers: tuple[tuple[ipvs.Service, tuple[Destination, ...]], ...] = ()
    addresses: frozenset[Address] = frozenset()
    sets: Mapping[str, frozenset[str]]


def observe(netns: str, family: Family) -> State | None:
    """Read it; None where there is nothing of the mode.

    Raises:
        KernelError: the kernel cannot say.
    """
    bound = {ip for ip in dummy.addresses(netns, DUMMY) if family_of(ip) is family}
    wanted = {ipvs_rules.set_name(name, family) for name in Set}
    if not bound or not ipvs.present(netns):
        return None
    with ipvs.Ipvs(netns) as kernel:
        own = [it for it in kernel.services() if family_of(it.place[0]) is family]
        servers = tuple((it, tuple(kernel.destinations(it.place))) for it in own)
    try:
        sets = ipset.observe(netns)
    except KernelError:
        sets = {}
    return State(
        servers=servers,
        addresses=frozenset(bound),
        sets={name: it.members for name, it in sets.items() if name in wanted},
    )


def expected(desired: Ipvs, family: Family) -> State:
    """What the kernel should have, in the same form (pure)."""
    return State(
        servers=tuple(
            (
                ipvs.Service(
                    place=server.place,
                    scheduler=server.scheduler,
                    persistent=server.persistent,
                    hash_port=server.hash_port,
                ),
                tuple(
                    Destination(address=it.address, port=it.port, weight=it.weight) for it in real
                ),
            )
            for server, real in desired.servers.items()
        ),
        addresses=frozenset(desired.addresses),
        sets={
            ipvs_rules.set_name(name, family): frozenset(members)
            for name, members in desired.sets.items()
        },
    )


def owners(
    services: Iterable[Service], family: Family
) -> dict[tuple[Address | None, int, str], str]:
    """Whose each place is; of two that claim one, the first by name has it (pure)."""
    found: dict[tuple[Address | None, int, str], str] = {}
    ports = [port for it in services for port in model.service_ports(it, family)]
    for port in sorted(ports, key=lambda it: it.name):
        protocol = port.name.protocol.lower()
        places: list[tuple[Address | None, int, str]] = [(port.cluster_ip, port.port, "cluster IP")]
        places += [(ip, port.port, "external IP") for ip in port.external_ips]
        places += [(ip, port.port, "load balancer") for ip in port.load_balancer_vips]
        if port.node_port:
            places.append((NODE_PORT, port.node_port, "node port"))
        for address, number, kind in places:
            found.setdefault((address, number, protocol), f"{kind} of {port.name}")
    return found


def chains(
    state: State,
    whose: Owners,
    counted: Iterable[Counted] = (),
    *,
    service: tuple[str, str] | None = None,
) -> list[Chain]:
    """Everything as chains, of a node or of one Service (namespace, name) with the rules that concern it (pure)."""
    if service is not None:
        state = _only(state, whose, service)
    found = [_server(virtual, real, whose) for virtual, real in sorted(state.servers, key=_order)]
    if state.addresses:
        bound = tuple(Rule(rule=str(ip)) for ip in sorted(state.addresses, key=int))
        purpose = "makes these addresses local, so that IPVS gets what is sent to them"
        found.append(Chain(table=LINK, name=DUMMY, purpose=purpose, rules=bound))
    for name in sorted(state.sets):
        if service is not None and not state.sets[name]:
            continue
        members = tuple(
            Rule(rule=member, meaning=_member_owner(member, name, whose))
            for member in sorted(state.sets[name])
        )
        purpose = ipvs_rules.purpose(name)
        found.append(Chain(table=IPSET, name=name, purpose=purpose, rules=members))
    if service is not None:
        found += _helpers(counted, {name for name, members in state.sets.items() if members})
    return found


def without_draining(found: Iterable[Chain]) -> list[Chain]:
    """The same without real servers that only wait for their connections to end (pure)."""
    return [
        replace(chain, rules=tuple(it for it in chain.rules if it.meaning != _DRAINS))
        if chain.table.endswith(IPVS)
        else chain
        for chain in found
    ]


def _only(state: State, whose: Owners, service: tuple[str, str]) -> State:
    """What of a node's state is one Service's."""
    name = "/".join(service)

    def mine(owner: str) -> bool:
        return owner.rpartition(" of ")[2].partition(":")[0] == name

    servers = tuple(
        (virtual, real) for virtual, real in state.servers if mine(_owner(virtual.place, whose))
    )
    loops = {
        f"{it.address},{virtual.place[2]}:{it.port},{it.address}"
        for virtual, real in servers
        for it in real
    }
    addresses = {virtual.place[0] for virtual, _ in servers} & state.addresses
    sets = {
        key: frozenset(
            member
            for member in members
            if mine(_member_owner(member, key, whose))
            or member in loops
            or member in set(map(str, addresses))
        )
        for key, members in state.sets.items()
    }
    return State(servers=servers, addresses=frozenset(addresses), sets=sets)


def _owner(place: ipvs.Place, whose: Owners) -> str:
    _, port, protocol = place
    return whose.get(place) or whose.get((NODE_PORT, port, protocol), "")


def _member_owner(member: str, name: str, whose: Owners) -> str:
    """Whose a member like "10.96.0.1,tcp:80" or "31080" is; "" for one of no Service's port."""
    if member.isdigit():
        protocol = "udp" if name.endswith("-UDP") else "tcp"
        return whose.get((NODE_PORT, int(member), protocol), "")
    parts = member.split(",")
    if len(parts) < 2:
        return ""
    protocol, _, port = parts[1].partition(":")
    address = NODE_PORT if "-NODE-PORT-" in name else ip_address(parts[0])
    return whose.get((address, int(port), protocol), "")


def _order(item: tuple[ipvs.Service, object]) -> tuple[int, int, str]:
    address, port, protocol = item[0].place
    return int(address), port, protocol


def _server(virtual: ipvs.Service, real: Sequence[Destination], whose: Owners) -> Chain:
    address, port, protocol = virtual.place
    name = f"{protocol.upper()} {host_port(address, port)} {virtual.scheduler}"
    name += f" persistent {virtual.persistent}" if virtual.persistent else ""
    name += f" {virtual.scheduler}-port" if virtual.hash_port else ""
    owner = _owner(virtual.place, whose)
    ordered = sorted(real, key=lambda it: (int(it.address), it.port))
    service = owner.rpartition(" of ")[2]
    return Chain(
        table=IPVS,
        name=name,
        purpose=owner + ("" if real else "; no real server: refused"),
        rules=tuple(
            Rule(
                rule=f"-> {host_port(it.address, it.port)} Masq {it.weight}",
                packets=it.packets,
                bytes=it.bytes,
                active=it.active,
                inactive=it.inactive,
                meaning=(f"endpoint of {service}" if service else "") if it.weight else _DRAINS,
            )
            for it in ordered
        ),
    )


def _helpers(counted: Iterable[Counted], sets: set[str]) -> Iterator[Chain]:
    """Rules that look into one of these sets, chain by chain."""
    found: dict[tuple[str, str], list[Rule]] = {}
    for each in counted:
        if sets & set(_MATCH.findall(each.rule)):
            rule = Rule(rule=each.rule, packets=each.packets, bytes=each.bytes)
            found.setdefault((each.table, each.chain), []).append(rule)
    for (table, chain), rules in sorted(found.items(), key=lambda it: it[0][0] != "nat"):
        yield Chain(
            table=table,
            name=chain,
            purpose=ipvs_rules.CHAIN_PURPOSE.get(chain, ""),
            rules=tuple(rules),
        )
