"""What a rule as `nft -j list ruleset` prints it does to a packet (pure): kube-proxy's and others'.

Source: libnftables-json(5).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from netpod.ip import Family
from netpod.trace.predict.packet import Fate, Here, Mock, Result

_DEPTH = 32
_PROTOCOLS = {"icmpv6": "ipv6-icmp"}
"""Our word for it, and nft's."""
_QUIET = frozenset(("counter", "log", "comment", "set", "notrack", "limit", "ct helper", "quota"))
XTABLES = frozenset(("raw", "mangle", "nat", "filter", "security"))
"""Tables of iptables-nft: read from iptables-save, where their matches have names."""


@dataclass(slots=True)
class Table:
    """One native table: rules by chain, base chains by hook, sets and maps by name."""

    family: str
    name: str
    rules: dict[str, list[list[dict[str, Any]]]] = field(default_factory=dict)
    hooks: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    sets: dict[str, list[Any]] = field(default_factory=dict)


class Perhaps(Exception):
    """An expression whose value is not known: a lot that is drawn, or one that is not read here."""


def parse_ruleset(objects: list[dict[str, Any]], family: Family) -> list[Table]:
    """Read the tables that a family's packets meet; those of iptables and netpod's own are left out."""
    tables: dict[tuple[str, str], Table] = {}
    for item in objects:
        ((kind, value),) = item.items()
        if kind == "table":
            tables[(value["family"], value["name"])] = Table(value["family"], value["name"])
            continue
        table = tables.get((value.get("family", ""), value.get("table", "")))
        if table is None:
            continue
        if kind == "chain":
            table.rules.setdefault(value["name"], [])
            if "hook" in value:
                hook = (int(value["prio"]), value["name"], value.get("policy", "accept"))
                table.hooks.setdefault(value["hook"], []).append(hook)
        elif kind == "rule":
            table.rules.setdefault(value["chain"], []).append(value["expr"])
        elif kind in ("set", "map"):
            table.sets[value["name"]] = value.get("elem", [])
    return [
        t for t in tables.values()
        if t.family in (family.nft, "inet") and t.name != "netpod-trace"
        and not (t.family == family.nft and t.name in XTABLES)
    ]  # fmt: skip


def follow(table: Table, chain: str, packet: Mock, here: Here, depth: int = 0) -> list[Result]:
    """Return everything that may become of a packet in a chain; CONTINUE means that it fell off its end."""
    waiting: list[Mock] = [packet]
    done: list[Result] = []
    for rule in table.rules.get(chain, []) if depth <= _DEPTH else []:
        rest: list[Mock] = []
        for item in waiting:
            for fate, after, left in _rule(table, chain, rule, item, here, depth):
                if fate is Fate.CONTINUE and not left:
                    rest.append(after)
                else:
                    done.append((fate, after))
        waiting = list(dict.fromkeys(rest))
        if not waiting:
            break
    return list(dict.fromkeys([*done, *((Fate.CONTINUE, item) for item in waiting)]))


_Out = tuple[Fate, Mock, bool]
"""Fate, packet, and whether the chain is left."""


def _rule(
    table: Table, chain: str, rule: list[dict[str, Any]], packet: Mock, here: Here, depth: int
) -> Iterator[_Out]:
    for position, expression in enumerate(rule):
        ((kind, value),) = expression.items()
        if kind == "match":
            try:
                if not _match(table, value, packet, here):
                    yield Fate.CONTINUE, packet, False
                    return
            except Perhaps as reason:
                yield Fate.CONTINUE, packet, False
                if str(reason):
                    packet = replace(packet, unsure=(*packet.unsure, str(reason)))
        elif kind == "vmap":
            verdicts = _lookup(table, value["key"], value["data"], packet, here)
            for verdict in verdicts:
                if verdict is not None:
                    yield from _verdict(table, chain, verdict, _meet(packet, chain), here, depth)
            if None in verdicts:
                yield from _rule(table, chain, rule[position + 1 :], packet, here, depth)
            return
        elif kind == "mangle":
            packet = _mangle(value, packet)
        elif kind in ("dnat", "masquerade", "snat"):
            yield from _nat(table, kind, value, _meet(packet, chain), here)
            return
        elif kind in ("accept", "drop", "reject", "return", "jump", "goto", "continue"):
            yield from _verdict(table, chain, expression, _meet(packet, chain), here, depth)
            return
        elif kind not in _QUIET:
            packet = replace(packet, unsure=(*packet.unsure, f"{table.name} {chain}: {kind}"))
    yield Fate.CONTINUE, packet, False


def _meet(packet: Mock, chain: str) -> Mock:
    if packet.met[-1:] == (chain,):
        return packet
    return replace(packet, met=(*packet.met, chain))


def _verdict(
    table: Table, chain: str, verdict: Mapping[str, Any], packet: Mock, here: Here, depth: int
) -> Iterator[_Out]:
    ((kind, value),) = verdict.items()
    if kind in ("jump", "goto"):
        for fate, after in follow(table, value["target"], packet, here, depth + 1):
            yield fate, after, kind == "goto"
    elif kind == "return":
        yield Fate.CONTINUE, packet, True
    elif kind == "continue":
        yield Fate.CONTINUE, packet, False
    else:
        by = "" if kind == "accept" else f"{table.name} {chain}: {kind}"
        yield Fate(kind), replace(packet, stopped_by=by), True


