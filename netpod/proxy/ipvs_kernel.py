"""What IPVS mode reads and writes in a node's kernel, piece by piece; ipvs_proxier.py says in which order."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from netpod.errors import Unsupported
from netpod.ip import Address, family_of
from netpod.linux import dummy, ipset, ipvs, link, sysctl
from netpod.linux import netlink as netlink_
from netpod.linux.ipvs import Destination
from netpod.proxy import ipvs_rules
from netpod.proxy.config import ProxyConfig
from netpod.proxy.ipvs import DUMMY, Ipvs
from netpod.proxy.ipvs_compiled import Server
from netpod.proxy.ipvs_config import Scheduler
from netpod.proxy.ipvs_port import Place, RealServer, VirtualServer
from netpod.proxy.ipvs_rules import Set

SYSCTLS = {
    "net.ipv4.vs.conntrack": 1,
    "net.ipv4.vs.expire_nodest_conn": 1,
    "net.ipv4.vs.expire_quiescent_template": 1,
}
"""What the mode needs beside ip_forward, which every node has. conn_reuse_mode stays: its defect ended with Linux 5.9.

Source: kubernetes pkg/proxy/ipvs/proxier.go NewProxier.
"""
STRICT_ARP = {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2}
_PROBE: Place = (IPv4Address("198.51.100.0"), 20000, "tcp")


def sets(config: ProxyConfig) -> dict[str, str]:
    """Definitions by name of every set, as the kernel has them: with the names of the family."""
    family = config.family
    return {ipvs_rules.set_name(name, family): ipvs_rules.definition(name, family) for name in Set}


def change_sets(
    config: ProxyConfig,
    *,
    add: Mapping[str, Iterable[str]] | None = None,
    remove: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Add members, and remove others."""
    family = config.family
    named = [
        {ipvs_rules.set_name(name, family): found for name, found in (members or {}).items()}
        for members in (add, remove)
    ]
    ipset.change(config.netns, sets(config), add=named[0], remove=named[1])


def require(netns: str, scheduler: Scheduler = Scheduler.RR) -> None:
    """Try what the mode needs, and leave nothing of it.

    Raises:
        Unsupported: this kernel lacks something; says what and how to get it.
    """
    try:
        with ipvs.Ipvs(netns) as kernel:
            probe = ipvs.Service(place=_PROBE, scheduler=scheduler)
            kernel.send([kernel.add(probe), kernel.delete(_PROBE)])
        if link.observe_link(netns, DUMMY) is None:
            dummy.ensure(netns, DUMMY)
            link.delete_link(netns, DUMMY)
        ipset.observe(netns)
    except Unsupported as error:
        lacks = str(error).removesuffix(f" in {netns}")
        others = "iptables and nftables mode do not need it"
        raise Unsupported(f"cannot use proxy mode ipvs: {lacks}; {others}") from error


def prepare(config: ProxyConfig) -> None:
    """The link, the sets and the settings, before anything else; the link marks that the mode is here."""
    netns, settings = config.netns, config.ipvs
    dummy.ensure(netns, DUMMY)
    sysctl.write_all(netns, {**SYSCTLS, **(STRICT_ARP if settings.strict_arp else {})})
    ipset.create(netns, sets(config))
    wanted = ipvs.Timeouts(
        tcp=settings.tcp_timeout, tcp_fin=settings.tcp_fin_timeout, udp=settings.udp_timeout
    )
    if wanted != ipvs.Timeouts(tcp=0, tcp_fin=0, udp=0):
        with ipvs.Ipvs(netns) as kernel:
            kernel.set_timeouts(wanted)


def node_addresses(config: ProxyConfig) -> tuple[tuple[Address, ...], frozenset[Address]]:
    """Local addresses on which node ports are open, and all of the node's own links."""
    bound = dummy.addresses(config.netns, DUMMY)
    found = [it.ip for it in link.observe_addresses(config.netns)]
    own = [ip for ip in found if ip not in bound and not ip.is_loopback and _mine(ip, config)]
    allowed = config.nodeport_addresses
    ports = [ip for ip in own if not allowed or any(ip in network for network in allowed)]
    return tuple(sorted(ports, key=int)), frozenset(own)


def observe(config: ProxyConfig) -> Ipvs:
    """Virtual servers, addresses and sets as the kernel has them; not the rules, nor what excludeCIDRs names."""
    servers: dict[VirtualServer, tuple[RealServer, ...]] = {}
    with ipvs.Ipvs(config.netns) as kernel:
        for service in kernel.services():
            if _mine(service.place[0], config) and not excluded(service.place, config):
                real = kernel.destinations(service.place)
                servers[_virtual(service)] = tuple(map(_real, real))
    found = ipset.observe(config.netns)
    names = {str(name): ipvs_rules.set_name(name, config.family) for name in Set}
    bound = dummy.addresses(config.netns, DUMMY)
    return Ipvs(
        servers=servers,
        addresses={ip for ip in bound if _mine(ip, config)},
        sets={name: set(found[it].members) if it in found else set() for name, it in names.items()},
    )


