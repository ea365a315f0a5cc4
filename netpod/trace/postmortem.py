"""Look where a packet ended: links, routes, neighbours, settings, listeners. Reads, changes nothing.

It is done only when a request failed, right after it. `ip route get ... iif` asks the kernel for the very decision that
it made for the packet; what it says now, it said a moment ago.

Source: ip-route(8); Linux net/ipv4/route.c ip_route_input_slow (which error for which reason).
"""

import errno
import json
from collections.abc import Iterator

from netpod.errors import CommandFailed, KernelError
from netpod.ip import Family, family_of
from netpod.linux import netns, process, sysctl
from netpod.trace.clues import Finding, Stuck
from netpod.trace.correlate import SOCKET
from netpod.trace.links import observe_links
from netpod.trace.topology import Topology, World

_LISTEN, _UNCONNECTED = "0A", "07"


class Inspector:
    """Looks at one world; what it has read once it does not read again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._topology: Topology | None = None

    def __call__(self, stuck: Stuck) -> tuple[Finding, ...]:
        """Return what is wrong where a packet ended, most telling first."""
        if not netns.exists(stuck.netns):
            return (Finding(cause="gone", words="the namespace is gone", reference=stuck.netns),)
        try:
            return tuple(self._look(stuck))
        except (KernelError, ValueError):
            return ()

    @property
    def topology(self) -> Topology:
        """Links and addresses of all namespaces of the world."""
        if self._topology is None:
            self._topology = observe_links(self._world.places)
        return self._topology

    def _look(self, stuck: Stuck) -> Iterator[Finding]:
        ours = self.topology.addresses.get(stuck.netns, frozenset())
        if stuck.flow.destination.ip in ours and not stuck.outward:
            yield from self._listener(stuck)
            return
        yield from self._links(stuck)
        yield from self._hairpin(stuck)
        yield from self._route(stuck)

    def _links(self, stuck: Stuck) -> Iterator[Finding]:
        """Is a link on the way to the destination down?"""
        target = self.topology.owner(stuck.flow.destination.ip)
        for (name, link_name), link in self.topology.links.items():
            if link_name == "lo" or name not in (stuck.netns, target):
                continue
            if name == target and name != stuck.netns and self._world.place(name).pod is None:
                continue
            near = link_name in (stuck.outward, stuck.inward)
            near |= name == target or self._leads_to(target, name, link_name)
            if near and not link.up:
                where = self._world.place(name)
                yield Finding(
                    cause="link-down",
                    words=f"link {link_name} of {where} is down",
                    reference=f"ip -n {name} link show {link_name}",
                )

    def _hairpin(self, stuck: Stuck) -> Iterator[Finding]:
        """Must a bridge send a frame out where it came in?"""
        target = self.topology.owner(stuck.flow.destination.ip)
        if not target or target != stuck.source_netns:
            return
        for (name, link_name), link in self.topology.links.items():
            leads = name == stuck.netns and self._leads_to(target, name, link_name)
            if leads and link.hairpin is False:
                yield Finding(
                    cause="hairpin",
                    words=f"bridge port {link_name} does not send a frame back where it came from"
                    " (hairpin mode is off)",
                    reference=f"bridge -n {name} -d link show dev {link_name}",
                )

    def _leads_to(self, target: str, netns_name: str, link_name: str) -> bool:
        """Whether the other end of a veth pair is in the target's namespace."""
        if not target or target == netns_name:
            return False
        return any(peer.netns == target for peer in self.topology.peers(netns_name, link_name))

    def _route(self, stuck: Stuck) -> Iterator[Finding]:
        to, source = str(stuck.flow.destination.ip), str(stuck.flow.source.ip)
        six = stuck.flow.destination.ip.version == 6
        argv = ["ip", "-j", "route", "get", to]
        if stuck.inward and stuck.inward != SOCKET:
            inward = self._routed(stuck)
            argv += ["from", source, "iif", inward]
            # Of IPv6 the setting of all links decides, whatever the link's own is.
            where = "all" if six else inward
            key = f"net.ipv{6 if six else 4}.conf.{where}.forwarding"
            if sysctl.read(stuck.netns, key.replace(where, where.replace(".", "/"))) == "0":
                name = "forwarding" if six else "ip_forward"
                yield Finding(
                    cause="ip-forward",
                    words=f"it does not forward packets from {inward} ({name} is 0)",
                    reference=f"sysctl {key} = 0",
                )
                return
        try:
            (route, *_) = json.loads(process.run(argv, netns=stuck.netns).stdout)
        except CommandFailed as error:
            yield from self._refused(stuck, error, " ".join(argv))
            return
        device, hop = route.get("dev", ""), route.get("gateway", to)
        argv = ["ip", "-j", "neigh", "show", "to", hop, "dev", device]
        asking = "neighbour solicitations" if six else "ARP"
        for row in json.loads(process.run(argv, netns=stuck.netns).stdout or b"[]"):
            if {"FAILED", "INCOMPLETE"} & set(row.get("state", ())):
                yield Finding(
                    cause="neighbour",
                    words=f"{hop} on {device} does not answer {asking}",
                    reference=f"ip neigh: {hop} dev {device} {' '.join(row['state'])}",
                )

    def _refused(self, stuck: Stuck, error: CommandFailed, command: str) -> Iterator[Finding]:
        """The kernel would not route it: which error, and what in the tables says so."""
        to = stuck.flow.destination.ip
        shown = process.run(
            ["ip", f"-{to.version}", "-j", "route", "show", "table", "all", "match", str(to)],
            netns=stuck.netns,
        )
        kinds = {row.get("type", "unicast") for row in json.loads(shown.stdout or b"[]")}
        said = error.stderr.strip().splitlines()[-1:] or [""]
        reference = f"{command}: {said[0]}"
        number = error.errno or _number(said[0])
        bad = sorted(kinds & {"blackhole", "unreachable", "prohibit"})
        if number == errno.EXDEV:
            yield Finding(
                cause="rp-filter",
                words=f"the way back to {stuck.flow.source.ip} does not lead through {stuck.inward}"
                " (rp_filter)",
                reference=reference,
            )
        elif bad:
            yield Finding(
                cause="blackhole" if bad[0] == "blackhole" else "no-route",
                words=f"a {bad[0]} route covers {to}",
                reference=reference,
            )
        elif number in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            yield Finding(cause="no-route", words=f"it has no route to {to}", reference=reference)
        elif number == errno.EINVAL and (back := self._filtered(stuck)):
            yield Finding(
                cause="rp-filter",
                words=f"{stuck.flow.source.ip} is reached through {back}, not through"
                f" {self._routed(stuck)} (rp_filter)",
                reference=reference,
            )
        elif number == errno.EINVAL:
            yield Finding(
                cause="martian",
                words=f"it does not accept source {stuck.flow.source.ip} from {stuck.inward}",
                reference=reference,
            )

    def _filtered(self, stuck: Stuck) -> str:
        """The link that a strict reverse path filter wants the source to come by, "" when there is none or it is it."""
        if stuck.flow.source.ip.version == 6:
            return ""  # the kernel has no such filter
        inward = self._routed(stuck)
        keys = (f"net.ipv4.conf.{n}.rp_filter" for n in ("all", inward.replace(".", "/")))
        if all(sysctl.read(stuck.netns, key) == "0" for key in keys):
            return ""
        argv = ["ip", "-j", "route", "get", str(stuck.flow.source.ip)]
        try:
            (route, *_) = json.loads(process.run(argv, netns=stuck.netns).stdout)
        except CommandFailed:
            return "no link"
        device = str(route.get("dev", ""))
        return device if device != inward else ""

    def _routed(self, stuck: Stuck) -> str:
        """The link that routing saw a packet come from: a port's bridge, not the port."""
        link = self.topology.links.get((stuck.netns, stuck.inward))
        for other in self.topology.links.values():
            if (
                link is not None
                and link.master
                and other.netns == stuck.netns
                and (other.index == link.master)
            ):
                return other.name
        return stuck.inward

    def _listener(self, stuck: Stuck) -> Iterator[Finding]:
        name = {6: "tcp", 17: "udp"}.get(stuck.protocol)
        if name is None:
            return
        port = stuck.flow.destination.port
        open_ports = listening(stuck.netns, name, family_of(stuck.flow.destination.ip))
        if port not in open_ports:
            others = ", ".join(map(str, sorted(open_ports))) or "no port at all"
            yield Finding(
                cause="no-listener",
                words=f"nothing listens on {name} port {port} (it listens on {others})",
                reference=f"/proc/net/{name}{'6' * (stuck.flow.destination.ip.version == 6)}",
            )


