"""ipsets of IPVS mode and the iptables rules that read them (pure).

A rule of table nat stands only while its set has members, as upstream's; those of table filter always do. Names of
sets are at most 31 characters. Source: kubernetes pkg/proxy/ipvs/proxier.go writeIptablesRules, ipset.go.
"""

import re
from collections.abc import Iterable
from enum import StrEnum

from netpod.ip import Address, Family
from netpod.proxy.config import ProxyConfig
from netpod.proxy.restore import Rules


class Set(StrEnum):
    """Every ipset."""

    LOOP_BACK = "KUBE-LOOP-BACK"
    CLUSTER_IP = "KUBE-CLUSTER-IP"
    EXTERNAL_IP = "KUBE-EXTERNAL-IP"
    EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP-LOCAL"
    LOAD_BALANCER = "KUBE-LOAD-BALANCER"
    LOAD_BALANCER_LOCAL = "KUBE-LOAD-BALANCER-LOCAL"
    LOAD_BALANCER_FW = "KUBE-LOAD-BALANCER-FW"
    LOAD_BALANCER_SOURCE_CIDR = "KUBE-LOAD-BALANCER-SOURCE-CIDR"
    LOAD_BALANCER_SOURCE_IP = "KUBE-LOAD-BALANCER-SOURCE-IP"
    NODE_PORT_TCP = "KUBE-NODE-PORT-TCP"
    NODE_PORT_LOCAL_TCP = "KUBE-NODE-PORT-LOCAL-TCP"
    NODE_PORT_UDP = "KUBE-NODE-PORT-UDP"
    NODE_PORT_LOCAL_UDP = "KUBE-NODE-PORT-LOCAL-UDP"
    NODE_PORT_SCTP = "KUBE-NODE-PORT-SCTP-HASH"
    NODE_PORT_LOCAL_SCTP = "KUBE-NODE-PORT-LOCAL-SCTP-HASH"
    HEALTH_CHECK_NODE_PORT = "KUBE-HEALTH-CHECK-NODE-PORT"
    IPVS_IPS = "KUBE-IPVS-IPS"


NODE_PORT_SETS = {
    "tcp": (Set.NODE_PORT_TCP, Set.NODE_PORT_LOCAL_TCP),
    "udp": (Set.NODE_PORT_UDP, Set.NODE_PORT_LOCAL_UDP),
}
"""Sets of all node ports, and of those with externalTrafficPolicy Local."""

_TYPES = {
    Set.LOOP_BACK: "hash:ip,port,ip",
    Set.LOAD_BALANCER_SOURCE_IP: "hash:ip,port,ip",
    Set.LOAD_BALANCER_SOURCE_CIDR: "hash:ip,port,net",
    Set.NODE_PORT_TCP: "bitmap:port",
    Set.NODE_PORT_LOCAL_TCP: "bitmap:port",
    Set.NODE_PORT_UDP: "bitmap:port",
    Set.NODE_PORT_LOCAL_UDP: "bitmap:port",
    Set.HEALTH_CHECK_NODE_PORT: "bitmap:port",
    Set.IPVS_IPS: "hash:ip",
}
_COMMENTS = {
    Set.LOOP_BACK: "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    Set.CLUSTER_IP: "Kubernetes service cluster ip + port for masquerade purpose",
    Set.EXTERNAL_IP: "Kubernetes service external ip + port for masquerade and filter purpose",
    Set.EXTERNAL_IP_LOCAL: "Kubernetes service external ip + port with externalTrafficPolicy=local",
    Set.LOAD_BALANCER: "Kubernetes service lb portal",
    Set.LOAD_BALANCER_LOCAL: "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
    Set.LOAD_BALANCER_FW: "Kubernetes service load balancer ip + port for load balancer with sourceRange",
    Set.LOAD_BALANCER_SOURCE_CIDR: (
        "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"
    ),
    Set.LOAD_BALANCER_SOURCE_IP: (
        "Kubernetes service load balancer ip + port + source IP for packet filter purpose"
    ),
    Set.NODE_PORT_TCP: "Kubernetes nodeport TCP port for masquerade purpose",
    Set.NODE_PORT_LOCAL_TCP: "Kubernetes nodeport TCP port with externalTrafficPolicy=local",
    Set.NODE_PORT_UDP: "Kubernetes nodeport UDP port for masquerade purpose",
    Set.NODE_PORT_LOCAL_UDP: "Kubernetes nodeport UDP port with externalTrafficPolicy=local",
    Set.NODE_PORT_SCTP: (
        "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'"
    ),
    Set.NODE_PORT_LOCAL_SCTP: (
        "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'"
    ),
    Set.HEALTH_CHECK_NODE_PORT: "Kubernetes health check node port",
}
_LOOPBACK = {Family.IPV4: "127.0.0.0/8", Family.IPV6: "::1/128"}
_REFUSAL = {Family.IPV4: "icmp-port-unreachable", Family.IPV6: "icmp6-port-unreachable"}
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
_NODE_PORT_RULES = (
    (Set.NODE_PORT_LOCAL_TCP, "tcp", "dst", "RETURN"),
    (Set.NODE_PORT_TCP, "tcp", "dst", "KUBE-MARK-MASQ"),
    (Set.NODE_PORT_LOCAL_UDP, "udp", "dst", "RETURN"),
    (Set.NODE_PORT_UDP, "udp", "dst", "KUBE-MARK-MASQ"),
    (Set.NODE_PORT_LOCAL_SCTP, "sctp", "dst,dst", "RETURN"),
    (Set.NODE_PORT_SCTP, "sctp", "dst,dst", "KUBE-MARK-MASQ"),
)

