"""What kube-proxy 1.20 wrote, brought to the form of kube-proxy 1.30: one function per change that upstream documented.

Only what changed between the two releases is rewritten here, so whatever else differs is a difference of netpod's.
Sources: kubernetes CHANGELOG 1.21 to 1.30; pkg/proxy/iptables/proxier.go of both.
"""

import re
from collections.abc import Callable

from netpod.proxy.restore import Rules

Tables = dict[str, dict[str, Rules]]
_NAME = re.compile(r'--comment "([a-z0-9-]+/[a-z0-9-]+(?::[a-z0-9-]+)?)')
_DNAT = re.compile(r"--to-destination (\S+)")


def modern(old: Tables, cluster_cidr: str) -> Tables:
    """Apply every change, in the order of the releases that made them."""
    new = {table: dict(chains) for table, chains in old.items()}
    for change in _CHANGES:
        change(new, cluster_cidr)
    return new


def _kubelet_leaves_the_tables(tables: Tables, _cidr: str) -> None:
    """1.28, IPTablesOwnershipCleanup: no KUBE-MARK-DROP, no rule for its mark; netpod's kubelet polls no canary."""
    for chains in tables.values():
        chains.pop("KUBE-KUBELET-CANARY", None)
    del tables["nat"]["KUBE-MARK-DROP"]
    _replace(tables, "filter", "KUBE-FIREWALL", lambda rule: () if "0x8000" in rule else (rule,))


def _health_checks_are_accepted(tables: Tables, _cidr: str) -> None:
    """1.21: chain KUBE-NODEPORTS in filter, reached from INPUT."""
    tables["filter"]["KUBE-NODEPORTS"] = ()
    said = "kubernetes health check service ports"
    tables["filter"]["INPUT"] += (f'-A INPUT -m comment --comment "{said}" -j KUBE-NODEPORTS',)


def _firewall_in_filter(tables: Tables, _cidr: str) -> None:
    """1.26: loadBalancerSourceRanges drop in KUBE-PROXY-FIREWALL, so KUBE-FW exists only with ranges."""
    tables["filter"]["KUBE-PROXY-FIREWALL"] = ()
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        tables["filter"][chain] += (
            f'-A {chain} -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" '
            "-j KUBE-PROXY-FIREWALL",
        )
    for chain in [c for c in tables["nat"] if c.startswith("KUBE-FW-")]:
        del tables["nat"][chain]
    _replace(tables, "nat", "KUBE-SERVICES", lambda r: (r.replace("-j KUBE-FW-", "-j KUBE-EXT-"),))


def _one_conntrack_rule(tables: Tables, _cidr: str) -> None:
    """1.22: one rule for both directions."""

    def change(rule: str) -> Rules:
        if "conntrack pod destination rule" in rule:
            return ()
        return (rule.replace("conntrack pod source rule", "conntrack rule"),)

    _replace(tables, "filter", "KUBE-FORWARD", change)


def _masquerade_in_the_service_chain(tables: Tables, _cidr: str) -> None:
    """1.24: what comes from outside the cluster to a cluster IP is marked in KUBE-SVC and not before it."""
    moved: dict[str, str] = {}
    kept: list[str] = []
    waiting = ""
    for rule in tables["nat"]["KUBE-SERVICES"]:
        if "cluster IP" in rule and rule.endswith("-j KUBE-MARK-MASQ"):
            waiting = rule
            continue
        if "cluster IP" in rule and waiting:
            moved[_target(rule)] = waiting
            waiting = ""
        kept.append(rule)
    tables["nat"]["KUBE-SERVICES"] = tuple(kept)
    for chain, rule in moved.items():
        own = rule.replace("-A KUBE-SERVICES ", f"-A {chain} ", 1)
        tables["nat"][chain] = (own, *tables["nat"][chain])


