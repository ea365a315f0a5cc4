"""What IPVS mode should have of every service port, and what changed since it was handed over (pure).

Compiling is per service port and remembered, so a sync costs what changed. Several service ports may want the same
address, set member or virtual server: each is counted, and of two that claim one virtual server the first by name has
it, as in the other modes.
"""

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from netpod.ip import Address
from netpod.proxy import ipvs_port, ipvs_rules
from netpod.proxy.config import ProxyConfig
from netpod.proxy.ipvs import Ipvs
from netpod.proxy.ipvs_port import Place, RealServer, Share, VirtualServer
from netpod.proxy.ipvs_rules import Set
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.restore import Delta as RulesDelta
from netpod.proxy.restore import Rules, Ruleset, difference

Key = TypeVar("Key")
Server = tuple[VirtualServer, tuple[RealServer, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What to do to get from one state of IPVS mode to another, in the order of the fields.

    Attributes:
        add_members: Members by set.
        servers: Virtual servers to make or change, with all of their real servers.
        bind: Addresses for kube-ipvs0.
        rules: Helper rules.
        unbind: Addresses to take from it.
        gone: Virtual servers to delete.
        remove_members: Members by set.
    """

    add_members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    servers: tuple[Server, ...] = ()
    bind: frozenset[Address] = frozenset()
    rules: RulesDelta = field(default_factory=RulesDelta)
    unbind: frozenset[Address] = frozenset()
    gone: frozenset[Place] = frozenset()
    remove_members: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.add_members
            or self.servers
            or self.bind
            or self.rules
            or self.unbind
            or self.gone
            or self.remove_members
        )


class Compiled:
    """What one node should have, beside what it is known to have."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._nodes: tuple[Address, ...] = (config.node_ip,)
        self._own: frozenset[Address] = frozenset()
        self._shares: dict[ServicePortName, Share] = {}
        self._claims: dict[Place, list[tuple[ServicePortName, VirtualServer]]] = {}
        self._addresses: Counter[Address] = Counter()
        self._members: Counter[tuple[str, str]] = Counter()
        self._filled: Counter[str] = Counter()
        self._closed: Counter[Place] = Counter()
        self._dirty_places: set[Place] = set()
        self._dirty_addresses: set[Address] = set()
        self._dirty_members: set[tuple[str, str]] = set()
        self._applied = Ipvs(sets={name: set() for name in Set})
        self._applied_places: dict[Place, Server] = {}
        self._applied_rules: Mapping[str, Mapping[str, Rules]] = {}

    def update(self, names: Iterable[ServicePortName], model: Model, *, zone: str = "") -> None:
        """Compile these service ports again, or forget those the model no longer has."""
        for name in names:
            port = model.services.get(name)
            share = None
            if port is not None:
                share = ipvs_port.compile_port(
                    port,
                    model.endpoints.get(name, ()),
                    self._config,
                    zone=zone,
                    scheduler=self._config.ipvs.scheduler,
                    nodes=self._nodes,
                    own=self._own,
                )
            self._replace(name, share)

    def rebuild(
        self,
        model: Model,
        *,
        zone: str = "",
        nodes: Iterable[Address] = (),
        own: Iterable[Address] = (),
    ) -> None:
        """Compile everything again.

        Args:
            model: Services and endpoints.
            zone: The node's zone.
            nodes: Local addresses on which node ports are open; none: the primary.
            own: Every address of the node's own links.
        """
        self._nodes = tuple(nodes) or (self._config.node_ip,)
        self._own = frozenset(own)
        self.update({*self._shares, *model.services}, model, zone=zone)

    def desired(self) -> Ipvs:
        """Everything this node should have."""
        sets: dict[str, set[str]] = {name: set() for name in Set}
        for name, member in self._members:
            sets[name].add(member)
        return Ipvs(
            servers=dict(server for server in map(self._server, self._claims) if server),
            addresses=set(self._addresses),
            sets=sets,
            rules=self._rules(),
        )

    def against(self, observed: Ipvs, saved: Ruleset) -> Delta:
        """What to do when the kernel has `observed`, and these rules, jumps included."""
        wanted = self.desired()
        want = {server.place: (server, real) for server, real in wanted.servers.items()}
        have = {server.place: (server, real) for server, real in observed.servers.items()}
        return Delta(
            add_members=_members(wanted.sets, observed.sets),
            servers=tuple(pair for place, pair in want.items() if not _same(pair, have.get(place))),
            bind=frozenset(wanted.addresses - observed.addresses),
            rules=difference(wanted.rules, saved, jumps=ipvs_rules.JUMPS, ours=_never),
            unbind=frozenset(observed.addresses - wanted.addresses),
            gone=frozenset(have.keys() - want.keys()),
            remove_members=_members(observed.sets, wanted.sets),
        )

    def pending(self) -> Delta:
        """What to do when the kernel has what was applied last."""
        places = {place: self._server(place) for place in self._dirty_places}
        changed = [
            server
            for place, server in places.items()
            if server and not _same(server, self._applied_places.get(place))
        ]
        addresses = self._dirty_addresses
        add: dict[str, set[str]] = {}
        remove: dict[str, set[str]] = {}
        for name, member in self._dirty_members:
            wanted = (name, member) in self._members
            if wanted != (member in self._applied.sets[name]):
                (add if wanted else remove).setdefault(name, set()).add(member)
        return Delta(
            add_members={name: frozenset(found) for name, found in add.items()},
            servers=tuple(sorted(changed)),
            bind=frozenset(
                ip
                for ip in addresses
                if ip in self._addresses and ip not in self._applied.addresses
            ),
            rules=self._rules_delta(),
            unbind=frozenset(
                ip
                for ip in addresses
                if ip not in self._addresses and ip in self._applied.addresses
            ),
            gone=frozenset(
                place
                for place, server in places.items()
                if server is None and place in self._applied_places
            ),
            remove_members={name: frozenset(found) for name, found in remove.items()},
        )

    def applied(self) -> None:
        """The kernel now has everything desired."""
        for place in self._dirty_places:
            server = self._server(place)
            if server is None:
                self._applied_places.pop(place, None)
            else:
                self._applied_places[place] = server
        for ip in self._dirty_addresses:
            found_addresses = self._applied.addresses
            (found_addresses.add if ip in self._addresses else found_addresses.discard)(ip)
        for name, member in self._dirty_members:
            found = self._applied.sets[name]
            (found.add if (name, member) in self._members else found.discard)(member)
        self._applied_rules = self._rules()
        self._dirty_places.clear()
        self._dirty_addresses.clear()
        self._dirty_members.clear()

    def _server(self, place: Place) -> Server | None:
        claims = self._claims.get(place)
        if not claims:
            return None
        name, server = claims[0]
        return server, self._shares[name].servers[server]

    def _rules(self) -> dict[str, dict[str, Rules]]:
        return ipvs_rules.compile(frozenset(self._filled), self._config, self._closed)

    def _rules_delta(self) -> RulesDelta:
        return difference(self._rules(), self._applied_rules, jumps=(), ours=_never)

    def _replace(self, name: ServicePortName, new: Share | None) -> None:
        old = self._shares.pop(name, None)
        if old is not None:
            self._count(name, old, -1)
        if new is not None:
            self._shares[name] = new
            self._count(name, new, 1)

    def _count(self, name: ServicePortName, share: Share, step: int) -> None:
        for server in share.servers:
            claims = self._claims.setdefault(server.place, [])
            if step > 0:
                bisect.insort(claims, (name, server))
            else:
                claims.remove((name, server))
            if not claims:
                del self._claims[server.place]
            self._dirty_places.add(server.place)
        members = {*share.members, *((Set.IPVS_IPS, str(ip)) for ip in share.addresses)}
        for ip in share.addresses:
            _step(self._addresses, ip, step)
            self._dirty_addresses.add(ip)
        for place in share.closed:
            _step(self._closed, place, step)
        for which, member in members:
            before = self._members[which, member]
            _step(self._members, (str(which), member), step)
            if (before == 0) != (before + step == 0):
                _step(self._filled, str(which), step)
            self._dirty_members.add((str(which), member))


def compile(
    model: Model,
    config: ProxyConfig,
    *,
    zone: str = "",
    nodes: Iterable[Address] = (),
    own: Iterable[Address] = (),
) -> Ipvs:
    """Everything this node should have; see Compiled.rebuild."""
    compiled = Compiled(config)
    compiled.rebuild(model, zone=zone, nodes=nodes, own=own)
    return compiled.desired()


def _never(_table: str, _chain: str) -> bool:
    """All chains of this mode are there always."""
    return False


def _step(counter: Counter[Key], key: Key, step: int) -> None:
    counter[key] += step
    if not counter[key]:
        del counter[key]


def _same(wanted: Server, have: Server | None) -> bool:
    return have is not None and wanted[0] == have[0] and sorted(wanted[1]) == sorted(have[1])


def _members(
    more: Mapping[str, Iterable[str]], less: Mapping[str, Iterable[str]]
) -> dict[str, frozenset[str]]:
    found = {name: frozenset(more[name]) - frozenset(less.get(name, ())) for name in more}
    return {name: members for name, members in found.items() if members}
