"""From namespace to namespace: the hooks in their order, the kernel's own route decisions, the links between."""

import json
from dataclasses import dataclass, replace
from ipaddress import ip_address

from netpod.errors import CommandFailed
from netpod.ip import Address, Family, family_of
from netpod.linux import ipset, nft, process, sysctl
from netpod.trace.links import observe_links
from netpod.trace.model import Address as Endpoint
from netpod.trace.model import Role, Verdict
from netpod.trace.postmortem import listening
from netpod.trace.predict import nftrules, xtables
from netpod.trace.predict.packet import Fate, Here, Mock, Result
from netpod.trace.rules import SAVED
from netpod.trace.sources import ipvsconn, nflog
from netpod.trace.topology import Topology, World
from netpod.trace.virtual import VirtualServer

MAX_HOPS = 16
_FORWARDING = {
    Family.IPV4: "net.ipv4.ip_forward",
    Family.IPV6: "net.ipv6.conf.all.forwarding",
}
_XTABLES = {
    "prerouting": (("raw", -300), ("mangle", -150), ("nat", -100)),
    "input": (("mangle", -150), ("filter", 0), ("nat", 100)),
    "forward": (("mangle", -150), ("filter", 0)),
    "output": (("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0)),
    "postrouting": (("mangle", -150), ("nat", 100)),
}
"""Priority of each table's chain at each hook. Source: include/uapi/linux/netfilter_ipv4.h, netfilter_ipv6.h."""


_LOCAL_REQUEST = -98
"""Priority at which IPVS looks at a node's own packets. Source: net/netfilter/ipvs/ip_vs_core.c ip_vs_ops4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What the packet was when it left, or ended in, one namespace."""

    netns: str
    packet: Mock


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way a request may go.

    Attributes:
        verdict: DELIVERED, REFUSED, DROPPED, or INCONCLUSIVE when a rule on the way could not be read.
        why: In words.
        stops: Namespaces in order, with the packet as it left each.
    """

    verdict: Verdict
    why: str
    stops: tuple[Stop, ...]

    @property
    def end(self) -> Mock:
        """The packet where it ended."""
        return self.stops[-1].packet


_Base = tuple[nftrules.Table, str] | tuple[xtables.Tables, str]
"""Where a base chain is: a native table and the chain's policy, or iptables' tables and the name of one."""


class Rules:
    """Live rules of one namespace about one family, read once."""

    def __init__(self, netns: str, family: Family) -> None:
        self.xtables: list[xtables.Tables] = []
        listed = nft.list_json(netns)
        tables = [item["table"] for item in listed if "table" in item]
        if any(t["family"] == family.nft and t["name"] in nftrules.XTABLES for t in tables):
            saved = process.run([SAVED[family.nft]], netns=netns).stdout.decode()
            self.xtables.append(xtables.parse_save(saved))
        if family in nflog.in_use(netns):
            saved = process.run([SAVED[nflog.FAMILIES[family]]], netns=netns).stdout.decode()
            self.xtables.append(xtables.parse_save(saved))
        self.native = nftrules.parse_ruleset(listed, family)

    def hook(self, name: str, packet: Mock, here: Here, below: int | None = None) -> list[Result]:
        """Pass a packet through all base chains of a hook, in order of priority; or only those below one."""
        chains: list[tuple[int, int, _Base, str]] = []
        for table, priority in _XTABLES[name]:
            for tables in self.xtables:
                if name.upper() in tables.get(table, {}):
                    chains.append((priority, len(chains), (tables, table), name.upper()))
        for native in self.native:
            for priority, chain, policy in native.hooks.get(name, []):
                chains.append((priority, len(chains), (native, policy), chain))
        results: list[Result] = [(Fate.CONTINUE, packet)]
        chains = [it for it in chains if below is None or it[0] < below]
        for _, _, where, chain in sorted(chains, key=lambda c: (c[0], c[1])):
            nxt: list[Result] = []
            for fate, item in results:
                if fate in (Fate.DROP, Fate.REJECT):
                    nxt.append((fate, item))
                elif isinstance(where[0], nftrules.Table):
                    for end, after in nftrules.follow(where[0], chain, item, here):
                        if end is Fate.CONTINUE and where[1] == "drop":
                            by = f"policy of chain {chain}"
                            nxt.append((Fate.DROP, replace(after, stopped_by=by)))
                        else:
                            nxt.append((end, after))
                elif where[1] == "nat" and item.translated and name in ("prerouting", "output"):
                    # NAT is decided once: a later nat chain of the same hook is passed over.
                    nxt.append((Fate.CONTINUE, item))
                else:
                    nxt += xtables.follow(where[0], where[1], chain, item, here)
            results = list(dict.fromkeys(nxt))
        return results


class Walker:
    """Follows packets through one world in thought. What it has read once it does not read again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.topology: Topology = observe_links(world.places)
        self._rules: dict[tuple[str, Family], Rules] = {}
        self._asked: dict[tuple[str, ...], str] = {}
        self._virtual = ipvsconn.observe(world.ruled())
        self._heres: dict[str, Here] = {}
        self._listeners: dict[tuple[str, str, Family], set[int]] = {}

    def walk(self, netns: str, packet: Mock) -> list[Outcome]:
        """Return every way a packet from a socket in a namespace may go."""
        return self._at(netns, packet, ())

    def route(self, netns: str, ip: Address) -> Address | None:
        """Return the source address that a socket in a namespace would use for a destination, or None."""
        try:
            found = json.loads(self._ask(netns, "-j", "route", "get", str(ip)))[0].get("prefsrc")
        except CommandFailed:
            return None
        return ip_address(found) if found else None

    def _at(self, netns: str, packet: Mock, stops: tuple[Stop, ...]) -> list[Outcome]:
        here = self._here(netns)
        if len(stops) >= MAX_HOPS:
            return [_end(Verdict.DROPPED, "it goes in a circle", stops, here, packet)]
        if self._dead_end(netns, packet):
            return [_end(Verdict.DROPPED, f"link {packet.inward} is down", stops, here, packet)]
        first = "prerouting" if packet.inward else "output"
        found: list[Outcome] = []
        server = None if packet.inward else self._server(packet, here)
        # A virtual server takes the node's own packets before table filter of OUTPUT.
        below = None if server is None else _LOCAL_REQUEST
        for fate, item in self._hook(first, packet, here, below):
            if fate in (Fate.DROP, Fate.REJECT):
                found.append(self._stopped(fate, item, stops, here))
            elif server is not None:
                found += self._served(server, item, stops, here)
            elif here.is_local(item.destination):
                found += self._input(item, stops, here)
            else:
                found += self._onward(item, stops, here, forwarding=bool(packet.inward))
        return found

    def _input(self, packet: Mock, stops: tuple[Stop, ...], here: Here) -> list[Outcome]:
        found = []
        for fate, item in self._hook("input", packet, here):
            server = self._server(item, here)
            if fate in (Fate.DROP, Fate.REJECT):
                found.append(self._stopped(fate, item, stops, here))
            elif server is not None:
                found += self._served(server, item, stops, here)
            elif not item.echo and not self._listens(here.netns, item):
                why = f"nothing listens on port {item.destination_port}"
                found.append(_end(Verdict.REFUSED, why, stops, here, item))
            else:
                found.append(_end(Verdict.DELIVERED, "it arrives", stops, here, item))
        return found

    def _server(self, packet: Mock, here: Here) -> VirtualServer | None:
        """The virtual server of IPVS that takes a packet."""
        if here.netns not in self._virtual or packet.virtual is not None:
            return None
        to = Endpoint(packet.destination, packet.destination_port)
        return self._virtual[here.netns].server(to, packet.protocol)

    def _served(
        self, server: VirtualServer, packet: Mock, stops: tuple[Stop, ...], here: Here
    ) -> list[Outcome]:
        """What becomes of it behind a virtual server: one way for each real server, through OUTPUT once more."""
        if not server.open:
            why = f"virtual server {server.name} has no real server that takes connections"
            return [_end(Verdict.REFUSED, why, stops, here, packet)]
        found: list[Outcome] = []
        for real in server.open:
            sent = replace(
                packet,
                destination=real.ip,
                destination_port=real.port,
                translated=True,
                met=(*packet.met, server.name),
                virtual=(packet.destination, packet.destination_port, packet.protocol),
            )
            for fate, item in self._hook("output", sent, here):
                if fate in (Fate.DROP, Fate.REJECT):
                    found.append(self._stopped(fate, item, stops, here))
                elif not here.is_local(item.destination):
                    found += self._onward(item, stops, here, forwarding=False)
                elif self._listens(here.netns, item):
                    found.append(_end(Verdict.DELIVERED, "it arrives", stops, here, item))
                else:
                    why = f"nothing listens on port {item.destination_port}"
                    found.append(_end(Verdict.REFUSED, why, stops, here, item))
        return found

    def _here(self, netns: str) -> Here:
        if netns not in self._heres:
            known = self.topology
            masters = {k: it.master for k, it in known.links.items() if k[0] == netns}
            held = ipset.observe(netns) if netns in self._virtual else {}
            self._heres[netns] = Here(
                netns=netns,
                local=known.addresses.get(netns, frozenset()),
                bridges=frozenset(
                    name
                    for (where, name), it in known.links.items()
                    if where == netns and it.index in masters.values()
                ),
                sets={name: (it.kind, it.members) for name, it in held.items()},
            )
        return self._heres[netns]

    def _onward(
        self, packet: Mock, stops: tuple[Stop, ...], here: Here, *, forwarding: bool
    ) -> list[Outcome]:
        if forwarding and sysctl.read(here.netns, _FORWARDING[packet.family]) == "0":
            why = f"it does not forward ({_FORWARDING[packet.family].rpartition('.')[2]} is 0)"
            return [_end(Verdict.DROPPED, why, stops, here, packet)]
        route = self._route(here.netns, packet, forwarding)
        if isinstance(route, str):
            return [_end(Verdict.DROPPED, route, stops, here, packet)]
        device, hop, source = route
        packet = replace(packet, outward=device)
        found: list[Outcome] = []
        results = self._hook("forward", packet, here) if forwarding else [(Fate.ACCEPT, packet)]
        for fate, item in results:
            if fate in (Fate.DROP, Fate.REJECT):
                found.append(self._stopped(fate, item, stops, here))
                continue
            for last, leaving in self._hook("postrouting", item, here):
                if last in (Fate.DROP, Fate.REJECT):
                    found.append(self._stopped(last, leaving, stops, here))
                    continue
                if leaving.masquerade:
                    leaving = replace(leaving, source=source)
                stop = Stop(netns=here.netns, packet=leaving)
                target = self.topology.owner(hop)
                if not target:
                    why = f"nobody has the next hop's address {hop}"
                    found.append(Outcome(verdict=Verdict.DROPPED, why=why, stops=(*stops, stop)))
                    continue
                if (
                    stops
                    and target == stops[-1].netns
                    and self._one_way(here.netns, device, target)
                ):
                    why = (
                        "the bridge does not send it back where it came from (hairpin mode is off)"
                    )
                    found.append(Outcome(verdict=Verdict.DROPPED, why=why, stops=(*stops, stop)))
                    continue
                inward = self._entry(target, hop)
                fresh = replace(
                    leaving,
                    inward=inward,
                    outward="",
                    mark=0,
                    masquerade=False,
                    translated=False,
                    virtual=None,
                    met=(),
                    unsure=(),
                )
                found += self._at(target, fresh, (*stops, stop))
        return found

    def _hook(self, name: str, packet: Mock, here: Here, below: int | None = None) -> list[Result]:
        key = (here.netns, packet.family)
        if key not in self._rules:
            self._rules[key] = Rules(*key)
        return self._rules[key].hook(name, packet, here, below)

    def _route(
        self, netns: str, packet: Mock, forwarding: bool
    ) -> tuple[str, Address, Address] | str:
        """Device, next hop and the node's own source address; or why there is no way."""
        to, way = str(packet.destination), ("-j", "route", "get")
        try:
            route = plain = json.loads(self._ask(netns, *way, to))[0]
            if forwarding:
                where = ("from", str(packet.source), "iif", packet.inward)
                route = json.loads(self._ask(netns, *way, to, *where))[0]
        except CommandFailed as error:
            said = error.stderr.strip().splitlines()[-1:] or ["no route"]
            return f"no route to {to} ({said[0].removeprefix('RTNETLINK answers: ').lower()})"
        hop = ip_address(route.get("gateway", to))
        own = plain.get("prefsrc", "0.0.0.0" if packet.family is Family.IPV4 else "::")
        return str(route["dev"]), hop, ip_address(own)

    def _entry(self, netns: str, ip: Address) -> str:
        """The link through which packets for an address come into a namespace: the one that has it."""
        where = (f"-{ip.version}", "addr", "show", "to", f"{ip}/{family_of(ip).bits}")
        rows = json.loads(self._ask(netns, "-j", *where) or "[]")
        names = [row["ifname"] for row in rows if row.get("ifname")]
        return names[0] if names else "eth0"

    def _dead_end(self, netns: str, packet: Mock) -> bool:
        link = self.topology.links.get((netns, packet.inward))
        return link is not None and not (link.up and link.carrier)

    def _one_way(self, netns: str, bridge: str, target: str) -> bool:
        """Whether the bridge port that leads to a pod does not send back what came from there."""
        way = self.topology.links.get((netns, bridge))
        if way is None or self._world.place(target).role is not Role.POD:
            return False
        return any(
            link.hairpin is False
            and link.master == way.index
            and any(p.netns == target for p in self.topology.peers(*key))
            for key, link in self.topology.links.items()
            if key[0] == netns
        )

    def _listens(self, netns: str, packet: Mock) -> bool:
        key = (netns, packet.protocol, packet.family)
        if key not in self._listeners:
            self._listeners[key] = listening(*key)
        return packet.destination_port in self._listeners[key]

    def _ask(self, netns: str, *words: str) -> str:
        """What `ip` says in a namespace; an error is raised each time anew."""
        key = (netns, *words)
        if key not in self._asked:
            self._asked[key] = process.run(["ip", *words], netns=netns).stdout.decode()
        return self._asked[key]

    def _stopped(self, fate: Fate, packet: Mock, stops: tuple[Stop, ...], here: Here) -> Outcome:
        verdict = Verdict.REFUSED if fate is Fate.REJECT else Verdict.DROPPED
        return _end(verdict, packet.stopped_by, stops, here, packet)


def _end(verdict: Verdict, why: str, stops: tuple[Stop, ...], here: Here, packet: Mock) -> Outcome:
    unsure = [text for s in stops for text in s.packet.unsure] + list(packet.unsure)
    if unsure:
        verdict, why = Verdict.INCONCLUSIVE, f"{why}; not understood: {unsure[0]}"
    return Outcome(verdict=verdict, why=why, stops=(*stops, Stop(netns=here.netns, packet=packet)))
