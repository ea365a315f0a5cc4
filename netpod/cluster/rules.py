"""The live rules of a node, or of one Service there, in the order a packet meets them, with counters and meaning."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from netpod.api.service import Service
from netpod.cluster import ipvsrules
from netpod.cluster.ipvsrules import Services, State
from netpod.cluster.rulevalues import Chain, Rule
from netpod.errors import Unsupported
from netpod.ip import Family
from netpod.linux import iptables
from netpod.linux.iptables import Counted
from netpod.proxy import iptables as iptables_mode
from netpod.proxy import ipvs_rules, names, nftables_names, nftables_proxier, owners
from netpod.proxy.config import Mode, Variant
from netpod.proxy.nftables_table import Table
from netpod.trace import nftmeaning
from netpod.trace import rules as meanings

_JUMP = re.compile(r"(?:^| )-[jg] (\S+)")
_GOTO = re.compile(r"(?:goto|jump) ([^\s,]+)|@(\S+)")
_COMMENT = re.compile(r'--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a node has of one address family, of whatever modes.

    Attributes:
        counted: Rules of iptables, of every table.
        table: Of nftables mode, or None.
        ipvs: Of IPVS mode, or None.
    """

    counted: Sequence[Counted] = ()
    table: Table | None = None
    ipvs: State | None = None


def nobody() -> tuple[Service, ...]:
    """No Services: for a node that is known not to be in IPVS mode."""
    return ()


def of_service(
    netns: str,
    namespace: str,
    name: str,
    *,
    variant: Variant = Variant.NFT,
    families: Iterable[Family] = (Family.IPV4,),
    services: Services = nobody,
) -> list[Chain]:
    """Return a Service's chains as they are in the kernel now, of whatever mode the node is in.

    Args:
        netns: The node's namespace.
        namespace: Of the Service.
        name: Of the Service.
        variant: Of the cluster's iptables.
        families: Of the cluster, one after the other.
        services: The cluster's, asked for when the node is in IPVS mode, whose parts do not say whose they are.

    Returns:
        Dispatching chains first, each with this Service's rules only; then the Service's own chains whole, in
        the order in which they are jumped to. Empty when the node has no rule for it.
    """
    return [
        chain
        for family in families
        for chain in named(
            explained(select(observe(netns, variant, family), (namespace, name), family, services)),
            family,
        )
    ]


def of_node(
    netns: str,
    *,
    variant: Variant = Variant.NFT,
    families: Iterable[Family] = (Family.IPV4,),
    services: Services = nobody,
) -> list[Chain]:
    """Return everything kube-proxy has in a node's kernel: built-in chains with its jumps, then its own."""
    return [
        chain
        for family in families
        for chain in named(
            explained(every(observe(netns, variant, family), family, services)), family
        )
    ]


def named(chains: Iterable[Chain], family: Family) -> list[Chain]:
    """The same chains; tables of IPv6 say so: "ip6 nat"."""
    if family is Family.IPV4:
        return list(chains)
    return [replace(chain, table=f"ip6 {chain.table}") for chain in chains]


def observe(netns: str, variant: Variant, family: Family = Family.IPV4) -> Found:
    """Read what the modes have in the kernel."""
    try:
        counted = iptables.list_counters(netns, legacy=variant is Variant.LEGACY, family=family)
    except Unsupported:
        counted = []  # iptables is not installed, so there are no rules of it
    return Found(
        counted=counted,
        table=nftables_proxier.observe(netns, family),
        ipvs=ipvsrules.observe(netns, family),
    )


def select(
    found: Found,
    service: tuple[str, str],
    family: Family = Family.IPV4,
    services: Services = nobody,
) -> list[Chain]:
    """What of these rules concerns a Service (namespace, name), without meanings."""
    chains = _iptables(found.counted, *service)
    if found.table is not None:
        chains += _nftables(found.table, *service)
    if found.ipvs is not None:
        whose = ipvsrules.owners(services(), family)
        chains += ipvsrules.chains(found.ipvs, whose, found.counted, service=service)
    return chains


def every(
    observed: Found, family: Family = Family.IPV4, services: Services = nobody
) -> list[Chain]:
    """What of these rules is kube-proxy's, without meanings."""
    table = observed.table
    chains: dict[tuple[str, str], list[Counted]] = {}
    for rule in observed.counted:
        if _is_mine(rule.table, rule.chain) or any(
            _is_mine(rule.table, target) for target in _targets([rule])
        ):
            chains.setdefault((rule.table, rule.chain), []).append(rule)
    found = [
        Chain(
            table=where,
            name=chain,
            purpose=(observed.ipvs and ipvs_rules.CHAIN_PURPOSE.get(chain)) or _purpose(chain),
            rules=_plain(rules),
        )
        for (where, chain), rules in chains.items()
    ]
    if table is not None:
        for container, elements in table.elements.items():
            found.append(_nft_chain(container, sorted(f"{k}{v}" for k, v in elements.items())))
        found += [_nft_chain(name, [f"timeout {s}s"]) for name, s in table.affinity.items()]
        found += [_nft_chain(chain, list(lines)) for chain, lines in table.chains.items()]
    if observed.ipvs is not None:
        whose = ipvsrules.owners(services(), family)
        found = ipvsrules.chains(observed.ipvs, whose) + found
    return found


def _is_mine(table: str, chain: str) -> bool:
    return iptables_mode.is_mine(chain) or owners.owns(Mode.IPVS, table, chain)


def explained(chains: Sequence[Chain]) -> list[Chain]:
    """The same chains; every rule says what it does in a cluster, where that is known (pure)."""
    return [
        replace(
            chain,
            rules=tuple(
                replace(r, meaning=r.meaning or _meaning(chain, r.rule)) for r in chain.rules
            ),
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
    known = {str(name): purpose for name, purpose in names.PURPOSE.items()}
    return known.get(chain) or ipvs_rules.CHAIN_PURPOSE.get(chain, "")
