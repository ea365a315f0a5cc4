"""compile(model) -> rules of iptables mode, in the form in which iptables-save prints them (pure).

    PREROUTING, OUTPUT -> KUBE-SERVICES -> KUBE-SVC-   (cluster IP)  -> KUBE-SEP- -> DNAT
                             |             KUBE-EXT-   (external IP, load balancer) -> KUBE-SVC- or KUBE-SVL-
                             |             KUBE-FW-    (load balancer with source ranges) -> KUBE-EXT-
                             +-> KUBE-NODEPORTS -> KUBE-EXT-
    POSTROUTING -> KUBE-POSTROUTING: masquerade what KUBE-MARK-MASQ marked

Chains used by many service ports (KUBE-SERVICES, ...) are the concatenation of each port's share, so one
port can be compiled alone: iptables_port.py does that. Source: kubernetes pkg/proxy/iptables/proxier.go.
"""

from collections.abc import Iterable

from netpod.ip import Family
from netpod.proxy import iptables_port, topology
from netpod.proxy.config import ProxyConfig
from netpod.proxy.iptables_port import PortRules
from netpod.proxy.model import Endpoint, Model, ServicePort
from netpod.proxy.names import Chain, is_port_chain
from netpod.proxy.restore import Rules

LARGE_CLUSTER_ENDPOINTS = 1000
"""With more endpoints than that, rules that choose and reach endpoints carry no comments."""

_FIXED = frozenset(map(str, Chain))
_PORTALS = '-m comment --comment "kubernetes service portals"'
_EXTERNAL = '-m comment --comment "kubernetes externally-visible service portals"'
_LOAD_BALANCER = '-m comment --comment "kubernetes load balancer firewall"'
_HEALTH = '-m comment --comment "kubernetes health check service ports"'
_LOOPBACK = {Family.IPV4: "127.0.0.0/8", Family.IPV6: "::1/128"}
_NEW = "-m conntrack --ctstate NEW"
_LAST = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"
_NODEPORTS_COMMENT = f'-m comment --comment "{_LAST}"'

