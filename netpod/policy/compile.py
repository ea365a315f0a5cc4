"""Policies > chains and sets of table `ip netpod-policy`, or `ip6 netpod-policy` (pure).

    forward, input    replies pass; a pod passes to itself; then the source's and the destination's isolation:
      map egress      address of an isolated pod here > jump to the chain of the policies that isolate it
      map ingress     the same for what comes to it
    egress-…, ingress-…   one chain per group of policies that isolate some pod together: a rule for each thing they
                      allow, with the policy's name, which returns; at the end the drop, with all their names
    pods-…            addresses of the pods one selector chooses, all over the cluster
    port-…            address and number of every pod's port of a name

A pod that joins is one element in the sets that choose it. The hooks come after kube-proxy's of the same name: what
KUBE-FORWARD accepts is not accepted here, DNAT is done, masquerading is not. What a node itself sends is never looked
at: it reaches its own pods. Source: nft(8); kubernetes pkg/apis/networking NetworkPolicy.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from netpod.ip import Family
from netpod.policy.model import Block, Direction, Policy, PortMatch, Rule, Selector

TABLE = "netpod-policy"
PRIORITY = 5
"""Beside `filter`, which is 0; a later drop stands, an earlier accept does not."""

MAP = {Direction.INGRESS: "ingress", Direction.EGRESS: "egress"}
SELF = "self"
CONTAINERS = {
    MAP[Direction.EGRESS]: "map",
    MAP[Direction.INGRESS]: "map",
    SELF: "set",
}
_NEIGHBOURS = "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
"""Without neighbour discovery there is no IPv6 at all; what ARP does is no packet of IPv4."""
_COMMENT = 120
"""Bytes; the kernel's tools take 127."""

_MATCH = {Direction.INGRESS: "saddr", Direction.EGRESS: "daddr"}


def table_of(family: Family) -> str:
    """The table of an address family: "ip netpod-policy" or "ip6 netpod-policy"."""
    return f"{family.nft} {TABLE}"


def base(family: Family = Family.IPV4) -> list[str]:
    """Commands that replace the table by an empty one with its hooks; pods pass."""
    table, type_ = table_of(family), _type(family)
    lines = [
        f"add table {table}",
        f"delete table {table}",
        f"add table {table}",
        f"add map {table} egress {{ type {type_} : verdict ; }}",
        f"add map {table} ingress {{ type {type_} : verdict ; }}",
        f"add set {table} {SELF} {{ type {type_} . {type_} ; }}",
    ]
    for hook, rules in _hooks(family).items():
        priority = f"filter + {PRIORITY}"
        kind = f"type filter hook {hook} priority {priority} ; policy accept ;"
        lines.append(f"add chain {table} {hook} {{ {kind} }}")
        lines += [f"add rule {table} {hook} {rule}" for rule in rules]
    return lines


def _hooks(family: Family) -> dict[str, tuple[str, ...]]:
    ip = family.nft
    first: tuple[str, ...] = ("ct state established,related accept",)
    if family is Family.IPV6:
        first = (*first, _NEIGHBOURS)
    sender = f"{ip} saddr vmap @{MAP[Direction.EGRESS]}"
    return {
        "forward": (
            *first,
            f"{ip} saddr . {ip} daddr @{SELF} accept",
            sender,
            f"{ip} daddr vmap @{MAP[Direction.INGRESS]}",
        ),
        "input": (*first, sender),
    }


def chain_name(direction: Direction, policies: Sequence[Policy]) -> str:
    """Name of the chain of a group of policies, e.g. ingress-1f0c5d2e-shop/deny-all."""
    names = sorted(map(str, policies))
    return f"{MAP[direction]}-{_digest(' '.join(names))}-{names[0]}"[:_COMMENT]


def set_name(selector: Selector) -> str:
    """Name of the set of the pods a selector chooses."""
    return f"pods-{_digest(str(selector))}"


def set_definition(selector: Selector, family: Family = Family.IPV4) -> str:
    """What the set of a selector is made of."""
    return f'type {_type(family)} ; comment "{_cut(str(selector))}" ;'


def port_set_name(name: str, protocol: str) -> str:
    """Name of the set of the pods' ports of a name."""
    return f"port-{name}-{protocol.lower()}"


def port_set_definition(family: Family = Family.IPV4) -> str:
    """What a set of pods' ports is made of."""
    return f"type {_type(family)} . inet_service ;"


def chain(
    direction: Direction, policies: Iterable[Policy], family: Family = Family.IPV4
) -> tuple[str, ...]:
    """Rules of a group's chain: each returns for what it allows; what is left is dropped."""
    ordered = sorted(policies, key=lambda policy: policy.key)
    lines: dict[str, None] = {}
    for policy in ordered:
        for rule in policy.rules(direction) or ():
            for match in _matches(direction, rule, family):
                words = f"{match} " if match else ""
                lines[f'{words}counter return comment "{_cut(str(policy))}"'] = None
    names = ", ".join(map(str, ordered))
    return (*lines, f'counter drop comment "{_cut(f"isolated by {names}")}"')


def _matches(direction: Direction, rule: Rule, family: Family) -> Iterator[str]:
    for peer in rule.peers if rule.peers is not None else (None,):
        if isinstance(peer, Block) and peer.cidr.version != family.version:
            continue
        # In egress a named port is a pod's; no address has one.
        names = not (isinstance(peer, Block) and direction is Direction.EGRESS)
        where = _peer(direction, peer, family)
        for port in _ports(rule.ports, family, names=names):
            yield f"{where} {port}".strip()


def _peer(direction: Direction, peer: Selector | Block | None, family: Family) -> str:
    field = f"{family.nft} {_MATCH[direction]}"
    if peer is None:
        return ""
    if isinstance(peer, Selector):
        return f"{field} @{set_name(peer)}"
    words = [f"{field} {peer.cidr}"] if peer.cidr.prefixlen else []
    words += [f"{field} != {other}" for other in dict.fromkeys(peer.except_)]
    return " ".join(words)


def _ports(ports: tuple[PortMatch, ...] | None, family: Family, *, names: bool) -> Iterator[str]:
    if ports is None:
        yield ""
        return
    for protocol in dict.fromkeys(port.protocol for port in ports):
        mine = [port for port in ports if port.protocol == protocol]
        word = protocol.lower()
        ranges = _merged((port.first, port.last) for port in mine if not port.name)
        if (0, 65535) in ranges:
            yield f"meta l4proto {word}"
            continue
        if ranges:
            spans = [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
            yield f"{word} dport {spans[0] if len(spans) == 1 else '{ ' + ', '.join(spans) + ' }'}"
        for name in dict.fromkeys(port.name for port in mine if port.name and names):
            yield f"{family.nft} daddr . {word} dport @{port_set_name(name, protocol)}"


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlap, in order; the kernel takes no others in one set."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def _type(family: Family) -> str:
    return f"ipv{family.version}_addr"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cut(text: str) -> str:
    return text if len(text) <= _COMMENT else f"{text[: _COMMENT - 3]}..."