JUMPS: tuple[tuple[str, str], ...] = tuple(
    (table, f'-A {source} -m comment --comment "{comment}" -j {target}')
    for table, source, target, comment in (
        ("nat", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
        ("nat", "PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
        ("nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
        ("filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
        ("filter", "INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
        ("filter", "INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
        ("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
        ("filter", "INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
        ("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter"),
    )
)
"""(table, rule) of built-in chains in the order in which each missing one is inserted at the top."""


CHAINS = {
    "nat": frozenset(
        (
            "KUBE-SERVICES",
            "KUBE-LOAD-BALANCER",
            "KUBE-NODE-PORT",
            "KUBE-MARK-MASQ",
            "KUBE-POSTROUTING",
        )
    ),
    "filter": frozenset(
        (
            *("KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL"),
            *("KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"),
        )
    ),
}
"""Every chain of this mode, by table."""


CHAIN_PURPOSE = {
    "KUBE-SERVICES": "mark what is masqueraded on its way to a Service, by ipset",
    "KUBE-LOAD-BALANCER": "mark traffic to load balancers' addresses, but with externalTrafficPolicy Local",
    "KUBE-NODE-PORT": "mark traffic to node ports, but with externalTrafficPolicy Local; accept health checks",
    "KUBE-MARK-MASQ": "mark the packet for masquerading",
    "KUBE-POSTROUTING": "masquerade marked packets, and endpoints that reach themselves",
    "KUBE-FORWARD": "accept marked packets and known connections",
    "KUBE-PROXY-FIREWALL": "look at load balancers with source ranges",
    "KUBE-SOURCE-RANGES-FIREWALL": "drop sources that a load balancer does not accept",
    "KUBE-IPVS-FILTER": "refuse ports of Services' addresses that no Service has: the addresses are local here",
    "KUBE-IPVS-OUT-FILTER": "drop what this node may not send to a load balancer",
}
"""What each chain is for."""


LONGEST = 31
"""Characters in the name of a set."""
_IN_RULE = re.compile(r"--match-set (KUBE-[A-Z-]+)")


def set_name(name: str, family: Family) -> str:
    """Name of a set of one address family; both may be there. One that becomes too long is cut, as upstream's."""
    if family is Family.IPV4:
        return name
    return name.replace("KUBE-", "KUBE-6-", 1)[:LONGEST]


def purpose(name: str) -> str:
    """What a set is for, by its name in either family; "" for no set of ours."""
    plain = name.replace("KUBE-6-", "KUBE-", 1)
    found = next(
        (it for it in Set if it == plain or (name != plain and it.startswith(plain))), None
    )
    if found is Set.IPVS_IPS:
        return "every address of kube-ipvs0"
    return _COMMENTS.get(found, "") if found else ""


def definition(name: Set, family: Family = Family.IPV4) -> str:
    """What follows the name in `ipset create`."""
    kind = _TYPES.get(name, "hash:ip,port")
    if kind == "bitmap:port":
        return f"{kind} range 0-65535"
    inet = "inet" if family is Family.IPV4 else "inet6"
    return f"{kind} family {inet} hashsize 1024 maxelem 65536"


def compile(
    filled: frozenset[str],
    config: ProxyConfig,
    closed: Iterable[tuple[Address, int, str]] = (),
) -> dict[str, dict[str, Rules]]:
    """Rules by chain by table.

    Args:
        filled: Sets that have members.
        config: This node's settings.
        closed: Address, port and protocol of load balancers that this node may not use.
    """
    mark = f"0x{1 << config.masquerade_bit:x}"
    nat: dict[str, list[str]] = {
        "KUBE-SERVICES": [f"-s {_LOOPBACK[config.family]} -j RETURN", *_services(filled, config)],
        "KUBE-LOAD-BALANCER": [],
        "KUBE-NODE-PORT": [],
        "KUBE-MARK-MASQ": [f"-j MARK --set-xmark {mark}/{mark}"],
        "KUBE-POSTROUTING": [],
    }
    if Set.LOAD_BALANCER_LOCAL in filled:
        nat["KUBE-LOAD-BALANCER"].append(_set(Set.LOAD_BALANCER_LOCAL, "dst,dst", "RETURN"))
    nat["KUBE-LOAD-BALANCER"].append("-j KUBE-MARK-MASQ")
    for name, protocol, flags, target in _NODE_PORT_RULES:
        if name in filled:
            nat["KUBE-NODE-PORT"].append(f"-p {protocol} {_set(name, flags, target)}")
    if Set.LOOP_BACK in filled:
        nat["KUBE-POSTROUTING"].append(_set(Set.LOOP_BACK, "dst,dst,src", "MASQUERADE"))
    nat["KUBE-POSTROUTING"] += [
        f"-m mark ! --mark {mark}/{mark} -j RETURN",
        f"-j MARK --set-xmark {mark}/0x0",
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ]
    filters = _filter(mark, _REFUSAL[config.family])
    # The node's own packet to an address of kube-ipvs0 has that as its source too, until it is masqueraded.
    filters["KUBE-IPVS-OUT-FILTER"] = [
        f"-s {ip}/{ip.max_prefixlen} -m ipvs --vproto {_NUMBERS[protocol]} "
        f"--vaddr {ip} --vport {port} -j DROP"
        for ip, port, protocol in sorted(closed, key=lambda it: (int(it[0]), it[1], it[2]))
    ]
    made = {"filter": filters, "nat": nat}
    return {table: _finished(chains, config.family) for table, chains in made.items()}


def _services(filled: frozenset[str], config: ProxyConfig) -> list[str]:
    rules: list[str] = []
    if Set.LOAD_BALANCER in filled:
        rules.append(_set(Set.LOAD_BALANCER, "dst,dst", "KUBE-LOAD-BALANCER"))
    if Set.CLUSTER_IP in filled:
        if config.masquerade_all:
            rules.append(_set(Set.CLUSTER_IP, "dst,dst", "KUBE-MARK-MASQ"))
        elif config.cluster_cidr:
            other = _set(Set.CLUSTER_IP, "dst,dst", "KUBE-MARK-MASQ")
            rules.append(f"! -s {config.cluster_cidr} {other}")
        else:
            # A process of this node that uses a cluster IP as its source: every one of them is local here.
            rules.append(_set(Set.CLUSTER_IP, "src,dst", "KUBE-MARK-MASQ"))
    for name in (Set.EXTERNAL_IP, Set.EXTERNAL_IP_LOCAL):
        if name not in filled:
            continue
        if name is Set.EXTERNAL_IP:
            rules.append(_set(name, "dst,dst", "KUBE-MARK-MASQ"))
        outside = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL"
        rules.append(_set(name, "dst,dst", "ACCEPT", outside))
        rules.append(_set(name, "dst,dst", "ACCEPT", "-m addrtype --dst-type LOCAL"))
    rules.append("-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
    for name in (Set.CLUSTER_IP, Set.LOAD_BALANCER):
        if name in filled:
            rules.append(f"-m set --match-set {name} dst,dst -j ACCEPT")
    return rules


def _filter(mark: str, refusal: str) -> dict[str, list[str]]:
    returns = (
        *((s, "dst,dst") for s in (Set.LOAD_BALANCER, Set.CLUSTER_IP, Set.EXTERNAL_IP)),
        (Set.EXTERNAL_IP_LOCAL, "dst,dst"),
        (Set.HEALTH_CHECK_NODE_PORT, "dst"),
    )
    allowed = (Set.LOAD_BALANCER_SOURCE_CIDR, Set.LOAD_BALANCER_SOURCE_IP)
    return {
        "KUBE-FORWARD": [
            f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT',
            '-m comment --comment "kubernetes forwarding conntrack rule" '
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ],
        "KUBE-NODE-PORT": [_set(Set.HEALTH_CHECK_NODE_PORT, "dst", "ACCEPT")],
        "KUBE-PROXY-FIREWALL": [
            _set(Set.LOAD_BALANCER_FW, "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL")
        ],
        "KUBE-SOURCE-RANGES-FIREWALL": [
            *(_set(name, "dst,dst,src", "RETURN") for name in allowed),
            "-j DROP",
        ],
        "KUBE-IPVS-FILTER": [
            *(f"-m set --match-set {name} {flags} -j RETURN" for name, flags in returns),
            f"-m conntrack --ctstate NEW -m set --match-set {Set.IPVS_IPS} dst "
            f"-j REJECT --reject-with {refusal}",
        ],
    }


def _set(name: Set, flags: str, target: str, more: str = "") -> str:
    match = f'-m comment --comment "{_COMMENTS[name]}" -m set --match-set {name} {flags}'
    return f"{match} {more} -j {target}" if more else f"{match} -j {target}"


def _finished(chains: dict[str, list[str]], family: Family) -> dict[str, Rules]:
    def own(rule: str) -> str:
        return _IN_RULE.sub(lambda found: f"--match-set {set_name(found[1], family)}", rule)

    return {chain: tuple(f"-A {chain} {own(r)}" for r in rules) for chain, rules in chains.items()}
