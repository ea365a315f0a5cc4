"""The live rules of a node, or of one Service there, in the order a packet meets them, with counters and meaning."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from netpod.errors import Unsupported
from netpod.ip import Family
from netpod.linux import iptables
from netpod.linux.iptables import Counted
from netpod.proxy import iptables as iptables_mode
from netpod.proxy import names, nftables_names, nftables_proxier
from netpod.proxy.config import Variant
from netpod.proxy.nftables_table import Table
from netpod.trace import nftmeaning
from netpod.trace import rules as meanings

_JUMP = re.compile(r"(?:^| )-[jg] (\S+)")
_GOTO = re.compile(r"(?:goto|jump) ([^\s,]+)|@(\S+)")
_COMMENT = re.compile(r'--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, or one element of a map or set; nftables mode counts nothing, as upstream, so there it is None."""

    rule: str
    packets: int | None = None
    bytes: int | None = None
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One chain, map or set, what it is for, and what in it concerns the Service."""

    table: str
    name: str
    purpose: str
    rules: tuple[Rule, ...]


def of_service(
    netns: str,
    namespace: str,
    name: str,
    *,
    variant: Variant = Variant.NFT,
    families: Iterable[Family] = (Family.IPV4,),
) -> list[Chain]:
    """Return a Service's chains as they are in the kernel now, of whatever mode the node is in.

    Args:
        netns: The node's namespace.
        namespace: Of the Service.
        name: Of the Service.
        variant: Of the cluster's iptables.
        families: Of the cluster, one after the other.

    Returns:
        Dispatching chains first, each with this Service's rules only; then the Service's own chains whole, in
        the order in which they are jumped to. Empty when the node has no rule for it.
    """
    return [
        chain
        for family in families
        for chain in named(
            explained(select(*observe(netns, variant, family), namespace, name)), family
        )
    ]


def of_node(
    netns: str, *, variant: Variant = Variant.NFT, families: Iterable[Family] = (Family.IPV4,)
) -> list[Chain]:
    """Return everything kube-proxy has in a node's kernel: built-in chains with its jumps, then its own."""
    return [
        chain
        for family in families
        for chain in named(explained(every(*observe(netns, variant, family))), family)
    ]


def named(chains: Iterable[Chain], family: Family) -> list[Chain]:
    """The same chains; tables of IPv6 say so: "ip6 nat"."""
    if family is Family.IPV4:
        return list(chains)
    return [replace(chain, table=f"ip6 {chain.table}") for chain in chains]


def observe(
    netns: str, variant: Variant, family: Family = Family.IPV4
) -> tuple[list[Counted], Table | None]:
    """Read what iptables mode and nftables mode have in the kernel."""
    try:
        counted = iptables.list_counters(netns, legacy=variant is Variant.LEGACY, family=family)
    except Unsupported:
        counted = []  # iptables is not installed, so there are no rules of it
    return counted, nftables_proxier.observe(netns, family)


def select(
    counted: Iterable[Counted], table: Table | None, namespace: str, name: str
) -> list[Chain]:
    """What of these rules concerns a Service, without meanings (pure)."""
    return _iptables(counted, namespace, name) + (
        _nftables(table, namespace, name) if table is not None else []
    )


def every(counted: Iterable[Counted], table: Table | None) -> list[Chain]:
    """What of these rules is kube-proxy's, without meanings (pure)."""
    chains: dict[tuple[str, str], list[Counted]] = {}
    for rule in counted:
        if iptables_mode.is_mine(rule.chain) or any(map(iptables_mode.is_mine, _targets([rule]))):
            chains.setdefault((rule.table, rule.chain), []).append(rule)
    found = [
        Chain(table=where, name=chain, purpose=_purpose(chain), rules=_plain(rules))
        for (where, chain), rules in chains.items()
    ]
    if table is not None:
        for container, elements in table.elements.items():
            found.append(_nft_chain(container, sorted(f"{k}{v}" for k, v in elements.items())))
        found += [_nft_chain(name, [f"timeout {s}s"]) for name, s in table.affinity.items()]
        found += [_nft_chain(chain, list(rules)) for chain, rules in table.chains.items()]
    return found


def explained(chains: Sequence[Chain]) -> list[Chain]:
    """The same chains; every rule says what it does in a cluster, where that is known (pure)."""
    return [
        replace(
            chain, rules=tuple(replace(r, meaning=_meaning(chain, r.rule)) for r in chain.rules)
        )
        for chain in chains
    ]