JUMPS: tuple[tuple[str, str], ...] = (
    ("filter", f"-A INPUT {_NEW} {_EXTERNAL} -j KUBE-EXTERNAL-SERVICES"),
    ("filter", f"-A FORWARD {_NEW} {_EXTERNAL} -j KUBE-EXTERNAL-SERVICES"),
    ("filter", f"-A INPUT {_HEALTH} -j KUBE-NODEPORTS"),
    ("filter", f"-A FORWARD {_NEW} {_PORTALS} -j KUBE-SERVICES"),
    ("filter", f"-A OUTPUT {_NEW} {_PORTALS} -j KUBE-SERVICES"),
    ("filter", '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
    ("filter", f"-A INPUT {_NEW} {_LOAD_BALANCER} -j KUBE-PROXY-FIREWALL"),
    ("filter", f"-A OUTPUT {_NEW} {_LOAD_BALANCER} -j KUBE-PROXY-FIREWALL"),
    ("filter", f"-A FORWARD {_NEW} {_LOAD_BALANCER} -j KUBE-PROXY-FIREWALL"),
    ("nat", f"-A OUTPUT {_PORTALS} -j KUBE-SERVICES"),
    ("nat", f"-A PREROUTING {_PORTALS} -j KUBE-SERVICES"),
    (
        "nat",
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    ),
    ("filter", "-A INPUT -j KUBE-FIREWALL"),
    ("filter", "-A OUTPUT -j KUBE-FIREWALL"),
)
"""(table, rule) of built-in chains in the order in which each missing one is inserted at the top."""

SHARED: tuple[tuple[str, Chain], ...] = (
    ("filter", Chain.SERVICES),
    ("filter", Chain.EXTERNAL_SERVICES),
    ("filter", Chain.NODEPORTS),
    ("filter", Chain.PROXY_FIREWALL),
    ("nat", Chain.SERVICES),
    ("nat", Chain.NODEPORTS),
)
"""(table, chain) to which service ports contribute; the rest of the fixed chains depends on the settings alone."""


def compile(model: Model, config: ProxyConfig, *, zone: str = "") -> dict[str, dict[str, Rules]]:
    """Every chain of this node, rules by chain by table, without the jumps out of the built-in chains."""
    large = is_large(sum(map(len, model.endpoints.values())))
    ports = [
        compile_port(
            model.services[name], model.endpoints.get(name, ()), config, zone=zone, large=large
        )
        for name in sorted(model.services)
    ]
    out = base(config)
    for table, chain in SHARED:
        out[table][chain] = shared(table, chain, ports, config)
    for port in ports:
        out["nat"].update(port.chains)
    return out


def compile_port(
    port: ServicePort,
    endpoints: tuple[Endpoint, ...],
    config: ProxyConfig,
    *,
    zone: str = "",
    large: bool = False,
) -> PortRules:
    """One service port's own chains and its share of the shared ones."""
    usable = topology.categorize(port, endpoints, node_name=config.node_name, zone=zone)
    return iptables_port.compile_port(port, usable, config, large=large)


def is_large(endpoints: int) -> bool:
    """Whether a cluster with so many endpoints saves its comments."""
    return endpoints > LARGE_CLUSTER_ENDPOINTS


def shared(table: str, chain: Chain, ports: Iterable[PortRules], config: ProxyConfig) -> Rules:
    """A chain to which each service port contributes."""
    rules = [rule for port in ports for rule in port.shared.get((table, chain), ())]
    if (table, chain) == ("nat", Chain.SERVICES):
        rules.extend(_last_of_services(config))
    return tuple(rules)


def base(config: ProxyConfig) -> dict[str, dict[str, Rules]]:
    """The chains that depend on the settings alone."""
    mark = f"0x{1 << config.masquerade_bit:x}"
    invalid = "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"
    localnet = (
        '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
    )
    return {
        "mangle": {Chain.CANARY: ()},
        "filter": {
            Chain.CANARY: (),
            Chain.FIREWALL: (localnet,) if localhost_node_ports(config) else (),
            Chain.FORWARD: (
                *(() if config.conntrack_tcp_be_liberal else (invalid,)),
                '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" '
                f"-m mark --mark {mark}/{mark} -j ACCEPT",
                '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" '
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            ),
        },
        "nat": {
            Chain.CANARY: (),
            Chain.MARK_MASQ: (f"-A KUBE-MARK-MASQ -j MARK --set-xmark {mark}/{mark}",),
            Chain.POSTROUTING: (
                f"-A KUBE-POSTROUTING -m mark ! --mark {mark}/{mark} -j RETURN",
                # Cleared first, or a packet that passes netfilter again (overlay, bridge) is masqueraded twice.
                f"-A KUBE-POSTROUTING -j MARK --set-xmark {mark}/0x0",
                '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" '
                "-j MASQUERADE --random-fully",
            ),
        },
    }


def localhost_node_ports(config: ProxyConfig) -> bool:
    """Whether node ports are open on the loopback address: the kernel routes nothing away from ::1."""
    return config.localhost_node_ports and config.family is Family.IPV4


def is_ours(table: str, chain: str) -> bool:
    """Whether an unwanted chain may be deleted: those that belong to one service port."""
    return table == "nat" and is_port_chain(chain)


def is_mine(chain: str) -> bool:
    """Whether a chain of that name is of this mode, in whatever table."""
    return chain in _FIXED or is_port_chain(chain)


def _last_of_services(config: ProxyConfig) -> Rules:
    if not config.nodeport_addresses:
        loopback = "" if localhost_node_ports(config) else f"! -d {_LOOPBACK[config.family]} "
        return (
            f"-A KUBE-SERVICES {loopback}{_NODEPORTS_COMMENT} "
            "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
        )
    if any(config.node_ip in network for network in config.nodeport_addresses):
        return (
            f"-A KUBE-SERVICES -d {config.node_ip}/{config.family.bits} {_NODEPORTS_COMMENT} "
            "-j KUBE-NODEPORTS",
        )
    return ()