def excluded(place: Place, config: ProxyConfig) -> bool:
    """Whether a virtual server is somebody else's."""
    networks = config.ipvs.exclude_cidrs
    return any(it.version == place[0].version and place[0] in it for it in networks)


def serve(netns: str, servers: Iterable[Server]) -> set[tuple[Place, RealServer]]:
    """Make virtual servers and their real ones as wanted; return real servers that wait for connections to end.

    A real server that is not wanted goes at once when it has no connections, or none that ends (UDP, SCTP).
    """
    draining: set[tuple[Place, RealServer]] = set()
    with ipvs.Ipvs(netns) as kernel:
        messages: list[netlink_.Message] = []
        for server, wanted in servers:
            service = ipvs.Service(
                place=server.place,
                scheduler=server.scheduler,
                persistent=server.persistent,
                hash_port=server.hash_port,
            )
            messages += [kernel.add(service), kernel.change(service)]
            have = {(it.address, it.port): it for it in kernel.destinations(server.place)}
            for real in wanted:
                there = have.pop((real.address, real.port), None)
                place = Destination(address=real.address, port=real.port, weight=real.weight)
                if there is None:
                    messages.append(kernel.add_to(server.place, place))
                elif there.weight != real.weight:
                    messages.append(kernel.set_in(server.place, place))
            for there in have.values():
                if server.protocol != "tcp" or not (there.active or there.inactive):
                    messages.append(kernel.delete_from(server.place, there))
                    continue
                draining.add((server.place, _real(there, weight=0)))
                if there.weight:
                    messages.append(kernel.set_in(server.place, replace(there, weight=0)))
        kernel.send(messages)
    return draining


def drain(netns: str, waiting: Iterable[tuple[Place, RealServer]]) -> set[tuple[Place, RealServer]]:
    """Delete real servers that have no connections any more; return those that go on waiting."""
    left: set[tuple[Place, RealServer]] = set()
    by_place: dict[Place, list[RealServer]] = {}
    for place, real in waiting:
        by_place.setdefault(place, []).append(real)
    with ipvs.Ipvs(netns) as kernel:
        messages = []
        for place, real_servers in by_place.items():
            have = {(it.address, it.port): it for it in kernel.destinations(place)}
            for real in real_servers:
                there = have.get((real.address, real.port))
                if there is None or there.weight:
                    continue  # gone, or wanted again
                if there.active or there.inactive:
                    left.add((place, real))
                else:
                    messages.append(kernel.delete_from(place, there))
        kernel.send(messages)
    return left


def delete(netns: str, places: Iterable[Place]) -> None:
    """Delete virtual servers."""
    with ipvs.Ipvs(netns) as kernel:
        kernel.send([kernel.delete(place) for place in places])


def leave(config: ProxyConfig) -> bool:
    """Take virtual servers, addresses, sets, the link and the settings away; False while connections hold some.

    An established connection through a virtual server needs that and its address: both stay until it has ended, and
    take no new ones. Rules that name the sets are gone already.
    """
    netns = config.netns
    held = _leave_servers(config) if ipvs.present(netns) else set()
    bound = dummy.addresses(netns, DUMMY)
    mine = {ip for ip in bound if _mine(ip, config)}
    if mine - held:
        dummy.change(netns, DUMMY, remove=mine - held)
    ipset.destroy(netns, sets(config))
    if held:
        return False
    if bound - mine:
        return True  # the other family's turn
    if ipvs.present(netns):
        sysctl.write_all(netns, dict.fromkeys(SYSCTLS, 0))
    if config.ipvs.strict_arp:
        sysctl.write_all(netns, dict.fromkeys(STRICT_ARP, 0))
    link.delete_link(netns, DUMMY)
    return True


def _leave_servers(config: ProxyConfig) -> set[Address]:
    """Delete virtual servers without established connections, stop the others; return the addresses of those."""
    held: set[Address] = set()
    with ipvs.Ipvs(config.netns) as kernel:
        messages = []
        for service in kernel.services():
            place = service.place
            if excluded(place, config) or not _mine(place[0], config):
                continue
            real = kernel.destinations(place)
            if place[2] != "tcp" or not any(it.active for it in real):
                messages.append(kernel.delete(place))
                continue
            held.add(place[0])
            messages += [kernel.set_in(place, replace(it, weight=0)) for it in real if it.weight]
        kernel.send(messages)
    return held


def _mine(address: Address, config: ProxyConfig) -> bool:
    """Of the family that this proxy works for."""
    return family_of(address) is config.family


def _virtual(service: ipvs.Service) -> VirtualServer:
    address, port, protocol = service.place
    known = service.scheduler in list(Scheduler)
    return VirtualServer(
        address=address,
        port=port,
        protocol=protocol,
        scheduler=Scheduler(service.scheduler) if known else Scheduler.RR,
        # A scheduler that we never set is like nothing that is wanted.
        persistent=service.persistent if known else -1,
        hash_port=service.hash_port,
    )


def _real(found: Destination, weight: int | None = None) -> RealServer:
    return RealServer(
        address=found.address,
        port=found.port,
        weight=found.weight if weight is None else weight,
    )


def is_there(netns: str) -> bool:
    """Whether anything of the mode is in a node's kernel."""
    return link.observe_link(netns, DUMMY) is not None