def _external_chains(tables: Tables, cidr: str) -> None:
    """1.24: external traffic enters by KUBE-EXT, the endpoints of this node are in KUBE-SVL; no KUBE-XLB."""
    nat = tables["nat"]
    for chain in [c for c in nat if c.startswith("KUBE-XLB-")]:
        _from_xlb(nat, chain, nat.pop(chain), cidr)
    for table_chain in ("KUBE-SERVICES", "KUBE-NODEPORTS"):
        kept: list[str] = []
        for rule in nat[table_chain]:
            if "cluster IP" in rule or "this must be the last rule" in rule:
                kept.append(rule)
                continue
            if _target(rule) == "KUBE-MARK-MASQ":
                continue  # the chain marks
            target = re.sub("^KUBE-(SVC|XLB)-", "KUBE-EXT-", _target(rule))
            for gone in (
                " -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL",
                " -m addrtype --dst-type LOCAL",
            ):
                rule = rule.replace(gone, "")
            rule = rule.rsplit(" -j ", 1)[0] + f" -j {target}"
            if rule not in kept:
                kept.append(rule)
            nat.setdefault(target, _cluster_entry(_name(rule), target))
        nat[table_chain] = tuple(kept)


def _from_xlb(nat: dict[str, Rules], chain: str, rules: Rules, cidr: str) -> None:
    suffix = chain.removeprefix("KUBE-XLB-")
    ext, svc, svl = (f"KUBE-{kind}-{suffix}" for kind in ("EXT", "SVC", "SVL"))
    name = next(_name(rule) for rule in nat[svc])
    what = f"{name} external destinations"
    local = "-m addrtype --src-type LOCAL"
    nat[ext] = (
        f'-A {ext} -s {cidr} -m comment --comment "pod traffic for {what}" -j {svc}',
        f'-A {ext} -m comment --comment "masquerade LOCAL traffic for {what}" {local} -j KUBE-MARK-MASQ',
        f'-A {ext} -m comment --comment "route LOCAL traffic for {what}" {local} -j {svc}',
        f"-A {ext} -j {svl}",
    )
    balancing = [rule for rule in rules if "Balancing rule" in rule]
    nat[svl] = tuple(
        re.sub(r"Balancing rule \d+ for ", "", rule).replace(f"-A {chain} ", f"-A {svl} ")
        for rule in balancing
    )


def _cluster_entry(name: str, ext: str) -> Rules:
    said = f"masquerade traffic for {name} external destinations"
    service = ext.replace("KUBE-EXT-", "KUBE-SVC-")
    return (
        f'-A {ext} -m comment --comment "{said}" -j KUBE-MARK-MASQ',
        f"-A {ext} -j {service}",
    )


def _comments_name_the_endpoint(tables: Tables, _cidr: str) -> None:
    """1.25: the rules that choose say which endpoint."""
    nat = tables["nat"]
    address = {
        chain: match[1]
        for chain, rules in nat.items()
        if chain.startswith("KUBE-SEP-")
        for rule in rules
        if (match := _DNAT.search(rule))
    }
    for chain in [c for c in nat if c.startswith(("KUBE-SVC-", "KUBE-SVL-"))]:

        def change(rule: str) -> Rules:
            name = _name(rule)
            where = address.get(_target(rule))
            return (rule.replace(f'"{name}"', f'"{name} -> {where}"') if where else rule,)

        _replace(tables, "nat", chain, change)


_CHANGES: tuple[Callable[[Tables, str], None], ...] = (
    _health_checks_are_accepted,
    _one_conntrack_rule,
    _masquerade_in_the_service_chain,
    _external_chains,
    _comments_name_the_endpoint,
    _firewall_in_filter,
    _kubelet_leaves_the_tables,
)


def _replace(tables: Tables, table: str, chain: str, change: Callable[[str], Rules]) -> None:
    tables[table][chain] = tuple(new for rule in tables[table][chain] for new in change(rule))


def _target(rule: str) -> str:
    return rule.rsplit(" -j ", 1)[1].split(" ")[0]


def _name(rule: str) -> str:
    match = _NAME.search(rule)
    assert match, f"{rule} names no service port"
    return match[1]