def _meaning(chain: Chain, rule: str) -> str:
    if chain.table == nftables_names.NAME:
        target = next((match[1] for match in _GOTO.finditer(rule) if match[1]), "")
        target = target or next(iter(_nft_targets(rule)), "")
        if chain.name in list(nftables_names.Map):
            service = nftmeaning.service_of(target)
            return f"Service {service[1]}" if service else ""
    else:
        target = next((match[1] for match in [_JUMP.search(rule)] if match), "")
    return meanings.meaning([r.rule for r in chain.rules], chain.name, target, rule)


def _nftables(table: Table, namespace: str, name: str) -> list[Chain]:
    found: list[Chain] = []
    waiting: list[str] = []
    for container, elements in table.elements.items():
        mine = sorted(f"{k}{v}" for k, v in elements.items() if _leads_to(v, namespace, name))
        if mine:
            found.append(_nft_chain(container, mine))
            waiting += [target for text in mine for target in _nft_targets(text)]
    addresses = {rule.rule.split(" ")[0] for chain in found for rule in chain.rules}
    known = [ip for ip in table.elements.get(nftables_names.Map.CLUSTER_IPS, {}) if ip in addresses]
    if known:
        found.insert(0, _nft_chain(nftables_names.Map.CLUSTER_IPS, known))
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop(0)
        if chain in seen or nftables_names.service_of(chain) != (namespace, name):
            continue
        seen.add(chain)
        rules = _nft_rules(table, chain)
        found.append(_nft_chain(chain, rules))
        waiting += [target for rule in rules for target in _nft_targets(rule)]
    return found


def _nft_chain(name: str, rules: list[str]) -> Chain:
    return Chain(
        table=nftables_names.NAME,
        name=name,
        purpose=nftables_names.purpose(name),
        rules=tuple(Rule(rule=rule) for rule in rules),
    )


def _nft_rules(table: Table, chain: str) -> list[str]:
    if chain in table.affinity:
        return [f"timeout {table.affinity[chain]}s"]
    return list(table.chains.get(chain, ()))


def _nft_targets(text: str) -> Iterator[str]:
    for match in _GOTO.finditer(text):
        yield match[1] or match[2]


def _leads_to(value: str, namespace: str, name: str) -> bool:
    """Whether an element's verdict or comment names the Service."""
    service = (namespace, name)
    if any(nftables_names.service_of(target) == service for target in _nft_targets(value)):
        return True
    match = re.search(r'comment "([^":]*)', value)
    return match is not None and match[1] == f"{namespace}/{name}"


def _iptables(every: Iterable[Counted], namespace: str, name: str) -> list[Chain]:
    rules = list(every)
    counted = [r for table in ("nat", "filter") for r in rules if r.table == table]
    by_chain: dict[tuple[str, str], list[Counted]] = {}
    for rule in counted:
        by_chain.setdefault((rule.table, rule.chain), []).append(rule)
    found: list[Chain] = []
    waiting: list[str] = []
    for (table, chain), known in by_chain.items():
        if names.is_port_chain(chain):
            continue
        mine = tuple(rule for rule in known if _concerns(rule.rule, f"{namespace}/{name}"))
        if mine:
            found.append(
                Chain(table=table, name=chain, purpose=_purpose(chain), rules=_plain(mine))
            )
            waiting += _targets(mine)
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop(0)
        if chain in seen or not names.is_port_chain(chain):
            continue
        seen.add(chain)
        own = by_chain.get(("nat", chain), [])
        found.append(Chain(table="nat", name=chain, purpose=_purpose(chain), rules=_plain(own)))
        waiting += _targets(own)
    return found


def _plain(rules: Iterable[Counted]) -> tuple[Rule, ...]:
    return tuple(Rule(rule=r.rule, packets=r.packets, bytes=r.bytes) for r in rules)


def _concerns(rule: str, service: str) -> bool:
    """Whether a rule's comment names the service or one of its ports."""
    match = _COMMENT.search(rule)
    said = (match[1] or match[2] or "") if match else ""
    return re.search(rf"(?:^|\s){re.escape(service)}(?::|\s|$)", said) is not None


def _targets(rules: tuple[Counted, ...] | list[Counted]) -> Iterator[str]:
    for rule in rules:
        match = _JUMP.search(rule.rule)
        if match:
            yield match[1]


def _purpose(chain: str) -> str:
    for prefix in names.Prefix:
        if chain.startswith(prefix):
            return {
                names.Prefix.SERVICE: "choose an endpoint",
                names.Prefix.LOCAL: "choose an endpoint on this node",
                names.Prefix.EXTERNAL: "traffic from outside the cluster",
                names.Prefix.FIREWALL: "sources the load balancer accepts",
                names.Prefix.ENDPOINT: "send to one endpoint",
            }[prefix]
    return {str(name): purpose for name, purpose in names.PURPOSE.items()}.get(chain, "")