def _nat(table: Table, kind: str, value: Any, packet: Mock, here: Here) -> Iterator[_Out]:
    if kind == "masquerade":
        yield Fate.ACCEPT, replace(packet, masquerade=True), True
        return
    if kind == "snat":
        yield Fate.ACCEPT, replace(packet, source=ip_address(value["addr"])), True
        return
    target = value["addr"]
    targets = [target]
    if isinstance(target, dict) and "map" in target:
        targets = list(_lookup(table, target["map"]["key"], target["map"]["data"], packet, here))
    for item in targets:
        parts = item["concat"] if isinstance(item, dict) and "concat" in item else [item]
        port = parts[1] if len(parts) > 1 else value.get("port", packet.destination_port)
        yield Fate.ACCEPT, replace(
            packet, destination=ip_address(parts[0]), destination_port=int(port), translated=True
        ), True  # fmt: skip


def _mangle(value: Mapping[str, Any], packet: Mock) -> Mock:
    if value["key"] != {"meta": {"key": "mark"}}:
        return packet
    return replace(packet, mark=int(_arithmetic(value["value"], packet)))


def _arithmetic(value: Any, packet: Mock) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, dict):
        ((kind, operands),) = value.items()
        if kind in ("|", "&", "^"):
            left, right = (_arithmetic(v, packet) for v in operands)
            return {"|": left | right, "&": left & right, "^": left ^ right}[kind]
        if kind == "meta" and operands["key"] == "mark":
            return packet.mark
    raise Perhaps(f"{value}")


def _lookup(table: Table, key: Any, data: Any, packet: Mock, here: Here) -> list[Any]:
    """What a map has for a key; all that it has when the key is a lot; [None] when nothing."""
    pairs = table.sets.get(data[1:], []) if isinstance(data, str) else data.get("set", [])
    try:
        wanted = _value(key, packet, here)
    except Perhaps:
        return [p[1] for p in pairs] or [None]
    for name, verdict in pairs:
        if _equal(wanted, name):
            return [verdict]
    return [None]


def _match(table: Table, value: Mapping[str, Any], packet: Mock, here: Here) -> bool:
    right = value["right"]
    if isinstance(value["left"], dict) and "ct" in value["left"]:
        if value["left"]["ct"].get("key") != "state":
            raise Perhaps("ct")
        states = right if isinstance(right, list) else [right]
        found = "new" in states
    else:
        left = _value(value["left"], packet, here)
        if left is None:
            return False  # about another protocol or family, also where it says "is not"
        if isinstance(right, str) and right.startswith("@"):
            if _affinity(right):
                raise Perhaps
            names = [e[0] if isinstance(e, list) else e for e in table.sets.get(right[1:], [])]
            found = any(_equal(left, name) for name in names)
        elif isinstance(right, dict) and "set" in right:
            found = any(_equal(left, name) for name in right["set"])
        else:
            found = _equal(left, right)
    return found is not (value["op"] == "!=")


def _affinity(name: str) -> bool:
    return name.startswith("@affinity-")


def _equal(left: Any, right: Any) -> bool:
    if isinstance(right, dict) and "elem" in right:
        right = right["elem"]["val"]
    if isinstance(right, dict) and "concat" in right:
        right = right["concat"]
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(_equal(a, b) for a, b in zip(left, right, strict=True))
        )
    if isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        return bool(type(left)(low) <= left <= type(left)(high))
    if isinstance(right, dict) and "prefix" in right:
        network = ip_network(f"{right['prefix']['addr']}/{right['prefix']['len']}", strict=False)
        return isinstance(left, IPv4Address | IPv6Address) and left in network
    if isinstance(left, IPv4Address | IPv6Address):
        try:
            return left == ip_address(right)
        except ValueError:
            return False
    return bool(left == right)


def _value(key: Any, packet: Mock, here: Here) -> Any:
    """The value of an expression for a packet."""
    if not isinstance(key, dict):
        return key
    ((kind, value),) = key.items()
    if kind == "concat":
        return [_value(part, packet, here) for part in value]
    if kind == "payload":
        return _payload(value, packet)
    if kind == "meta":
        known = {
            "l4proto": _PROTOCOLS.get(packet.protocol, packet.protocol), "mark": packet.mark, "iifname": packet.inward,
            "oifname": packet.outward, "nfproto": packet.family.lower(), "iif": packet.inward,
            "oif": packet.outward,
        }  # fmt: skip
        if value["key"] in known:
            return known[value["key"]]
    if kind in ("|", "&", "^"):
        return _arithmetic(key, packet)
    if kind == "fib" and value.get("result") == "type":
        ip = packet.destination if "daddr" in value["flags"] else packet.source
        return "local" if here.is_local(ip) else "unicast"
    raise Perhaps("" if kind == "numgen" else f"{key}")


def _payload(value: Mapping[str, Any], packet: Mock) -> Any:
    where = (value.get("protocol"), value.get("field"))
    if where[1] in ("saddr", "daddr") and where[0] in ("ip", "ip6"):
        if where[0] != packet.family.nft:
            return None  # a rule of table `inet` about the other family
        return packet.source if where[1] == "saddr" else packet.destination
    if where in (("ip", "protocol"), ("ip6", "nexthdr")):
        same = where[0] == packet.family.nft
        return _PROTOCOLS.get(packet.protocol, packet.protocol) if same else None
    if where[1] == "type" and where[0] in ("icmp", "icmpv6"):
        return "echo-request" if where[0] == packet.protocol else None
    if where[1] in ("sport", "dport"):
        if where[0] not in ("th", packet.protocol):
            return None
        return packet.source_port if where[1] == "sport" else packet.destination_port
    raise Perhaps(f"{value}")
