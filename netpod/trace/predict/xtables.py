"""What a rule as `iptables-save` prints it does to a packet (pure). Knows the matches and targets that kube-proxy uses.

Source: iptables(8), iptables-extensions(8).
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from netpod.trace.predict import sets
from netpod.trace.predict.packet import Fate, Here, Mock, Result, Virtual

Tables = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Table → chain → rules; a chain's policy is the rule "policy DROP" at its end."""
_DEPTH = 32
_PROTOCOLS = {"ipv6-icmp": "icmpv6"}
"""ip6tables' word for it, and ours."""


class Unreadable(ValueError):
    """A match or target that is not known here."""


@dataclass(slots=True)
class _Rule:
    """A rule taken apart: `tests` have to hold, then `target` with its options."""

    tests: list[tuple[str, bool, str]]
    target: str
    options: dict[str, str]


def parse_save(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Read `iptables-save`."""
    found: dict[str, dict[str, list[str]]] = {}
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            found.setdefault(table, {})[chain] = []
            policies[(table, chain)] = policy
        elif line.startswith("-A "):
            found[table].setdefault(line.split(" ", 2)[1], []).append(line)
    for (name, chain), policy in policies.items():
        if policy in ("DROP", "ACCEPT"):
            found[name][chain].append(f"policy {policy}")
    return {t: {c: tuple(r) for c, r in chains.items()} for t, chains in found.items()}


def follow(
    tables: Tables, table: str, chain: str, packet: Mock, here: Here, depth: int = 0
) -> list[Result]:
    """Return everything that may become of a packet in a chain; CONTINUE means that it fell off its end."""
    waiting = [packet]
    done: list[Result] = []
    if depth > _DEPTH:
        return [(Fate.CONTINUE, packet)]
    for text in tables.get(table, {}).get(chain, ()):
        rest: list[Mock] = []
        for item in waiting:
            for fate, after in _step(tables, table, chain, text, item, here, depth):
                if fate is Fate.CONTINUE and after.met[-1:] != ("return",):
                    rest.append(after)
                elif fate is Fate.CONTINUE:
                    done.append((fate, replace(after, met=after.met[:-1])))
                else:
                    done.append((fate, after))
        waiting = list(dict.fromkeys(rest))
        if not waiting:
            break
    return list(dict.fromkeys([*done, *((Fate.CONTINUE, item) for item in waiting)]))


def _step(
    tables: Tables, table: str, chain: str, text: str, packet: Mock, here: Here, depth: int
) -> Iterator[Result]:
    """One rule: it may match, not match, or (lots) both."""
    if text.startswith("policy "):
        drop = text.endswith("DROP")
        by = f"policy of chain {chain}" if drop else ""
        yield (Fate.DROP if drop else Fate.CONTINUE), replace(packet, stopped_by=by)
        return
    try:
        rule = _parse(text)
        odds = _matches(rule, packet, here)
    except Unreadable:
        yield Fate.CONTINUE, replace(packet, unsure=(*packet.unsure, text))
        return
    if odds < 1:
        yield Fate.CONTINUE, packet
    if odds > 0:
        met = replace(
            packet, met=(*packet.met, chain) if packet.met[-1:] != (chain,) else packet.met
        )
        yield from _act(tables, table, chain, rule, text, met, here, depth)


def _act(
    tables: Tables,
    table: str,
    chain: str,
    rule: _Rule,
    text: str,
    packet: Mock,
    here: Here,
    depth: int,
) -> Iterator[Result]:
    target, options = rule.target, rule.options
    if target in tables.get(table, {}):
        for fate, after in follow(tables, table, target, packet, here, depth + 1):
            yield fate, after
    elif target == "ACCEPT":
        yield Fate.ACCEPT, packet
    elif target in ("DROP", "REJECT"):
        fate = Fate.DROP if target == "DROP" else Fate.REJECT
        yield fate, replace(packet, stopped_by=text)
    elif target == "RETURN":
        yield Fate.CONTINUE, replace(packet, met=(*packet.met, "return"))
    elif target == "DNAT":
        ip, port = _end(options.get("--to-destination", ""))
        yield (
            Fate.ACCEPT,
            replace(
                packet,
                destination=ip_address(ip),
                destination_port=int(port) if port else packet.destination_port,
                translated=True,
            ),
        )
    elif target == "MASQUERADE":
        yield Fate.ACCEPT, replace(packet, masquerade=True)
    elif target == "MARK":
        yield Fate.CONTINUE, replace(packet, mark=_mark(options, packet.mark))
    else:
        # LOG, CT, a counter: nothing that decides.
        yield Fate.CONTINUE, packet


def _end(text: str) -> tuple[str, str]:
    """Address and port, or "", of `10.0.0.1:80` and `[fd00::1]:80`."""
    if text.startswith("["):
        ip, _, rest = text[1:].partition("]")
        return ip, rest.removeprefix(":")
    ip, _, port = text.partition(":") if text.count(":") < 2 else (text, "", "")
    return ip, port


def _mark(options: Mapping[str, str], mark: int) -> int:
    if "--or-mark" in options:
        return mark | int(options["--or-mark"], 0)
    value, _, mask = options.get("--set-xmark", options.get("--set-mark", "0")).partition("/")
    return (mark & ~int(mask or "0xffffffff", 0)) ^ int(value, 0)


def _parse(text: str) -> _Rule:
    words = shlex.split(text)[2:]
    rule = _Rule(tests=[], target="", options={})
    negated, index, acting = False, 0, False
    while index < len(words):
        word = words[index]
        index += 1
        if word == "!":
            negated = True
            continue
        values = []
        while index < len(words) and not words[index].startswith("-") and words[index] != "!":
            values.append(words[index])
            index += 1
        value = " ".join(values)
        if word in ("-j", "-g"):
            rule.target, acting = value, True
        elif acting:
            rule.options[word] = value
        elif word not in ("-m", "--comment"):
            rule.tests.append((word, negated, value))
        negated = False
    return rule


def _matches(rule: _Rule, packet: Mock, here: Here) -> float:
    """Whether a rule matches: 0, 1, or a half for one that draws lots or remembers."""
    odds = 1.0
    for name, negated, value in rule.tests:
        found = _test(name, value, packet, here)
        if found is None:
            odds = 0.5
        elif found is negated:
            return 0.0
    return odds


def _test(name: str, value: str, packet: Mock, here: Here) -> bool | None:
    """One match; None is "perhaps"."""
    match name:
        case "-s" | "-d":
            ip = packet.source if name == "-s" else packet.destination
            return ip in ip_network(value, strict=False)
        case "-p":
            return _PROTOCOLS.get(value, value) in (packet.protocol, "all")
        case "-i" | "-o":
            link = packet.inward if name == "-i" else packet.outward
            return link.startswith(value[:-1]) if value.endswith("+") else link == value
        case "--dport" | "--sport":
            port = packet.destination_port if name == "--dport" else packet.source_port
            low, _, high = value.partition(":")
            return int(low) <= port <= int(high or low)
        case "--dports" | "--sports":
            port = packet.destination_port if name == "--dports" else packet.source_port
            return any(
                int(a) <= port <= int(b or a)
                for a, _, b in (part.partition(":") for part in value.split(","))
            )
        case "--ctstate":
            return "NEW" in value.split(",")
        case "--mark":
            wanted, _, mask = value.partition("/")
            return packet.mark & int(mask or "0xffffffff", 0) == int(wanted, 0)
        case "--dst-type" | "--src-type":
            ip = packet.destination if name == "--dst-type" else packet.source
            return here.is_local(ip) if value == "LOCAL" else None
        case "--probability":
            return None
        case "--mode" | "--name" | "--mask" | "--rsource" | "--set" | "--seconds" | "--reap":
            return True
        case "--rcheck":
            return None
        case "--icmp-type":
            return value in ("8", "echo-request", "any")
        case "--icmpv6-type":
            return value in ("128", "echo-request")
        case "--match-set":
            held = sets.matches(value, packet, here)
            if held is None:
                raise Unreadable(f"{name} {value}")
            return held
        case "--physdev-is-in":
            return packet.inward in here.bridges
        case "--vaddr" | "--vport" | "--vproto":
            return packet.virtual is not None and value in _virtual(name, packet.virtual)
        case "--tcp-flags" | "--syn":
            return True if name == "--syn" else None
    raise Unreadable(name)


def _virtual(name: str, server: Virtual) -> tuple[str, ...]:
    """How the match `ipvs` may print a part of a virtual server."""
    address, port, protocol = server
    if name == "--vaddr":
        return str(address), f"{address}/{address.max_prefixlen}"
    if name == "--vport":
        return (str(port),)
    return protocol, {"tcp": "6", "udp": "17", "sctp": "132"}.get(protocol, "")