def listening(netns_name: str, protocol: str, family: Family) -> set[int]:
    """Return the TCP or UDP ports on which something listens in a namespace, on whatever address of a family.

    A socket of IPv6 is taken to listen for IPv4 too, as it does by default: nothing in /proc says otherwise.
    """
    wanted = {_LISTEN} if protocol == "tcp" else {_UNCONNECTED, "01"}
    names = (protocol, f"{protocol}6") if family is Family.IPV4 else (f"{protocol}6",)
    return {port for name in names for port, state in _sockets(netns_name, name) if state in wanted}


def _number(text: str) -> int:
    words = {
        "Invalid cross-device link": errno.EXDEV,
        "Network is unreachable": errno.ENETUNREACH,
        "No route to host": errno.EHOSTUNREACH,
        "Invalid argument": errno.EINVAL,
        "Permission denied": errno.EACCES,
    }
    return next((number for part, number in words.items() if part in text), 0)


def _sockets(netns_name: str, name: str) -> list[tuple[int, str]]:
    """Local port and state of each socket of a namespace."""

    def read() -> str:
        with open(f"/proc/thread-self/net/{name}") as file:
            return file.read()

    try:
        rows = netns.call_in(netns_name, read).splitlines()[1:]
    except OSError:
        return []
    fields = [row.split() for row in rows]
    return [(int(f[1].rpartition(":")[2], 16), f[3]) for f in fields]
